package isolation_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// A worker takes one lease after another and uses each correctly or incorrectly.
type worker struct {
	*testRun
	rand   *rand.Rand
	ended  [4]*wspool.Conn // leases that have ended
	leases int64
	got    int64            // replies
	failed int64            // leases that the server or the pool failed
	counts map[string]int64 // by name of the action
}

// An action is a use of a lease, with its relative frequency.
type action struct {
	name   string
	weight int
	do     func(l *lease)
}

// lease is a lease of a worker.
type lease struct {
	*worker
	c          *wspool.Conn
	conn       uint64
	own        map[uint64]bool // numbers of its requests
	connFailed bool            // the connection failed
}

// size draws the size of a reply: mostly small, sometimes longer than a read buffer.
func (x *worker) size() int {
	if x.rand.IntN(20) == 0 {
		return x.rand.IntN(20_000)
	}
	return x.rand.IntN(200)
}

// request returns a new request of the lease.
func (l *lease) request(mode string, size int) request {
	r := request{conn: l.conn, number: l.numbers.Add(1), mode: mode, size: size}
	l.own[r.number] = true
	return r
}

func (l *lease) write(mode string, size int) bool {
	err := l.c.WriteMessage(context.Background(), websocket.BinaryMessage, []byte(l.request(mode, size).String()))
	l.connFailed = l.connFailed || err != nil
	return err == nil
}

// read reads one message, which must be a reply to a request of this lease.
func (l *lease) read(ctx context.Context) bool {
	_, p, err := l.c.ReadMessage(ctx)
	if err != nil {
		l.connFailed = l.connFailed || ctx.Err() == nil
		return false
	}
	l.check(p)
	return true
}

// check checks that a message is a reply to a request of this lease.
func (l *lease) check(p []byte) {
	number, err := answers(p)
	switch {
	case err != nil:
		l.complain("read %v", err)
	case !l.own[number]:
		l.crossed.Add(1)
		l.complain("crossed message on connection %d: the reply to request %d was read by a lease with the requests %v", l.conn, number, l.own)
	default:
		l.got++
	}
}

// ask writes a request and reads the reply, in one call or in two.
func (l *lease) ask(mode string, size int) bool {
	if l.rand.IntN(2) == 0 {
		return l.exchange(context.Background(), mode, size)
	}
	return l.write(mode, size) && l.read(context.Background())
}

// exchange is ask in one call.
func (l *lease) exchange(ctx context.Context, mode string, size int) bool {
	_, p, err := l.c.Exchange(ctx, websocket.BinaryMessage, []byte(l.request(mode, size).String()))
	if err != nil {
		l.connFailed = l.connFailed || ctx.Err() == nil
		return false
	}
	l.check(p)
	return true
}

// once returns an action with one request of a mode.
func once(mode string) func(*lease) {
	return func(l *lease) { l.ask(mode, l.size()) }
}

// small is once with a reply so small that what follows it arrives in the same segment.
func small(mode string) func(*lease) {
	return func(l *lease) { l.ask(mode, l.rand.IntN(500)) }
}

// actions returns all actions.
func actions(exchange wspool.Exchange) []action {
	all := []action{
		{"plain", 3000, once("plain")},
		{"nothing", 100, func(*lease) {}},
		{"pings", 200, once("pings")},
		{"fragments", 200, once("fragments")},
		{"slow", 20, once("slow")},
		{"slow fragments", 10, once("slow fragments")},
		{"late", 20, small("late")},
		{"twice", 15, small("twice")},
		{"both", 10, func(l *lease) {
			if l.ask("twice", l.rand.IntN(500)) {
				l.read(context.Background())
			}
		}},
		{"torn", 10, small("torn")},
		{"close", 10, small("close")},
		{"pair", 100, func(l *lease) {
			if l.write("fragments", l.size()) && l.write("plain", l.size()) && l.read(context.Background()) {
				l.read(context.Background())
			}
		}},
		{"several", 200, func(l *lease) {
			for range 2 + l.rand.IntN(4) {
				if !l.ask([]string{"plain", "pings", "fragments"}[l.rand.IntN(3)], l.size()) {
					return
				}
			}
		}},
		{"cancel", 30, cancel},
		{"cancel an exchange", 20, cancelExchange},
		{"leave", 10, func(l *lease) { l.write([]string{"slow", "slow fragments", "never"}[l.rand.IntN(3)], l.size()) }},
		{"break a write", 2, breakWrite},
		{"race", 10, race},
		{"forget a writer", 5, forgetWriter},
		{"forget a reader", 5, forgetReader},
		{"hijack", 5, hijack},
	}
	if exchange == wspool.ReplyEach {
		all = append(all, action{"one of two", 10, func(l *lease) {
			for range 2 {
				if !l.write("slow", l.size()) {
					return
				}
			}
			l.read(context.Background())
		}})
	}
	return all
}

