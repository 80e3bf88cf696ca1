package tenants_test

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

// A tenant takes one lease after the other and does what it should, or should
// not.
type tenant struct {
	*house
	rand   *rand.Rand
	kept   [4]*wspool.Conn // leases that are over
	leases int64
	got    int64            // answers
	failed int64            // leases that came to nothing, for no fault of the tenant's
	acts   map[string]int64 // how often
}

// An act is what a tenant does with a lease, and how likely it is.
type act struct {
	name   string
	weight int
	do     func(l *lease)
}

// lease is one of a tenant's.
type lease struct {
	*tenant
	c    *wspool.Conn
	conn uint64
	own  map[uint64]bool // the numbers of its requests
	bad  bool            // the connection failed it
}

// sizes of answers: mostly small, some longer than what is read at once.
func (x *tenant) size() int {
	if x.rand.IntN(20) == 0 {
		return x.rand.IntN(20_000)
	}
	return x.rand.IntN(200)
}

// request draws up one of the lease.
func (l *lease) request(manner string, size int) request {
	r := request{conn: l.conn, number: l.numbers.Add(1), manner: manner, size: size}
	l.own[r.number] = true
	return r
}

func (l *lease) write(manner string, size int) bool {
	err := l.c.WriteMessage(context.Background(), websocket.BinaryMessage, []byte(l.request(manner, size).String()))
	l.bad = l.bad || err != nil
	return err == nil
}

// read reads one message, which must be an answer to the lease itself.
func (l *lease) read(ctx context.Context) bool {
	_, p, err := l.c.ReadMessage(ctx)
	if err != nil {
		l.bad = l.bad || ctx.Err() == nil
		return false
	}
	l.check(p)
	return true
}

// check holds what was read against what was asked.
func (l *lease) check(p []byte) {
	number, err := answers(p)
	switch {
	case err != nil:
		l.complain("read %v", err)
	case !l.own[number]:
		l.crossed.Add(1)
		l.complain("crossed on connection %d: the answer to request %d was read by a lease of %v", l.conn, number, l.own)
	default:
		l.got++
	}
}

// ask is an exchange.
func (l *lease) ask(manner string, size int) bool {
	return l.write(manner, size) && l.read(context.Background())
}

// once asks once, in a manner.
func once(manner string) func(*lease) {
	return func(l *lease) { l.ask(manner, l.size()) }
}

// small asks once, where what follows the answer comes in one piece with it.
func small(manner string) func(*lease) {
	return func(l *lease) { l.ask(manner, l.rand.IntN(500)) }
}

// acts are all that tenants do.
func acts(exchange wspool.Exchange) []act {
	all := []act{
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
		{"leave", 10, func(l *lease) { l.write([]string{"slow", "slow fragments", "never"}[l.rand.IntN(3)], l.size()) }},
		{"break a write", 2, breakWrite},
		{"race", 10, race},
		{"forget a writer", 5, forgetWriter},
		{"forget a reader", 5, forgetReader},
		{"hijack", 5, hijack},
	}
	if exchange == wspool.ReplyEach {
		all = append(all, act{"one of two", 10, func(l *lease) {
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

// cancel gives up the wait at some moment, and perhaps waits again.
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

// breakWrite cancels a long write to a server that does not read just then.
func breakWrite(l *lease) {
	if !l.write("never", 0) {
		return
	}
	long := append([]byte(l.request("plain", 10).String()), bytes.Repeat([]byte("-"), 4<<20)...)
	ctx, cancel := context.WithTimeout(context.Background(), l.server.delays.draw())
	defer cancel()
	_ = l.c.WriteMessage(ctx, websocket.BinaryMessage, long)
}

// race ends the lease while it waits.
func race(l *lease) {
	if !l.write([]string{"plain", "slow"}[l.rand.IntN(2)], l.size()) {
		return
	}
	var all sync.WaitGroup
	all.Go(func() { // what it reads is still the lease's
		if _, p, err := l.c.ReadMessage(context.Background()); err == nil {
			l.check(p)
		}
	})
	if l.rand.IntN(2) == 0 {
		time.Sleep(l.server.delays.draw() / 20) // when in the read the lease ends is drawn
	}
	l.leave()
	l.c.Release()
	all.Wait()
}

var errAct = errors.New("the tenant is not content")

// end ends the lease in one of many ways, once and perhaps again.
func (l *lease) end() {
	switch l.rand.IntN(20) {
	case 0:
		l.c.Discard(errAct)
	case 1:
		l.c.Fail(errAct)
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

// meddle uses a lease that is over. Nothing may come of it.
func (x *tenant) meddle() {
	c := x.kept[x.rand.IntN(len(x.kept))]
	if c == nil {
		return
	}
	ctx := context.Background()
	r := request{conn: 0, number: x.numbers.Add(1), manner: "plain"} // nobody's
	if err := c.WriteMessage(ctx, websocket.BinaryMessage, []byte(r.String())); !errors.Is(err, wspool.ErrReleased) {
		x.complain("WriteMessage after the lease: %v", err)
	}
	if _, p, err := c.ReadMessage(ctx); !errors.Is(err, wspool.ErrReleased) {
		x.complain("ReadMessage after the lease: %q, %v", p, err)
	}
	switch x.rand.IntN(4) {
	case 0:
		c.Discard(errAct)
	case 1:
		c.Fail(errAct)
	default:
		c.Release()
	}
}
