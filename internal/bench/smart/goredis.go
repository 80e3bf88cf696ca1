package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/respool/respool/internal/bench/peer"
)

// goRedis is the pool in go-redis. The adapter plays the server's side of the wire. A
// lease is a Conn that has asked the server for the ID of its item, as go-redis does
// not show the connection; it has no loops, as they would measure that round trip.
var goRedis = peer.Kind{Name: "go-redis", RoundTrip: true, Open: openRedis}

type redisPool struct {
	*redis.Client
	items *sync.Map // by ID
}

func openRedis(c peer.Config) (peer.Pool, error) {
	if c.Check != nil {
		return nil, errors.ErrUnsupported
	}
	items := &sync.Map{}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := peer.DialItem(ctx, c, playRedis)
		if err == nil {
			it := conn.(*peer.ItemConn).Item
			items.Store(it.ID, it)
		}
		return conn, err
	}
	return redisPool{redis.NewClient(&redis.Options{
		Addr: "pool.invalid:1", Dialer: dial, DialTimeout: c.MakeTimeout, DialerRetries: 1, MaxRetries: -1,
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		PoolSize: c.Max, PoolTimeout: time.Hour, MinIdleConns: c.MinIdle, ConnMaxIdleTime: -1,
		ConnMaxLifetime: c.MaxAge, ConnMaxLifetimeJitter: c.Jitter,
	}), items}, nil
}

// playRedis answers ITEM with the item's ID, hangs up on QUIT, rejects HELLO and
// accepts everything else.
func playRedis(c net.Conn, it *peer.Item) {
	for in := bufio.NewReader(c); ; {
		command, err := readCommand(in)
		if err != nil {
			return
		}
		reply := "+OK\r\n"
		switch strings.ToLower(command) {
		case "hello":
			reply = "-ERR unknown command\r\n"
		case "item":
			reply = fmt.Sprintf(":%d\r\n", it.ID)
		case "quit":
			return
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

// readCommand reads an array of strings and returns the first.
func readCommand(in *bufio.Reader) (command string, err error) {
	n, err := readLength(in, '*')
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = readLength(in, '$'); err != nil {
			break
		}
		text := make([]byte, size+len("\r\n"))
		if _, err = io.ReadFull(in, text); i == 0 {
			command = string(text[:size])
		}
	}
	return command, err
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("got %q, want a line that begins with %q", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func (p redisPool) Acquire(ctx context.Context) (peer.Lease, error) {
	c := p.Conn()
	id, err := c.Do(ctx, "ITEM").Int()
	if err != nil {
		return peer.Lease{}, errors.Join(err, c.Close())
	}
	it, _ := p.items.Load(id)
	return peer.Lend(&redisLease{c, it.(*peer.Item)}), nil
}

func (p redisPool) Warm(ctx context.Context, n int) error { return peer.WarmByLeases(ctx, p, n) }
func (p redisPool) Close(context.Context) error           { return p.Client.Close() }

func (p redisPool) Count() (total, idle int) {
	s := p.PoolStats()
	return int(s.TotalConns), int(s.IdleConns)
}

type redisLease struct {
	c  *redis.Conn
	it *peer.Item
}

func (l *redisLease) Item() *peer.Item { return l.it }
func (l *redisLease) Use() error       { return l.c.Do(context.Background(), "ITEM").Err() }
func (l *redisLease) Release()         { _ = l.c.Close() }

// Destroy has the server hang up: the pool keeps no connection that failed.
func (l *redisLease) Destroy() {
	defer l.c.Close()
	l.c.Do(context.Background(), "QUIT")
}
