package scenes_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// fault is what the network does to one connection, from a given byte on.
type fault struct {
	name string
	do   func(*relay.Conn)
	harm harm
}

// harm is the effect on the client.
type harm int

const (
	none    harm = iota // it works, perhaps slowly
	ended               // it reads EOF
	reset               // it gets a reset
	silence             // it receives nothing more
)

var faults = []fault{
	{"delay", func(c *relay.Conn) { c.Up().Delay(2 * time.Millisecond); c.Down().Delay(2 * time.Millisecond) }, none},
	{"byte by byte", func(c *relay.Conn) { c.Up().Trickle(0); c.Down().Trickle(0) }, none},
	{"slow close", func(c *relay.Conn) { c.Up().SlowClose(time.Hour); c.Down().SlowClose(time.Hour) }, none},
	{"cut", func(c *relay.Conn) { c.Up().Cut(); c.Down().Cut() }, ended},
	{"RST", (*relay.Conn).Reset, reset},
	{"half-open", func(c *relay.Conn) { c.Up().Reset() }, silence},
	{"black hole", (*relay.Conn).BlackHole, silence},
	{"stall", (*relay.Conn).Pause, silence},
}

// prompt exceeds the sum of all timeouts of a trial, with a margin for a busy machine.
const prompt = 25 * time.Second

// trial is one fault in one phase.
type trial struct {
	*stage
	fault
	size int // size of the truncated message
}

// phases are the phases of a connection, each with a test of a fault in it.
var phases = []struct {
	name string
	play func(*trial)
}{
	{"handshake, at once", func(r *trial) { r.handshake(func(c *relay.Conn, _ int64) { r.do(c) }) }},
	{"handshake, half-way", func(r *trial) {
		r.handshake(func(c *relay.Conn, all int64) { c.Down().After(all/2, func() { r.do(c) }) })
	}},
	{"handshake, at its end", func(r *trial) {
		r.handshake(func(c *relay.Conn, all int64) { c.Down().After(all-10, func() { r.do(c) }) })
	}},
	{"idle", (*trial).idle},
	{"writing", func(r *trial) {
		r.leased(weigh, true, func(c *relay.Conn) { c.Up().After(c.Up().Passed()+int64(r.size)/8, func() { r.do(c) }) })
	}},
	{"waiting", func(r *trial) {
		r.leased(held, true, func(c *relay.Conn) {
			go func() {
				select {
				case x := <-r.server.holding:
					r.do(c)
					x.answerHeld()
				case <-r.t.Context().Done(): // the request was never sent
				}
			}()
		})
	}},
	{"reading", func(r *trial) {
		// The first part of the answer must come in this time, also on a busy machine.
		r.cfg.PongWait = 6 * time.Second
		r.leased(much, false, func(c *relay.Conn) { c.Down().After(c.Down().Passed()+int64(r.size)/8, func() { r.do(c) }) })
	}},
	{"closing", func(r *trial) {
		r.closing(func(c *relay.Conn) { c.Up().After(c.Up().Passed()+1, func() { r.do(c) }) })
	}},
	{"closing, the answer", func(r *trial) {
		r.closing(func(c *relay.Conn) { c.Down().After(c.Down().Passed()+1, func() { r.do(c) }) })
	}},
}

// Whatever the fault and its phase, the client gets a specific error in time, the pool
// recovers with the network, and nothing is left.
func TestFaults(t *testing.T) {
	turns := make(chan struct{}, 8)
	var all sync.WaitGroup
	tries := 0
	for _, p := range phases {
		for _, f := range faults {
			for _, scheme := range []string{"ws", "wss"} {
				if tries++; testing.Short() && tries%3 != 0 {
					continue
				}
				all.Go(func() {
					turns <- struct{}{}
					defer func() { <-turns }()
					t.Run(p.name+"/"+f.name+"/"+scheme, func(t *testing.T) {
						r := &trial{build(t, 1, scheme == "wss", true), f, 1 << 20}
						r.cfg.CloseTimeout = time.Second
						if f.harm == silence {
							briskly(&r.cfg)
							r.cfg.DialTimeout = time.Second
							r.size = 8 << 20 // more than the buffers of the network hold
						}
						if f.name == "byte by byte" {
							r.size = 16 << 10
						}
						p.play(r)
						r.finish()
					})
				})
			}
		}
	}
	all.Wait()
}

// in runs f, which must return within prompt.
func (r *trial) in(what string, f func(ctx context.Context)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*prompt)
	defer cancel()
	began := time.Now()
	f(ctx)
	if took := time.Since(began); took > prompt {
		r.t.Errorf("%s took %v", what, took)
	}
}

