package sim_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// A dial storm: the server is down for ten seconds, each dial fails after 5 ms, and 200
// callers keep retrying, 10 ms after each error. The figures are the number of dials during
// the outage, and the time until all callers are served after it.

const (
	outage    = 10 * time.Second
	callers   = 200
	politely  = 10 * time.Millisecond
	dialTime  = 5 * time.Millisecond
	stormSize = 100
	maxDials  = 85                         // goal: 50 at first, before the first failure is known, and the probes
	maxGated  = 18                         // with a MakeGate of 8
	maxWait   = outage/8 + 2*dialTime      // the longest pause of the pool between two probes, and one dial
	gateWait  = 5*time.Second + 2*dialTime // that of the MakeGate, without its jitter
)

var errDown = errors.New("connection refused")

// server is down at first.
type server struct {
	up time.Time // dials succeed from then on

	mu      sync.Mutex
	dials   int // during the outage
	at      int // running dials
	atOnce  int // largest number of running dials
	late    int // dials after the outage
	lateTop int // largest number of those at once
}

func newServer(down time.Duration) *server { return &server{up: time.Now().Add(down)} }

func (s *server) dial(ctx context.Context) (int, error) {
	s.mu.Lock()
	s.at++
	down := time.Now().Before(s.up)
	n := &s.late
	if down {
		n, s.atOnce = &s.dials, max(s.atOnce, s.at)
	} else {
		s.lateTop = max(s.lateTop, s.at)
	}
	*n++
	d := dialTime + instant((s.dials+s.late)%500)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.at--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if down {
		return 0, errDown
	}
	return 1, nil
}

// storm is the result of the callers.
type storm struct {
	*server
	errs  int
	first time.Duration // from the end of the outage to the first lease
	all   time.Duration // from there until every caller has had one
}

// runStorm runs the callers until each has had a lease.
func runStorm(s *server, acquire func(ctx context.Context) (release func(), err error)) *storm {
	var mu sync.Mutex
	var first, last time.Time
	res := &storm{server: s}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			time.Sleep(instant(i))
			for {
				release, err := acquire(context.Background())
				if err == nil {
					mu.Lock()
					last = time.Now()
					if first.IsZero() {
						first = last
					}
					mu.Unlock()
					time.Sleep(time.Millisecond)
					release()
					return
				}
				mu.Lock()
				res.errs++
				mu.Unlock()
				time.Sleep(politely + instant(i))
			}
		})
	}
	wg.Wait()
	res.first, res.all = first.Sub(s.up), last.Sub(first)
	return res
}

// stormOn runs the storm on a resource.Pool.
func stormOn(t *testing.T, edit func(cfg *resource.Config[int])) (res *storm) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(outage)
		cfg := resource.Config[int]{Make: s.dial, MaxSize: stormSize}
		edit(&cfg)
		p, err := resource.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		res = runStorm(s, func(ctx context.Context) (func(), error) {
			l, err := p.Acquire(ctx)
			return l.Release, err
		})
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return res
}

// stormOnPuddle runs the first second of the storm on puddle. It does not react to failures,
// so the other seconds are the same.
func stormOnPuddle(t *testing.T) (res *storm) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(outage / 10)
		p, err := puddle.NewPool(&puddle.Config[int]{
			Constructor: s.dial,
			Destructor:  func(int) {},
			MaxSize:     stormSize,
		})
		if err != nil {
			t.Fatal(err)
		}
		res = runStorm(s, func(ctx context.Context) (func(), error) {
			r, err := p.Acquire(ctx)
			if err != nil {
				return nil, err
			}
			return r.Release, nil
		})
		p.Close()
	})
	return res
}

func makeGate(t *testing.T, cfg policy.MakeGateConfig) *policy.MakeGate {
	t.Helper()
	g, err := policy.NewMakeGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestDialStorm(t *testing.T) {
	var b table
	b.add("", "dials while down", "at once", "errors told", "first lease after", "all served", "dials then", "at once")
	report := func(name string, s *storm) *storm {
		b.add(name, s.dials, s.atOnce, s.errs, s.first, s.all, s.late, s.lateTop)
		return s
	}
	none := func(*resource.Config[int]) {}
	gated := func(cfg *resource.Config[int]) { cfg.MakeGate = makeGate(t, policy.MakeGateConfig{Concurrent: 8}) }
	waiting := func(cfg *resource.Config[int]) { cfg.Outage = resource.KeepWaiting }

	bare := report("puddle, 1s of it", stormOnPuddle(t))
	for _, w := range []struct {
		name string
		edit func(*resource.Config[int])
		most int
		wait time.Duration // the longest pause between two probes
	}{
		{"resource", none, maxDials, maxWait},
		{"resource, KeepWaiting", waiting, maxDials, maxWait},
		{"resource, MakeGate of 8", gated, maxGated, gateWait * 3 / 2}, // with jitter in both directions
	} {
		s := report(w.name, stormOn(t, w.edit))
		if s.dials > w.most {
			t.Errorf("%s: %d dials while the server was down, want %d at most", w.name, s.dials, w.most)
		}
		if s.first > w.wait {
			t.Errorf("%s: the first lease %v after the outage, want %v at most", w.name, s.first, w.wait)
		}
		if s.all > time.Second {
			t.Errorf("%s: all were served %v after the first, want 1s at most", w.name, s.all)
		}
	}
	b.log(t)
	if bare.dials < 100*maxDials {
		t.Errorf("puddle: %d dials; the load is lower than intended", bare.dials)
	}
}
