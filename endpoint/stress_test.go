package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStress runs everything at once in real time, and checks that loads return to 0, that no
// hook of one endpoint overlaps another, and that a ranked endpoint has joined.
func TestStress(t *testing.T) {
	d := 500 * time.Millisecond
	if testing.Short() {
		d = 150 * time.Millisecond
	}
	for _, b := range []Balancer{P2C(), PeakEWMA(PeakEWMAConfig{Decay: time.Millisecond}), Zone("z1", 1.5, RoundRobin()), Rendezvous()} {
		stress(t, b, d)
	}
}

func stress(t *testing.T, b Balancer, d time.Duration) {
	const n = 12
	var joined [n]atomic.Int32 // 0: no, 1: joined, 2: a hook runs
	index := func(addr string) (i int) {
		if _, err := fmt.Sscanf(addr, "e%d", &i); err != nil {
			t.Error(err)
		}
		return i
	}
	var probing [n]atomic.Int32
	var traced atomic.Int32
	script := newScript()
	set, err := NewSet(SetConfig{
		Resolver: script, Balancer: b, ProbeDelay: time.Millisecond, MaxProbeDelay: 5 * time.Millisecond,
		Interval: 3 * time.Millisecond, SlowStart: 10 * time.Millisecond, FailbackAfter: time.Millisecond,
		Probe: func(ctx context.Context, addr string) error {
			i := index(addr)
			if probing[i].Add(1) != 1 {
				t.Errorf("two probes of %s at once", addr)
			}
			defer probing[i].Add(-1)
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(rand.IntN(3)) * time.Millisecond):
			}
			if rand.IntN(3) == 0 {
				return errDown
			}
			return ctx.Err()
		},
		OnJoin: func(e Endpoint) error {
			i := index(e.Addr)
			if !joined[i].CompareAndSwap(0, 2) {
				t.Errorf("%s joins while it is there", e.Addr)
			}
			if rand.IntN(10) == 0 {
				joined[i].Store(0)
				return errors.New("refused")
			}
			joined[i].Store(1)
			return nil
		},
		OnLeave: func(ctx context.Context, addr string) {
			i := index(addr)
			if !joined[i].CompareAndSwap(1, 2) {
				t.Errorf("%s leaves before it has joined", addr)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(rand.IntN(4)) * time.Millisecond):
			}
			joined[i].Store(0)
		},
		Trace: func(Event) {
			if traced.Add(1) != 1 {
				t.Error("two calls of Trace at once")
			}
			traced.Add(-1)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func(r *rand.Rand)) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 1))
			for {
				select {
				case <-stop:
					return
				default:
					f(r)
				}
			}
		})
	}
	loop(func(r *rand.Rand) {
		u := Update{Complete: r.IntN(3) > 0}
		for i := range n {
			if r.IntN(4) > 0 {
				u.Endpoints = append(u.Endpoints, Endpoint{
					Addr: fmt.Sprintf("e%d", i), Zone: fmt.Sprintf("z%d", r.IntN(2)), Weight: float64(r.IntN(3)), Priority: r.IntN(2),
				})
			}
		}
		select {
		case script.answers <- u:
		case <-stop:
		}
		time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // between two answers
	})
	kinds := []Kind{Nothing, Success, Success, Success, Success, Success, Connected, DialFailed, Closed, Silence, CallFailed, Local, Unanswered}
	for range 3 {
		var dst []string
		loop(func(r *rand.Rand) {
			dst = set.Rank(dst[:0], fmt.Sprint(r.IntN(50)))
			if len(dst) == 0 {
				return
			}
			for i, a := range dst {
				for _, b := range dst[:i] {
					if a == b {
						t.Errorf("%s is ranked twice", a)
					}
				}
			}
			use := set.Begin(dst[0])
			if r.IntN(3) == 0 {
				use = use.Move(dst[r.IntN(len(dst))])
			}
			use.End(Evidence{Kind: kinds[r.IntN(len(kinds))], Latency: time.Duration(r.IntN(1e6)), Status: []int{0, 401, 503}[r.IntN(3)]})
		})
	}
	loop(func(r *rand.Rand) {
		s := set.Snapshot()
		ejected, listed := 0, 0
		for _, e := range s.Endpoints {
			if e.Status == Ejected || e.Status == Probing {
				ejected++
			}
			if e.Status != Draining && e.Status != Joining {
				listed++
			}
			if !(e.Share > 0) {
				t.Errorf("share %v", e.Share)
			}
		}
		if limit := max(1, int(0.3*float64(listed)+1e-9)); ejected > limit || ejected > 0 && ejected >= listed {
			t.Errorf("%d of %d are ejected", ejected, listed)
		}
		set.Refresh()
		time.Sleep(100 * time.Microsecond) // leaves the processors to the others
	})
	time.Sleep(d) // how long the storm lasts; nothing depends on it
	close(stop)
	wg.Wait()
	for _, e := range set.Snapshot().Endpoints {
		if e.Load != 0 {
			t.Errorf("load of %s is %d", e.Endpoint.Addr, e.Load)
		}
	}
	if err := set.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