// handshake applies the fault during a dial. The handshake of another pool gives its length
// in bytes.
func (r *trial) handshake(strike func(c *relay.Conn, all int64)) {
	alive := r.cfg.KeepAlive
	r.cfg.KeepAlive = -1 // a pong would count as a part of the handshake
	r.raise()
	r.heal()
	all := r.relay.Conns()[0].Down().Passed() // includes one exchange
	if err := r.pool.Close(context.Background()); err != nil {
		r.t.Error(err)
	}
	all -= r.answer()
	r.cfg.KeepAlive = alive

	r.relay.OnConn(func(c *relay.Conn) { strike(c, all) })
	if r.harm == silence {
		patient := r.cfg.DialTimeout
		r.cfg.DialTimeout = prompt
		r.raise()
		r.in("a lease with a deadline", func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			if _, err := r.pool.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				r.t.Errorf("acquire with a deadline: %v", err)
			}
		})
		r.in("closing a pool that dials", func(ctx context.Context) {
			if err := r.pool.Close(ctx); err != nil {
				r.t.Error(err)
			}
		})
		r.cfg.DialTimeout = patient
	}
	r.raise()
	r.in("a dial", func(ctx context.Context) {
		c, err := r.pool.Acquire(ctx)
		if r.harm == none {
			if err == nil {
				err = r.exchange(ctx, c)
				c.Release()
			}
			if err != nil {
				r.t.Error(err)
			}
			return
		}
		if err == nil {
			r.t.Error("a connection was lent")
			c.Release()
			return
		}
		phase := "none" // the pool does not wait for the error of a late dial
		if de := new(wspool.DialError); errors.As(err, &de) {
			phase = de.Phase
		}
		late := r.harm == silence && errors.Is(err, resource.ErrMakeTimeout)
		switch phase {
		case "none":
			if !late {
				r.t.Errorf("%v", err)
			}
		case "connect", "tls", "handshake":
			if r.harm == silence && !late || r.harm == reset && !wasReset(err) {
				r.t.Errorf("a dial failed with %v", err)
			}
		default:
			r.t.Errorf("%v", err)
		}
	})
	r.relay.OnConn(nil)
	r.heal()
}

// answer returns how many bytes the server sends in one exchange.
func (r *trial) answer() int64 {
	n := int64(len(frame(1, request(plain, 1))))
	if r.cfg.TLS != nil {
		n += 5 + 1 + 16 // overhead of a TLS record
	}
	return n
}

// idle applies the fault to an idle connection.
func (r *trial) idle() {
	r.raise()
	r.warm()
	r.do(r.relay.Conns()[0])
	if r.harm != none {
		r.in("finding out", func(ctx context.Context) {
			select {
			case e := <-r.gone:
				r.judge(e.cause)
			case <-ctx.Done():
				r.t.Error("not detected")
			}
		})
	}
	r.heal()
	if s := r.pool.Stats(); r.harm == none && s.Made != 1 {
		r.t.Errorf("%v", s)
	}
}

// leased applies the fault to a reused connection during a request of that kind.
func (r *trial) leased(manner string, stale bool, strike func(*relay.Conn)) {
	r.raise()
	for _, deadline := range []bool{false, true} {
		if deadline && r.harm != silence {
			continue
		}
		r.heal()
		r.in("a lease", func(ctx context.Context) {
			c, err := r.pool.Acquire(ctx)
			if err != nil {
				r.t.Error(err)
				return
			}
			defer c.Release()
			if deadline {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			conns := r.relay.Conns()
			strike(conns[len(conns)-1])
			err = r.demanding(ctx, c, manner)
			switch {
			case deadline:
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, wspool.ErrStale) {
					r.t.Errorf("with a deadline: %v", err)
				}
			case r.harm == none:
				if err != nil {
					r.t.Error(err)
				}
			default:
				r.judge(err)
				if errors.Is(err, wspool.ErrStale) != stale {
					r.t.Errorf("wrong ErrStale: %v", err)
				}
			}
		})
	}
	r.heal()
}

// demanding makes a request of that kind.
func (r *trial) demanding(ctx context.Context, c *wspool.Conn, manner string) error {
	ask, want := request(manner, r.numbers.Add(1)), r.size
	switch manner {
	case weigh:
		ask += string(make([]byte, r.size))
		want = len(fmt.Sprint(len(ask)))
	case much:
		ask = request(much, uint64(r.size))
	case held:
		want = len(ask)
	}
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(ask)); err != nil {
		return err
	}
	_, p, err := c.ReadMessage(ctx)
	if err == nil && len(p) != want {
		err = fmt.Errorf("WRONG: %d bytes, want %d", len(p), want)
	}
	return err
}

// closing applies the fault to a connection that is being closed.
func (r *trial) closing(strike func(*relay.Conn)) {
	r.cfg.KeepAlive = -1 // otherwise the fault would hit the keepalive
	r.raise()
	r.warm()
	strike(r.relay.Conns()[0])
	r.in("closing", func(ctx context.Context) {
		r.pool.Reset(nil)
		select {
		case e := <-r.gone:
			if !errors.Is(e.cause, resource.ErrReset) {
				r.t.Errorf("destroyed with %v", e.cause)
			}
		case <-ctx.Done():
			r.t.Error("not closed")
		}
	})
	r.heal()
	strike(r.relay.Conns()[len(r.relay.Conns())-1])
	r.in("closing the pool", func(ctx context.Context) {
		if err := r.pool.Close(ctx); err != nil {
			r.t.Error(err)
		}
	})
}

// judge checks that err names the harm. The kernel reports a reset once: if a write gets it,
// reads return EOF.
func (r *trial) judge(err error) {
	r.t.Helper()
	want := map[harm]func(error) bool{ended: closed(1006), reset: wasResetOrEnded, silence: is(wspool.ErrSilent)}[r.harm]
	if !want(err) {
		r.t.Errorf("it failed with %v", err)
	}
}

// heal acquires until an exchange succeeds, as it must soon after the network has recovered.
func (r *trial) heal() {
	r.t.Helper()
	r.in("healing", func(ctx context.Context) {
		var err error
		for tries := 0; ctx.Err() == nil; tries++ {
			if err = r.pool.Do(ctx, r.exchange); err == nil {
				return
			}
		}
		r.t.Fatalf("the pool does not heal: %v", err)
	})
}
