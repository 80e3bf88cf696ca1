package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// A section is a part of the load: pools, their servers and their callers. Only start is called
// while the load runs; for the other methods the gate is closed.
type section interface {
	label() string
	targets() []*target
	start(l *load)
	// calm ends what callers keep from one operation to the next.
	calm()
	// probe has a caller served. It tries until ctx ends.
	probe(ctx context.Context) error
	// always returns what must not be at any time.
	always() []string
	// rest returns why the section is not at rest; "" if it is, and everything is accounted for.
	rest() string
	// once returns what is wrong about the time since the last checkpoint. The section is at rest.
	once() []string
	// empty begins to replace all that is alive.
	empty()
	// bare returns why something is alive beyond what must be; "" if nothing is.
	bare() string
	// close ends the section, and checks what is left.
	close(ctx context.Context) []string
	dials() int64
}

// load is what the workers of all sections share.
type load struct {
	settings
	*journal
	gate    sync.RWMutex  // held for reading by each operation, for writing at a checkpoint
	stop    chan struct{} // closed when the load ends
	workers sync.WaitGroup
	calls   atomic.Uint64 // numbers given to calls
	tenants atomic.Int64
	crew    atomic.Int64 // goroutines of the load itself
	done    atomic.Int64 // operations that succeeded
	failed  atomic.Int64 // operations that ended with an error
	tallies []*tally     // set before the load begins
	took    latencies
	planted []func() // end what planted faults have leaked; guarded by journal.mu
}

// tally is what the callers of a section have done.
type tally struct {
	name         string
	done, failed atomic.Int64
}

// worker is a caller.
type worker struct {
	*load
	tally  *tally // nil: an operator
	rand   *rand.Rand
	tenant int64
}

// hire starts a goroutine of the load, which ends when the load stops.
func (l *load) hire(f func()) {
	l.crew.Add(1)
	l.workers.Go(func() {
		defer l.crew.Add(-1)
		f()
	})
}

// begin starts n workers of a section that call op again and again, until the load stops.
func (l *load) begin(section string, n int, op func(w *worker)) {
	sum := &tally{name: section}
	l.tallies = append(l.tallies, sum)
	for range n {
		t := l.tenants.Add(1)
		w := &worker{load: l, tally: sum, rand: rand.New(rand.NewPCG(l.seed, uint64(t))), tenant: t}
		l.hire(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(time.Duration(w.rand.ExpFloat64() * float64(l.think))): // the pace of the caller
				}
				l.gate.RLock()
				op(w)
				w.leak()
				l.gate.RUnlock()
			}
		})
	}
}

// leak leaks what a planted fault says.
func (w *worker) leak() {
	switch {
	case w.plant == plantGoroutine && w.chance(20):
		end := make(chan struct{})
		go func() { <-end }()
		w.atEnd(func() { close(end) })
	case w.plant == plantDescriptor && w.chance(20):
		if f, err := os.Open(os.DevNull); err == nil {
			w.atEnd(func() { f.Close() })
		}
	}
}

// atEnd has f called when the load has ended.
func (w *worker) atEnd(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.planted = append(w.planted, f)
}

// keep starts a goroutine that calls op about every d, until the load stops.
func (l *load) keep(d time.Duration, op func(w *worker)) {
	t := l.tenants.Add(1)
	w := &worker{load: l, rand: rand.New(rand.NewPCG(l.seed, uint64(t))), tenant: t}
	l.hire(func() {
		for {
			select {
			case <-l.stop:
				return
			case <-time.After(time.Duration((0.5 + w.rand.Float64()) * float64(d))): // the pace of the operator
			}
			l.gate.RLock()
			op(w)
			l.gate.RUnlock()
		}
	})
}

// count notes an operation that began at that time.
func (w *worker) count(began time.Time, err error) {
	if err != nil {
		w.load.failed.Add(1)
		w.tally.failed.Add(1)
		return
	}
	w.load.done.Add(1)
	w.tally.done.Add(1)
	w.took.add(time.Since(began))
}

// chance returns true with probability 1/n.
func (w *worker) chance(n int) bool { return w.rand.IntN(n) == 0 }

// size draws the size of an answer: mostly small, sometimes longer than a read buffer.
func (w *worker) size() int {
	if w.chance(30) {
		return w.rand.IntN(20_000)
	}
	return w.rand.IntN(200)
}

// patience draws how long an operation may take: mostly long enough, sometimes not.
func (w *worker) patience() (context.Context, context.CancelFunc) {
	d := 1500 * time.Millisecond
	if w.chance(8) {
		d = time.Duration(w.rand.Int64N(int64(30 * time.Millisecond)))
	}
	return context.WithTimeout(context.Background(), d)
}

