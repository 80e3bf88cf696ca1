package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// lookupSource is a lookup whose answers the test sets.
type lookupSource struct {
	mu     sync.Mutex
	answer func(ctx context.Context, n int) ([]Endpoint, error) // n counts lookups, from 1
	begun  []time.Time
	ended  []time.Time
}

func (s *lookupSource) lookup(ctx context.Context) ([]Endpoint, error) {
	s.mu.Lock()
	s.begun = append(s.begun, time.Now())
	n, f := len(s.begun), s.answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = append(s.ended, time.Now())
	}()
	return f(ctx, n)
}

// set makes the lookups from now on answer with the addresses.
func (s *lookupSource) set(addrs string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(context.Context, int) ([]Endpoint, error) { return withAddrs(addrs), err }
}

// lookups returns when the lookups began, since began.
func (s *lookupSource) lookups(began time.Time) (at []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.begun {
		at = append(at, b.Sub(began))
	}
	return at
}

// withAddrs returns an endpoint for each address.
func withAddrs(addrs string) (all []Endpoint) {
	for addr := range strings.FieldsSeq(addrs) {
		all = append(all, Endpoint{Addr: addr})
	}
	return all
}

// steadyPolling is a Polling without randomness.
var steadyPolling = Polling{Interval: 10 * time.Second, MinInterval: time.Second, Timeout: 3 * time.Second, Jitter: -1}

func mustFunc(t *testing.T, s *lookupSource, p Polling) Resolver {
	t.Helper()
	r, err := Func(FuncConfig{Lookup: s.lookup, Polling: p, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPollsWithoutFailure: an endpoint that joins is found although nothing fails. Since
// version 1.26 grpc-go resolves again only after a failure, so that clients of healthy servers
// never see new ones (grpc-go #3353).
func TestPollsWithoutFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		s.set("a", nil)
		w := watchResolver(t, mustFunc(t, s, steadyPolling))
		time.Sleep(15 * time.Second)
		s.set("a b", nil)
		time.Sleep(6 * time.Second)
		w.want(t, "0s complete a", "10s complete a", "20s complete a b")
	})
}

// TestKeepsLast replays answers that others take for the end of all servers.
func TestKeepsLast(t *testing.T) {
	for _, test := range []struct {
		name   string
		lookup func(ctx context.Context) ([]Endpoint, error)
		takes  time.Duration
		want   string
		is     error
	}{
		// Envoy #9927: a DNS timeout was taken for an empty answer, "no healthy upstream".
		{"timeout", func(ctx context.Context) ([]Endpoint, error) { <-ctx.Done(); return nil, ctx.Err() },
			3 * time.Second, "context deadline exceeded", context.DeadlineExceeded},
		// grpc-go #3252: the resolver set an empty list when the DNS server failed.
		{"error", func(context.Context) ([]Endpoint, error) { return nil, errors.New("server misbehaving") }, 0, "server misbehaving", nil},
		{"empty", func(context.Context) ([]Endpoint, error) { return nil, nil }, 0, "the answer has no endpoints", ErrEmpty},
		{"panic", func(context.Context) ([]Endpoint, error) { panic("oh") }, 0, "resource: panic in Lookup: oh", nil},
		{"Goexit", func(context.Context) ([]Endpoint, error) { runtime.Goexit(); return nil, nil }, 0, "resource: function ended", resource.ErrGoexit},
		{"invalid", func(context.Context) ([]Endpoint, error) {
			return []Endpoint{{}, {Addr: "a", Weight: math.NaN()}, {Addr: "a"}, {Addr: "b", Weight: -1}}, nil
		}, 0, "invalid endpoints: endpoint 0 has no Addr; the Weight of endpoint 1", ErrInvalid},
		{"secret", func(context.Context) ([]Endpoint, error) { return nil, errors.New("GET https://me:hunter2@registry/") }, 0, "GET https://", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &lookupSource{answer: func(ctx context.Context, n int) ([]Endpoint, error) {
					if n == 2 {
						return test.lookup(ctx)
					}
					return withAddrs("a b"), nil
				}}
				w := watchResolver(t, mustFunc(t, s, steadyPolling))
				at := 10*time.Second + test.takes
				time.Sleep(at)
				w.want(t, "0s complete a b", at.String()+" a b: endpoint: test: "+test.want)
				u := w.lastUpdate()
				var lookup *LookupError
				if !errors.As(u.Err, &lookup) || lookup.Source != "test" || test.is != nil && !errors.Is(u.Err, test.is) {
					t.Errorf("the error is %#v", u.Err)
				}
				if strings.Contains(u.Err.Error(), "hunter2") {
					t.Errorf("%q shows a secret", u.Err)
				}
				time.Sleep(time.Second) // MinInterval, since it failed
				w.want(t, (at+time.Second).String()+" complete a b")
			})
		})
	}
}

