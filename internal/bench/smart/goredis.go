package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tidwall/redcon"

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
	out := redcon.NewWriter(c)
	for in := redcon.NewReader(c); ; {
		command, err := in.ReadCommand()
		if err != nil {
			return
		}
		switch strings.ToLower(string(command.Args[0])) {
		case "hello":
			out.WriteError("ERR unknown command")
		case "item":
			out.WriteInt(it.ID)
		case "quit":
			return
		default:
			out.WriteString("OK")
		}
		if out.Flush() != nil {
			return
		}
	}
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
