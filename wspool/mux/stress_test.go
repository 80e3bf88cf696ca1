package mux_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/wspool/mux"
)

// stressCalls is how many calls the stress test makes. RESPOOL_MUX_CALLS sets another number.
func stressCalls(t *testing.T) int {
	n := 40_000
	if testing.Short() {
		n = 8_000
	}
	if s := os.Getenv("RESPOOL_MUX_CALLS"); s != "" {
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

// unreliable replies to calls, some of them late, twice, out of order or never; it sends replies
// that were not asked for and messages that are none, and ends connections.
func unreliable(l *ledger, seed uint64) func(*peer) {
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
			l.note(text)
			reply := "R" + id + " " + text
			switch dice := r.IntN(1000); {
			case dice < 2:
				p.ws.NetConn().Close()
				return
			case dice < 4:
				release()
				p.bye(1001)
				return
			case dice < 8: // never
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
				go func() {
					time.Sleep(time.Duration(dice-300) * time.Millisecond) // the fault: a delayed reply
					p.send("%s", reply)
				}()
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
	l := &ledger{ran: make(map[string]int)}
	s := listen(t, unreliable(l, seed))
	var codec mux.Codec = plain{bits: 31}
	if seed%2 == 1 { // ids of canceled calls are used again at once
		codec = finalPlain{plain{bits: 31}}
	}
	c, p := newClient(t, s, mux.Config{
		Codec: codec, MaxConns: 4, GrowAt: 8, MaxInFlight: 32, MaxOrphans: 16, OrphanWait: 200 * time.Millisecond,
	})
	total := stressCalls(t)
	lag, stopLag := timerLag()
	const callers = 64
	var next, answered, canceled, notSent, mayHaveRun, latest atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(1000+i)))
			for {
				n := next.Add(1)
				if n > int64(total) {
					return
				}
				if n%int64(max(1, total/10)) == 0 {
					p.Reset(nil)
				}
				what := fmt.Sprint("call ", n)
				bound := 2 * time.Second
				if r.IntN(20) == 0 {
					bound = time.Duration(r.IntN(3000)) * time.Microsecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), bound)
				by := time.Now().Add(bound)
				req := mux.Request{Body: what, Idempotent: r.IntN(2) == 0}
				m, err := c.Call(ctx, req)
				if late := time.Since(by); late > 0 {
					for {
						old := latest.Load()
						if int64(late) <= old || latest.CompareAndSwap(old, int64(late)) {
							break
						}
					}
				}
				cancel()
				ran := l.count(what)
				var failed *mux.CallError
				switch {
				case err == nil:
					answered.Add(1)
					if text(m) != what {
						t.Errorf("%s got %q", what, m.Data)
					}
				case !errors.As(err, &failed):
					t.Errorf("%s: %v", what, err)
				case errors.Is(err, mux.ErrNotSent):
					notSent.Add(1)
					if ran > 0 && failed.Sent == 0 {
						t.Errorf("%s has run %d times: %v", what, ran, err)
					}
				case errors.Is(err, mux.ErrMayHaveRun):
					mayHaveRun.Add(1)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					canceled.Add(1)
				}
				if ran > 2 || ran > 1 && !req.Idempotent {
					t.Errorf("%s has run %d times, idempotent %v", what, ran, req.Idempotent)
				}
			}
		})
	}
	wg.Wait()
	stopLag()
	t.Logf("timers of this machine were up to %v late", time.Duration(lag.Load()))
	// What was given up is in no queue: it must not run afterwards.
	st := c.Stats()
	t.Logf("%d answered, %d canceled, %d not sent, %d may have run, at most %v after the context; %+v",
		answered.Load(), canceled.Load(), notSent.Load(), mayHaveRun.Load(), time.Duration(latest.Load()), st)
	if st.InFlight != 0 || st.Waiting != 0 {
		t.Errorf("pending: %+v", st)
	}
	if most := 500*time.Millisecond + 2*time.Duration(lag.Load()); time.Duration(latest.Load()) > most {
		t.Errorf("a call returned %v after its context had ended", time.Duration(latest.Load()))
	}
	if answered.Load() < int64(total)*8/10 {
		t.Errorf("only %d of %d were answered", answered.Load(), total)
	}
}

// timerLag measures by how much timers are late, until stop is called.
func timerLag() (most *atomic.Int64, stop func()) {
	most = new(atomic.Int64)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			by := time.Now().Add(time.Millisecond)
			select {
			case <-time.After(time.Millisecond):
			case <-end:
				return
			}
			most.Store(max(most.Load(), int64(time.Since(by))))
		}
	}()
	return most, func() { close(end); <-ended }
}