// request draws what a caller asks of the pool.
func (w *worker) request() (r resource.Request) {
	r.Priority = w.rand.IntN(3)
	r.Class = []string{"", "batch", "interactive"}[w.rand.IntN(3)]
	switch w.rand.IntN(20) {
	case 0:
		r.NoWait = true
	case 1:
		r.MaxWait = time.Duration(w.rand.Int64N(int64(50 * time.Millisecond)))
	case 2:
		r.Fresh = true
	case 3:
		r.MinRemaining = 100 * time.Millisecond
	case 4:
		r.Cost = 1 + w.rand.IntN(2)
	}
	return r
}

// quiet discards what meters log.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newMeter returns a meter of a pool.
func newMeter(name string, n int) (*metrics.Meter, error) {
	return metrics.New(fmt.Sprintf("%s %d", name, n), metrics.Config{Overdue: time.Second, Logger: quiet})
}

// equations returns which equations of resource.Stats do not hold.
func equations(name string, s resource.Stats) (bad []string) {
	no := func(ok bool, what string) {
		if !ok {
			bad = append(bad, fmt.Sprintf("%s: %s: %+v", name, what, s))
		}
	}
	no(s.Made-s.Destroyed-s.Hijacked == int64(s.Idle+s.Leased+s.Destroying), "Stats: Made - Destroyed - Hijacked is not Idle + Leased + Destroying")
	no(s.Acquired == s.Released+int64(s.Leased), "Stats: Acquired is not Released + Leased")
	no(s.Begun.Total() == s.Made+s.Failed+s.Refused+s.Withdrawn+int64(s.Making), "Stats: Begun is not Made + Failed + Refused + Withdrawn + Making")
	no(min(s.Idle, s.Leased, s.Making, s.Destroying, s.Hanging, s.Abandoned, s.Waiting, s.Wanting) >= 0, "Stats: a level is negative")
	return bad
}

// busy returns what of a pool is under way; "": nothing.
func busy(l resource.Load) string {
	if l.Leased+l.Making+l.Destroying+l.Hanging+l.Abandoned+l.Waiting > 0 {
		return l.String()
	}
	return ""
}

// disagrees returns where the sums of a meter differ from the Stats of its pool, which is at rest. With
// AcquireAny (anyKey) refusals are not compared: the meter counts each key that refuses a caller, the
// pool only callers that no key has served.
func disagrees(m *metrics.Meter, s resource.Stats, anyKey bool) string {
	shot := m.Snapshot(0)
	var ended, refused int64
	for _, n := range shot.Destroyed {
		ended += n
	}
	for _, n := range shot.Refused {
		refused += n
	}
	switch {
	case shot.Wait.Count != s.Acquired:
		return fmt.Sprintf("meter %s has %d waits, the pool %d leases", m.Name(), shot.Wait.Count, s.Acquired)
	case shot.Make.Count != s.Made || shot.Make.Sum != s.MakeTime:
		return fmt.Sprintf("meter %s has %d creations in %v, the pool %d in %v", m.Name(), shot.Make.Count, shot.Make.Sum, s.Made, s.MakeTime)
	case shot.Close.Count != s.Destroyed || ended != s.Destroyed:
		return fmt.Sprintf("meter %s has %d and %d resources destroyed, the pool %d", m.Name(), shot.Close.Count, ended, s.Destroyed)
	case refused != s.Rejected+s.Refused && !anyKey:
		return fmt.Sprintf("meter %s has %d refusals, the pool %d", m.Name(), refused, s.Rejected+s.Refused)
	}
	return ""
}

// again calls try until it succeeds or ctx ends, waiting between as the pool advises.
func again(ctx context.Context, try func(ctx context.Context) error) error {
	for {
		bounded, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := try(bounded)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		var ae *resource.AcquireError
		if errors.As(err, &ae) {
			bounded, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			_ = ae.Wait(bounded) // the next try shows whether it was worth it
			cancel()
		} else {
			pause(ctx, 20*time.Millisecond) // the pool does not say when to try again
		}
	}
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// inUse returns what now has, counted as used. That is looked at again once it is counted: the
// goroutine that replaces it waits only for users that it sees.
func inUse[G any](now *atomic.Pointer[G], users func(*G) *atomic.Int64) *G {
	for {
		g := now.Load()
		users(g).Add(1)
		if now.Load() == g {
			return g
		}
		users(g).Add(-1)
	}
}