// TestFirstLookupFails checks that there is an update although nothing is known.
func TestFirstLookupFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		s.set("", errors.New("no network"))
		w := watchResolver(t, mustFunc(t, s, steadyPolling))
		time.Sleep(time.Millisecond)
		s.set("a", nil)
		w.want(t, "0s: endpoint: test: no network")
		time.Sleep(time.Second)
		w.want(t, "1s complete a")
	})
}

// TestBackoff checks the delays of lookups that fail, and that Refresh does not shorten them.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		s.set("", errors.New("no network"))
		r := mustFunc(t, s, steadyPolling)
		w := watchResolver(t, r)
		for range 400 {
			time.Sleep(100 * time.Millisecond)
			r.(Refresher).Refresh()
		}
		if got, want := s.lookups(w.began), inSeconds(0, 1, 3, 7, 15, 25, 35); !slices.Equal(got, want) {
			t.Errorf("lookups at %v, want %v", got, want)
		}
		s.set("a", nil) // the success at 45 s begins the delays anew
		time.Sleep(6 * time.Second)
		s.set("", errors.New("no network"))
		time.Sleep(14 * time.Second)
		if got, want := s.lookups(w.began)[7:], inSeconds(45, 55, 56, 58); !slices.Equal(got, want) {
			t.Errorf("lookups at %v, want %v", got, want)
		}
	})
}

func inSeconds(all ...float64) (d []time.Duration) {
	for _, s := range all {
		d = append(d, time.Duration(s*float64(time.Second)))
	}
	return d
}

// TestRefresh checks when a Refresh makes a lookup begin.
func TestRefresh(t *testing.T) {
	long := steadyPolling
	long.Interval = time.Hour
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		n := 0
		s.answer = func(context.Context, int) ([]Endpoint, error) { n++; return withAddrs(fmt.Sprint("a", n)), nil }
		r := mustFunc(t, s, long)
		refresh := r.(Refresher).Refresh
		refresh() // nothing is watchedResolver: no effect
		w := watchResolver(t, r)
		time.Sleep(250 * time.Millisecond)
		refresh() // too early: at MinInterval
		refresh()
		time.Sleep(10 * time.Second) // 10.25 s
		refresh()                    // the last lookup is long ago: at once (grpc-go #7186 began to wait only now)
		synctest.Wait()
		if got, want := s.lookups(w.began), inSeconds(0, 1, 10.25); !slices.Equal(got, want) {
			t.Errorf("lookups at %v, want %v", got, want)
		}
	})

	t.Run("during a lookup", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &lookupSource{}
			s.answer = func(context.Context, int) ([]Endpoint, error) {
				time.Sleep(2 * time.Second)
				return withAddrs("a"), nil
			}
			r := mustFunc(t, s, long)
			w := watchResolver(t, r)
			time.Sleep(time.Second)
			r.(Refresher).Refresh() // the source may have answered before what it is about
			time.Sleep(30 * time.Second)
			if got, want := s.lookups(w.began), inSeconds(0, 3); !slices.Equal(got, want) {
				t.Errorf("lookups at %v, want %v", got, want)
			}
		})
	})

	t.Run("in vain", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &lookupSource{}
			s.set("a", nil)
			r := mustFunc(t, s, long)
			w := watchResolver(t, r)
			for range 900 { // an endpoint that is down and stays in the answer
				r.(Refresher).Refresh()
				time.Sleep(100 * time.Millisecond)
			}
			if got, want := s.lookups(w.began), inSeconds(0, 1, 3, 7, 15, 31, 63); !slices.Equal(got, want) {
				t.Errorf("lookups at %v, want %v", got, want)
			}
			s.set("a b", nil)
			for range 390 {
				r.(Refresher).Refresh()
				time.Sleep(100 * time.Millisecond)
			}
			if got, want := s.lookups(w.began)[7:], inSeconds(127, 128); !slices.Equal(got, want) {
				t.Errorf("after news lookups at %v, want %v", got, want)
			}
		})
	})
}

