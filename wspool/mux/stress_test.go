package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/wspool/mux"
)

// stressCalls is how many calls a stress test makes. The environment variable sets another number.
func stressCalls(t *testing.T, variable string, n, short int) int {
	if testing.Short() {
		n = short
	}
	if s := os.Getenv(variable); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// ledger counts how often each call has run.
type ledger struct {
	mu  sync.Mutex
	ran map[string]int
}

func (l *ledger) note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ran[text]++
}

func (l *ledger) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ran[text]
}

// record has what became of calls by their numbers: how often each has run at the server, and
// which reply or error its caller got.
type record struct {
	ran  []atomic.Uint32
	fate []byte // written by the caller
}

const (
	toldNotSent    = 1 << iota
	toldMayHaveRun // or may run, if the server has not read it yet
	toldReply
	mayRunTwice
)

func newRecord(calls int) *record {
	return &record{ran: make([]atomic.Uint32, calls+1), fate: make([]byte, calls+1)}
}

// check compares both. Nothing runs any more.
func (r *record) check(t *testing.T) {
	t.Helper()
	var bad int
	for i := range r.ran {
		ran, fate := r.ran[i].Load(), r.fate[i]
		most := uint32(1)
		if fate&mayRunTwice != 0 {
			most = 2
		}
		if fate&toldNotSent != 0 && ran > 0 || fate&toldReply != 0 && ran == 0 || ran > most {
			if bad++; bad <= 10 {
				t.Errorf("call %d has run %d times, its fate is %04b", i, ran, fate)
			}
		}
	}
	if bad > 10 {
		t.Errorf("%d calls in all", bad)
	}
}

// unreliable replies to calls, some of them late, twice, out of order or never; it sends replies
// that were not asked for and messages that are none, and ends connections. one of so many calls
// ends its connection.
func unreliable(l *record, seed uint64, one int) func(*peer) {
	var conns atomic.Uint64
	return func(p *peer) {
		r := rand.New(rand.NewPCG(seed, conns.Add(1)))
		var held []string // replies that wait
		release := func() {
			r.Shuffle(len(held), func(i, k int) { held[i], held[k] = held[k], held[i] })
			for _, m := range held {
				p.send("%s", m)
			}
			held = held[:0]
		}
		for n := 0; ; n++ {
			kind, id, text, ok := p.read()
			if !ok {
				return
			}
			if kind != 'C' {
				continue
			}
			call, err := strconv.Atoi(text)
			if err != nil {
				return
			}
			l.ran[call].Add(1)
			reply := "R" + id + " " + text
			if r.IntN(one) == 0 {
				switch r.IntN(3) {
				case 0:
					p.ws.NetConn().Close()
					return
				case 1:
					release()
					p.bye(1001)
					return
				default:
					p.send("W")
				}
			}
			switch dice := r.IntN(1000); {
			case dice < 2: // never
			case dice < 20:
				p.send("%s", reply)
				p.send("%s", reply)
			case dice < 30:
				p.send("R%d nobody asked", r.Uint32())
				p.send("%s", reply)
			case dice < 35:
				p.send("?")
				p.send("!")
				p.send("R nothing")
				held = append(held, reply)
			case dice < 300:
				held = append(held, reply)
			case dice < 310:
				time.AfterFunc(time.Duration(dice-300)*time.Millisecond, func() { p.send("%s", reply) })
			default:
				p.send("%s", reply)
			}
			if len(held) > 8 || n%16 == 0 {
				release()
			}
		}
	}
}