// cancel cancels the read after a random time, and perhaps reads again.
func cancel(l *lease) {
	if !l.write([]string{"slow", "slow fragments", "never"}[l.rand.IntN(3)], l.size()) {
		return
	}
	for range 1 + l.rand.IntN(2) {
		ctx, cancel := context.WithTimeout(context.Background(), l.server.delays.draw())
		l.read(ctx)
		cancel()
	}
}

// cancelExchange cancels an exchange after a random time, and perhaps reads its reply.
func cancelExchange(l *lease) {
	ctx, cancel := context.WithTimeout(context.Background(), l.server.delays.draw())
	defer cancel()
	if !l.exchange(ctx, []string{"slow", "slow fragments", "never"}[l.rand.IntN(3)], l.size()) && l.rand.IntN(2) == 0 {
		again, cancel := context.WithTimeout(context.Background(), l.server.delays.draw())
		defer cancel()
		l.read(again)
	}
}

// breakWrite cancels a long write while the server does not read.
func breakWrite(l *lease) {
	if !l.write("never", 0) {
		return
	}
	long := append([]byte(l.request("plain", 10).String()), bytes.Repeat([]byte("-"), 4<<20)...)
	ctx, cancel := context.WithTimeout(context.Background(), l.server.delays.draw())
	defer cancel()
	_ = l.c.WriteMessage(ctx, websocket.BinaryMessage, long)
}

// race ends the lease during a read.
func race(l *lease) {
	if !l.write([]string{"plain", "slow"}[l.rand.IntN(2)], l.size()) {
		return
	}
	var all sync.WaitGroup
	all.Go(func() { // the message read still belongs to the lease
		if _, p, err := l.c.ReadMessage(context.Background()); err == nil {
			l.check(p)
		}
	})
	if l.rand.IntN(2) == 0 {
		time.Sleep(l.server.delays.draw() / 20) // end the lease at a random moment of the read
	}
	l.endExchange()
	l.c.Release()
	all.Wait()
}

var errHolder = errors.New("the holder reported a failure")

// end ends the lease in a random way, once or twice.
func (l *lease) end() {
	switch l.rand.IntN(20) {
	case 0:
		l.c.Discard(errHolder)
	case 1:
		l.c.Fail(errHolder)
	case 2:
		l.c.Fail(nil)
	case 3:
		var all sync.WaitGroup
		for range 2 {
			all.Go(l.c.Release)
		}
		all.Wait()
	default:
		l.c.Release()
	}
}

// useEnded uses a lease that has ended. That must have no effect.
func (x *worker) useEnded() {
	c := x.ended[x.rand.IntN(len(x.ended))]
	if c == nil {
		return
	}
	ctx := context.Background()
	r := request{conn: 0, number: x.numbers.Add(1), mode: "plain"} // a request of no lease
	if err := c.WriteMessage(ctx, websocket.BinaryMessage, []byte(r.String())); !errors.Is(err, wspool.ErrReleased) {
		x.complain("WriteMessage after the lease: %v", err)
	}
	if _, p, err := c.ReadMessage(ctx); !errors.Is(err, wspool.ErrReleased) {
		x.complain("ReadMessage after the lease: %q, %v", p, err)
	}
	switch x.rand.IntN(4) {
	case 0:
		c.Discard(errHolder)
	case 1:
		c.Fail(errHolder)
	default:
		c.Release()
	}
}