// TestJitter checks that delays differ, within their bounds, and that two lookups are never
// less than MinInterval apart, whatever is asked for and however long lookups take.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		s.answer = func(ctx context.Context, n int) ([]Endpoint, error) {
			select {
			case <-time.After(time.Duration(n%7) * 300 * time.Millisecond):
			case <-ctx.Done():
			}
			if n%5 == 0 {
				return nil, errors.New("no network")
			}
			return withAddrs(fmt.Sprint("a", n%3)), nil
		}
		p := steadyPolling
		p.Jitter = 0 // the default
		r := mustFunc(t, s, p)
		watchResolver(t, r)
		for i := range 10_000 {
			if i%2_000 < 1_000 {
				r.(Refresher).Refresh()
			}
			time.Sleep(100 * time.Millisecond)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.ended) < 100 {
			t.Fatalf("%d lookups", len(s.ended))
		}
		gaps := make(map[time.Duration]bool)
		for i, end := range s.ended[:len(s.begun)-1] {
			gap := s.begun[i+1].Sub(end)
			gaps[gap] = true
			if gap < time.Second || gap > 12*time.Second {
				t.Errorf("%v between two lookups, want 1 s to 12 s", gap)
			}
		}
		if len(gaps) < 50 {
			t.Errorf("only %d different delays", len(gaps))
		}
	})
}

// TestHung checks lookups that ignore their context: one is abandoned, the second is awaited.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(map[int]chan struct{})
		for n := range 10 {
			free[n] = make(chan struct{})
		}
		s := &lookupSource{}
		s.answer = func(_ context.Context, n int) ([]Endpoint, error) {
			if n == 2 || n == 4 || n == 5 || n == 6 {
				<-free[n]
			}
			return withAddrs(fmt.Sprint("a", n)), nil
		}
		w := watchResolver(t, mustFunc(t, s, steadyPolling))
		time.Sleep(13*time.Second + hangGrace) // the second hangs
		w.want(t, "0s complete a1", "13.1s a1: endpoint: test: the lookup does not return")
		if u := w.lastUpdate(); !errors.Is(u.Err, ErrHung) {
			t.Errorf("the error is %v, want ErrHung", u.Err)
		}
		time.Sleep(time.Second)
		w.want(t, "14.1s complete a3")
		time.Sleep(time.Hour) // the fourth hangs while the second does: no other is begun
		w.want(t, "27.2s a3: endpoint: test: the lookup does not return")
		if n := len(s.lookups(w.began)); n != 4 {
			t.Errorf("%d lookups, want 4", n)
		}
		close(free[4]) // its answer is the newest
		w.want(t, "1h0m14.1s complete a4")
		time.Sleep(14 * time.Second) // the fifth hangs too
		w.want(t, "1h0m27.2s a4: endpoint: test: the lookup does not return")
		close(free[2]) // the answer of the second is out of date; now one may be begun again
		w.want(t)
		time.Sleep(time.Minute)
		w.want(t, "1h0m32.2s a4: endpoint: test: the lookup does not return")
		if n := len(s.lookups(w.began)); n != 6 {
			t.Errorf("%d lookups, want 6", n)
		}
		if err := w.end(); !errors.Is(err, errTestEnd) {
			t.Errorf("Watch returned %v", err)
		}
		close(free[5])
		close(free[6])
	})
}