// In a storm of ends, cancels and bad replies no reply reaches another call, nothing is left
// pending, no call returns long after its context has ended, no call that was not sent has run,
// and none has run twice that may not.
func TestStressCalls(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("RESPOOL_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d", seed)
	total := stressCalls(t, "RESPOOL_MUX_CALLS", 40_000, 5_000)
	l := newRecord(total)
	s := listen(t, unreliable(l, seed, 500))
	s.cfg.Redial = func(error, int) time.Duration { return 0 }
	var codec mux.Codec = plain{bits: 31}
	if seed%2 == 1 { // ids of canceled calls are used again at once
		codec = finalPlain{plain{bits: 31}}
	}
	c, p := newClient(t, s, mux.Config{
		Codec: codec, MaxConns: 4, GrowAt: 8, MaxInFlight: 200, MaxOrphans: 16, OrphanWait: 200 * time.Millisecond,
	})
	control, stopControl := bystanders(8)
	late := new(lateness)
	const callers = 512
	var next, answered, canceled, notSent, mayHaveRun, crossed atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(1000+i)))
			for {
				n := int(next.Add(1))
				if n > total {
					return
				}
				if n%max(1, total/10) == 0 {
					p.Reset(nil)
				}
				bound := 2 * time.Second
				if r.IntN(20) == 0 {
					bound = time.Duration(r.IntN(3000)) * time.Microsecond
				}
				by := time.Now().Add(bound)
				ctx, cancel := context.WithDeadline(context.Background(), by)
				if r.IntN(2) == 0 { // by its cancel function instead
					inner, end := context.WithCancel(context.Background())
					stop := context.AfterFunc(ctx, end)
					cancelOuter := cancel
					ctx, cancel = inner, func() { stop(); end(); cancelOuter() }
				}
				req := mux.Request{Body: strconv.Itoa(n), Idempotent: r.IntN(2) == 0}
				m, err := c.Call(ctx, req)
				late.note(by)
				cancel()
				fate := byte(0)
				if req.Idempotent {
					fate = mayRunTwice
				}
				switch {
				case err == nil:
					answered.Add(1)
					fate |= toldReply
					if text(m) != req.Body {
						crossed.Add(1)
						t.Errorf("%s got %q", req.Body, m.Data)
					}
				case errors.Is(err, mux.ErrNotSent):
					notSent.Add(1)
					fate |= toldNotSent
				case errors.Is(err, mux.ErrMayHaveRun):
					mayHaveRun.Add(1)
					fate |= toldMayHaveRun
				default:
					t.Errorf("%s: %v", req.Body, err)
				}
				if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
					canceled.Add(1)
				}
				l.fate[n] = fate
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	stopControl()
	st := c.Stats()
	t.Logf("%d calls in %v, %.0f a second: %d answered, %d canceled, %d not sent, %d may have run, %d crossed; after their context returned %v, goroutines that only wait %v; %+v",
		total, took.Round(time.Millisecond), float64(total)/took.Seconds(), answered.Load(), canceled.Load(), notSent.Load(), mayHaveRun.Load(), crossed.Load(),
		late, control, st)
	if st.InFlight != 0 || st.Waiting != 0 {
		t.Errorf("pending: %+v", st)
	}
	if most := time.Second + 4*time.Duration(control.most.Load()); time.Duration(late.most.Load()) > most {
		t.Errorf("a call returned %v after its context had ended", time.Duration(late.most.Load()))
	}
	if answered.Load() == 0 {
		t.Error("no call was answered")
	}
	// What was given up must not run afterwards either, so the server reads all that it was sent.
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	s.wg.Wait()
	l.check(t)
}

// fuseConn is cut after so many bytes behind the handshake.
type fuseConn struct {
	cutConn
	after int
	cut   func(in int)
}

func (c *fuseConn) Write(p []byte) (n int, err error) {
	n, err = c.cutConn.Write(p)
	switch {
	case bytes.HasSuffix(p, []byte("\r\n\r\n")):
		c.mu.Lock()
		c.left = c.after
		c.mu.Unlock()
	case err != nil && c.cut != nil:
		c.cut(n)
		c.cut = nil
	}
	return n, err
}

