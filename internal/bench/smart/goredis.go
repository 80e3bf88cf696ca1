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

// goRedis is the pool in go-redis, with the server's part of the wire played by us.
// A lease is a Conn that has asked the server which item it got: there is no other
// way to have it, and no loops, as they would measure that.
var goRedis = peer.Kind{Name: "go-redis", Trip: true, Open: openRedis}

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
		it, err := c.Make(ctx)
		if err != nil {
			return nil, err
		}
		items.Store(it.ID, it)
		client, server := net.Pipe()
		go playRedis(server, it.ID)
		return &redisConn{Conn: client, it: it, destroy: c.Destroy}, nil
	}
	return redisPool{redis.NewClient(&redis.Options{
		Addr: "pool.invalid:1", Dialer: dial, DialTimeout: c.MakeTimeout, DialerRetries: 1, MaxRetries: -1,
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		PoolSize: c.Max, PoolTimeout: time.Hour, MinIdleConns: c.MinIdle, ConnMaxIdleTime: -1,
		ConnMaxLifetime: c.MaxAge, ConnMaxLifetimeJitter: c.Jitter,
	}), items}, nil
}

// playRedis tells who it is, leaves when told to, and agrees to all else but HELLO.
func playRedis(c net.Conn, id int) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		word, err := readCommand(in)
		if err != nil {
			return
		}
		answer := "+OK\r\n"
		switch strings.ToLower(word) {
		case "hello":
			answer = "-ERR unknown command\r\n"
		case "who":
			answer = fmt.Sprintf(":%d\r\n", id)
		case "die":
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// readCommand reads an array of strings and returns the first.
func readCommand(in *bufio.Reader) (word string, err error) {
	n, err := readLength(in, '*')
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = readLength(in, '$'); err != nil {
			break
		}
		text := make([]byte, size+len("\r\n"))
		if _, err = io.ReadFull(in, text); i == 0 {
			word = string(text[:size])
		}
	}
	return word, err
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q, not %c", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// A redisConn is a connection that stands for an item.
type redisConn struct {
	net.Conn
	it      *peer.Item
	destroy func(*peer.Item)
	once    sync.Once
}

func (c *redisConn) Close() error {
	if c.destroy != nil {
		c.once.Do(func() { c.destroy(c.it) })
	}
	return c.Conn.Close()
}

func (p redisPool) Acquire(ctx context.Context) (peer.Lease, error) {
	c := p.Conn()
	id, err := c.Do(ctx, "WHO").Int()
	if err != nil {
		return peer.Lease{}, errors.Join(err, c.Close())
	}
	it, _ := p.items.Load(id)
	return peer.Lend(&redisLease{c, it.(*peer.Item)}), nil
}

func (p redisPool) Warm(ctx context.Context, n int) error { return peer.WarmBySet(ctx, p, n) }

func (p redisPool) Close(context.Context) error { return p.Client.Close() }

func (p redisPool) Count() (total, idle int) {
	s := p.PoolStats()
	return int(s.TotalConns), int(s.IdleConns)
}

type redisLease struct {
	c  *redis.Conn
	it *peer.Item
}

func (l *redisLease) Item() *peer.Item { return l.it }
func (l *redisLease) Use() error       { return l.c.Do(context.Background(), "WHO").Err() }
func (l *redisLease) Release()         { _ = l.c.Close() }

// Destroy has the server leave: the pool keeps no connection that failed.
func (l *redisLease) Destroy() {
	defer l.c.Close()
	l.c.Do(context.Background(), "DIE")
}
