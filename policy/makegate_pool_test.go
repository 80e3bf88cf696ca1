package policy_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The gate in a pool.

// server is what makes of a test go to. It counts who is there at once.
type server struct {
	mu    sync.Mutex
	down  bool
	takes time.Duration // a make
	now   int           // makes that run
	most  int           // the most there were since reset
	began []time.Duration
	start time.Time
}

func (s *server) dial(ctx context.Context) (int, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.began = append(s.began, time.Since(s.start))
	takes, n := s.takes, len(s.began)
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if s.down {
		return 0, errRefused
	}
	return n, ctx.Err()
}

// set changes the server, and begins to count anew.
func (s *server) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.most, s.began, s.start = down, s.now, nil, time.Now()
}

// seen is when makes began since set, and the most that ran at once.
func (s *server) seen() (began []time.Duration, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.began), s.most
}

// A pool of 100 and 100 callers: while the server is down it sees one make at a
// time, ever more seldom; when it is up, 1, 2, 4, … until all are served.
func TestMakeGate_Storm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		s := &server{takes: 10 * time.Millisecond}
		s.set(true)
		l := lend(t, resource.Config[int]{MaxSize: 100, Make: s.dial, MakeGate: g, Outage: resource.KeepWaiting})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				lease, err := l.Acquire(context.Background())
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				time.Sleep(time.Hour)
				lease.Release()
			})
		}
		time.Sleep(time.Second)
		// At once 10, and then after 0.1, 0.3, 0.7 and 1.5 s at the earliest.
		if began, most := s.seen(); most > 10 || len(began) < 11 || len(began) > 14 {
			t.Errorf("the server saw %d makes in a second, %d at once; want about 13, and 10", len(began), most)
		}
		time.Sleep(9 * time.Second)
		s.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if load := l.Stats().Load; load.Leased != 100 {
			t.Errorf("a minute later: %v", load)
		}
		began, most := s.seen()
		if len(began) != 100 || most > 10 {
			t.Errorf("%d makes, %d at once; want 100, and at most 10", len(began), most)
		}
		rounds := map[int]int{}
		for _, at := range began {
			rounds[int((at-began[0])/s.takes)]++
		}
		t.Logf("up again: the first make after %v, the last after %v; makes by round: %v", began[0], began[99], rounds)
		for n, want := range []int{1, 2, 4, 8, 10} {
			if got := rounds[n]; got > want {
				t.Errorf("%d makes began in round %d, want at most %d", got, n+1, want)
			}
		}
		if took := began[99] - began[0]; took > time.Second {
			t.Errorf("the last make began %v after the first that succeeded", took)
		}
		wg.Wait()
	})
}

// Two pools with one gate: what one learns of the server the other knows.
func TestMakeGate_Shared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		s := &server{takes: time.Millisecond}
		s.set(true)
		cfg := resource.Config[int]{MaxSize: 10, Make: s.dial, MakeGate: g, Outage: resource.KeepWaiting}
		a, b := lend(t, cfg), lend(t, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := a.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		if _, err := b.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		ctx, cancel = context.WithTimeout(context.Background(), 40*time.Millisecond)
		defer cancel()
		if _, err := b.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		if began, _ := s.seen(); len(began) != 1 {
			t.Errorf("the server saw %d makes in 90 ms, want 1", len(began))
		}
	})
}

// Close ends makes that wait in Admit, and leaves the gate as it was.
func TestMakeGate_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, policy.MakeGateConfig{Concurrent: 1})
		other := g.begin(1) // another pool's
		l := lend(t, resource.Config[int]{MaxSize: 3, MinIdle: 3, MakeGate: g})
		synctest.Wait()
		if load := l.Stats().Load; load.Making != 3 {
			t.Fatalf("%v, want 3 in the making", load)
		}
		began := time.Now()
		if err := l.Close(context.Background()); err != nil || time.Since(began) > 0 {
			t.Errorf("Close: %v, after %v", err, time.Since(began))
		}
		g.want(1, 1)
		end(went, other...)
		end(went, g.begin(1)...)
		g.want(1, 0)
	})
}

// However a make ends the gate gets its permit back: in a panic, in a time-out,
// or because the pool was closed.
func TestMakeGate_Endings(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(ctx context.Context) (int, error)
	}{
		{"panic", func(context.Context) (int, error) { panic("out of order") }},
		{"time-out", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }},
		{"too late", func(context.Context) (int, error) { time.Sleep(time.Hour); return 0, errRefused }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, policy.MakeGateConfig{Concurrent: 1})
				l := lend(t, resource.Config[int]{MaxSize: 1, Make: c.make, MakeGate: g, MakeTimeout: time.Second})
				if _, err := l.Acquire(context.Background()); err == nil {
					t.Error("acquired what failed")
				}
				synctest.Wait()
				g.want(1, 0)
				if _, err := g.Admit(context.Background(), resource.Request{}); !errors.Is(err, policy.ErrMakesFail) {
					t.Errorf("after a wentWrong make Admit says %v", err)
				}
				time.Sleep(time.Hour) // the late one ends
			})
		})
	}
}