// Every connection is cut while calls are written to it, after each number of bytes in turn. No call
// that was not sent has run, and none has run twice that may not.
func TestStressCutWrites(t *testing.T) {
	total := stressCalls(t, "RESPOOL_MUX_CUTS", 4000, 200)
	const longest = 300 // bytes: a dozen calls
	l := newRecord(32 * total)
	s := listenMem(t, func(p *peer) {
		for {
			kind, id, text, ok := p.read()
			if !ok {
				return
			}
			if kind != 'C' {
				continue
			}
			call, err := strconv.Atoi(text)
			if err != nil {
				t.Errorf("the server got %q", text)
				return
			}
			l.ran[call].Add(1)
			p.send("R%s %s", id, text)
		}
	})
	var dialled, cuts, inside atomic.Int64
	dial := s.cfg.NetDial
	s.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &fuseConn{cutConn{Conn: conn, left: -1}, int(dialled.Add(1) % longest), func(n int) {
			cuts.Add(1)
			if n > 0 {
				inside.Add(1) // the others were cut between two writes
			}
		}}, nil
	}
	s.cfg.Redial = func(error, int) time.Duration { return 0 }
	s.cfg.WatchAfter, s.cfg.KeepAlive = time.Hour, -1
	c, p := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 8, GrowAt: 8, ReplayRatio: 1})
	var next, replies, notSent, mayHaveRun atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for i := range 64 {
		wg.Go(func() {
			for cuts.Load() < int64(total) {
				n := int(next.Add(1))
				if n >= len(l.fate) {
					return
				}
				bound := patience
				if n%8 == 0 {
					bound = time.Duration(n%997) * time.Microsecond // at any point of the call
				}
				ctx, cancel := context.WithTimeout(context.Background(), bound)
				req := mux.Request{Body: strconv.Itoa(n), Idempotent: i%2 == 0}
				m, err := c.Call(ctx, req)
				cancel()
				var fate byte
				if req.Idempotent {
					fate = mayRunTwice
				}
				switch {
				case err == nil && text(m) == req.Body:
					replies.Add(1)
					fate |= toldReply
				case errors.Is(err, mux.ErrNotSent):
					notSent.Add(1)
					fate |= toldNotSent
				case errors.Is(err, mux.ErrMayHaveRun):
					mayHaveRun.Add(1)
					fate |= toldMayHaveRun
				default:
					t.Errorf("%s: %q, %v", req.Body, m.Data, err)
				}
				l.fate[n] = fate
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	st := c.Stats()
	t.Logf("%d writes cut, %d of them inside, in %v: %d calls, %d answered, %d not sent, %d may have run; %d sent elsewhere, %d replayed",
		cuts.Load(), inside.Load(), took.Round(time.Millisecond), next.Load(), replies.Load(), notSent.Load(), mayHaveRun.Load(), st.Retried, st.Replayed)
	if st.InFlight != 0 || st.Waiting != 0 {
		t.Errorf("pending: %+v", st)
	}
	if cuts.Load() < int64(total)/8 {
		t.Error("too few writes were cut")
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	s.wg.Wait()
	l.check(t)
}

// lateness counts by how much goroutines return after their deadlines.
type lateness struct {
	ended, tardy atomic.Int64 // tardy: by more than 10 ms
	most         atomic.Int64
}

func (l *lateness) note(by time.Time) {
	late := time.Since(by)
	if late < 0 {
		return
	}
	l.ended.Add(1)
	if late > 10*time.Millisecond {
		l.tardy.Add(1)
	}
	for {
		old := l.most.Load()
		if int64(late) <= old || l.most.CompareAndSwap(old, int64(late)) {
			return
		}
	}
}

func (l *lateness) String() string {
	return fmt.Sprintf("%d of %d over 10 ms late (%.2f %%), at most %v", l.tardy.Load(), l.ended.Load(),
		100*float64(l.tardy.Load())/float64(max(1, l.ended.Load())), time.Duration(l.most.Load()).Round(10*time.Microsecond))
}

// bystanders wait for contexts and do nothing else, until stop is called: no call can be expected
// to return sooner than they do on this machine.
func bystanders(n int) (l *lateness, stop func()) {
	l = new(lateness)
	var quit atomic.Bool
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for !quit.Load() {
				by := time.Now().Add(time.Duration(rand.IntN(3000)) * time.Microsecond)
				ctx, cancel := context.WithDeadline(context.Background(), by)
				<-ctx.Done()
				l.note(by)
				cancel()
			}
		})
	}
	return l, func() { quit.Store(true); wg.Wait() }
}