// TestCapped replays resilient-httpclient #85: a DNS server answers with 3 of 9 addresses, others
// each time, and the client closes the connections to those that are absent.
func TestCapped(t *testing.T) {
	ofNine := func(n int) (all []Endpoint) {
		for i := range 3 {
			all = append(all, Endpoint{Addr: fmt.Sprint("a", (3*n+i)%9)})
		}
		return all
	}
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		var gone atomic.Bool
		s.answer = func(_ context.Context, n int) ([]Endpoint, error) {
			if gone.Load() {
				n = 3*n + n%2 // a6, a7 and a8 are gone
			}
			return ofNine(n), nil
		}
		p := steadyPolling
		p.MaxAnswers = 3
		w := watchResolver(t, mustFunc(t, s, p))
		naive := make(map[string]int) // how often a client that trusts each answer loses an endpoint
		var before []Endpoint
		for n := range 99 {
			now := ofNine(n)
			for _, e := range unlisted(before, now) {
				naive[e.Addr]++
			}
			before = now
		}
		if len(naive) != 9 {
			t.Fatalf("a client that trusts each answer loses %v", naive)
		}
		time.Sleep(990 * time.Second)
		if u := w.lastUpdate(); u.Complete || u.Err != nil || len(w.endpoints()) != 9 || len(u.Endpoints) != 9 {
			t.Errorf("the update is %+v", u)
		}
		gone.Store(true)
		time.Sleep(time.Hour)
		if len(w.endpoints()) != 9 {
			t.Errorf("%d endpoints, want 9: no answer was complete", len(w.endpoints()))
		}
		s.set("a1 a2", nil) // fewer than MaxAnswers: all there are
		time.Sleep(10 * time.Second)
		if len(w.endpoints()) != 2 {
			t.Errorf("%v after a complete answer", w.endpoints())
		}
	})

	// Envoy #41771: what a capped answer does not list is kept for ever.
	t.Run("forgotten", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &lookupSource{}
			var servers atomic.Int32
			servers.Store(9)
			var fail atomic.Bool
			s.answer = func(_ context.Context, n int) ([]Endpoint, error) {
				if fail.Load() {
					return nil, errors.New("no network")
				}
				return []Endpoint{{Addr: fmt.Sprint("a", n%int(servers.Load()))}}, nil
			}
			p := steadyPolling
			p.MaxAnswers, p.ForgetAfter = 1, 20
			w := watchResolver(t, mustFunc(t, s, p))
			time.Sleep(1000 * time.Second)
			if u := w.lastUpdate(); !u.Complete || len(w.endpoints()) != 9 {
				t.Errorf("the update is %+v", u)
			}
			fail.Store(true)
			time.Sleep(time.Hour) // failed lookups do not count
			if len(w.endpoints()) != 9 {
				t.Errorf("%d endpoints after failures, want 9", len(w.endpoints()))
			}
			fail.Store(false)
			servers.Store(6)
			time.Sleep(100 * time.Second) // 10 answers, after up to 8 before the failures
			if len(w.endpoints()) != 9 {
				t.Errorf("%d endpoints after 10 answers, want 9", len(w.endpoints()))
			}
			time.Sleep(150 * time.Second)
			if len(w.endpoints()) != 6 {
				t.Errorf("%v after 25 answers, want 6", w.endpoints())
			}
		})
	})
}

// TestIncomplete checks answers that the function itself calls incomplete.
func TestIncomplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		s.set("a b", nil)
		w := watchResolver(t, mustFunc(t, s, steadyPolling))
		time.Sleep(time.Second / 2)
		s.set("c", fmt.Errorf("page 1 of 2: %w", ErrIncomplete))
		time.Sleep(10 * time.Second)
		s.set("d", errors.New("one of two registries is down"))
		time.Sleep(10 * time.Second)
		s.set("", ErrIncomplete)
		time.Sleep(time.Second)
		w.want(t, "0s complete a b", "10s c a b", "20s d c a b: endpoint: test: one of two registries is down",
			"21s d c a b: endpoint: test: the answer may lack endpoints")
	})
}

// TestWatchTwice checks that each Watch has its own lookups, and Refresh is for all.
func TestWatchTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lookupSource{}
		s.set("a", nil)
		r := mustFunc(t, s, steadyPolling)
		w1 := watchResolver(t, r)
		time.Sleep(5 * time.Second)
		w2 := watchResolver(t, r)
		time.Sleep(3 * time.Second)
		r.(Refresher).Refresh()
		w1.want(t, "0s complete a", "8s complete a")
		w2.want(t, "0s complete a", "3s complete a")
		_ = w1.end()
		time.Sleep(10 * time.Second)
		w1.want(t)
		w2.want(t, "13s complete a")
	})
}

// TestPollingCheck checks that one error names every bad field.
func TestPollingCheck(t *testing.T) {
	_, err := Func(FuncConfig{Polling: Polling{
		Interval: time.Second, MinInterval: time.Minute, Jitter: math.NaN(), Timeout: -1, MaxAnswers: -1, ForgetAfter: -1,
	}})
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("got %v, want ErrConfig", err)
	}
	for _, field := range []string{"Lookup", "Polling.Interval", "Polling.Jitter", "Polling.Timeout", "Polling.MaxAnswers", "Polling.ForgetAfter"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	none := func(context.Context) ([]Endpoint, error) { return nil, nil }
	for _, p := range []Polling{{}, {Interval: time.Millisecond}, {MinInterval: time.Hour}, {Jitter: math.Inf(-1)}, {Jitter: 1}} {
		if _, err := Func(FuncConfig{Lookup: none, Polling: p}); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
		if p = p.withDefaults(); p.Interval < p.MinInterval || p.MinInterval <= 0 || !(p.Jitter >= 0) || p.Timeout <= 0 {
			t.Errorf("the defaults make it %+v", p)
		}
	}
}
