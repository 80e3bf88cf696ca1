package resource_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// after returns a check that takes d, or ends with its context, and then returns
// err.
func after(d time.Duration, err error) func(context.Context, *item) error {
	return func(ctx context.Context, _ *item) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// What is given back by ReleaseAfter is idle and not lent before its check has
// passed; then it has the place that it had, and its lease does not count.
func TestReleaseAfter(t *testing.T) {
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			script(t, 2, func(h *harness) { h.cfg.Order = order }, func(h *harness) {
				its := h.stock(2)
				first, second := its[1], its[0]
				if order == resource.OldestFirst {
					first, second = its[0], its[1]
				}
				time.Sleep(3 * time.Second)
				l := h.acquire().wantItem(first)
				leases := l.Info().Leases
				l.ReleaseAfter(after(time.Second, nil))
				l.ReleaseAfter(after(0, errSick)) // the lease has ended
				h.wantLoad(resource.Load{Idle: 2})
				if r := h.p.Inspect(2).Resources; r[0].State+r[1].State != resource.Checking {
					t.Errorf("states %v and %v", r[0].State, r[1].State)
				}
				other := h.acquire().wantItem(second)
				time.Sleep(time.Second)
				h.settle()
				l = h.acquire().wantItem(first)
				if i := l.Info(); i.Leases != leases || i.Idle < 3800*time.Millisecond || i.Idle > 4200*time.Millisecond {
					t.Errorf("%d leases before, now %+v", leases, i)
				}
				l.Release()
				other.Release()
				h.wantLoad(resource.Load{Idle: 2})
			})
		})
	}
}

// A caller that waits gets the resource as soon as its check has passed, with a
// Queue too. It is counted on for 10 ms to 100 ms: then another is made.
func TestReleaseAfter_Waiter(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		makes, check time.Duration // how long each takes
		makeAfter    time.Duration // 0: none begins
	}{
		{0, 9 * ms, 0}, {0, 50 * ms, 10 * ms}, {30 * ms, 29 * ms, 0}, {30 * ms, 80 * ms, 30 * ms}, {900 * ms, time.Minute, 100 * ms},
	} {
		for name, queue := range map[string]resource.Queue{"": nil, "with a Queue": &listQueue{}} {
			t.Run(tc.check.String()+name, func(t *testing.T) {
				edit := func(h *harness) {
					h.cfg.Queue = queue
					h.auto = func(m *makeCall) { m.finishAfter(tc.makes) }
				}
				script(t, 2, edit, func(h *harness) {
					c := h.acquire()
					time.Sleep(tc.makes)
					l := c.wantLease()
					it := l.Value()
					l.ReleaseAfter(after(tc.check, nil))
					made := h.begun()
					c = h.acquire()
					h.wantWaiting(c)
					if tc.makeAfter == 0 {
						time.Sleep(tc.check)
						c.wantItem(it).Release()
						if n := h.begun() - made; n != 0 {
							t.Errorf("%d makes", n)
						}
						return
					}
					time.Sleep(tc.makeAfter - 1)
					h.settle()
					if n := h.begun() - made; n != 0 {
						t.Errorf("%d makes before %v", n, tc.makeAfter)
					}
					time.Sleep(time.Nanosecond)
					h.settle()
					if n := h.begun() - made; n != 1 {
						t.Errorf("%d makes after %v", n, tc.makeAfter)
					}
					time.Sleep(tc.makes)
					if l := c.wantLease(); l.Value() == it && tc.check > tc.makes+tc.makeAfter {
						t.Error("lent before its check has passed")
					}
				})
			})
		}
	}
}

// A check that fails, panics or ends its goroutine destroys the resource, and its
// place is free for those who wait.
func TestReleaseAfter_Fails(t *testing.T) {
	for name, check := range map[string]func(context.Context, *item) error{
		"error":  after(time.Second, errSick),
		"panic":  func(context.Context, *item) error { time.Sleep(time.Second); panic(errSick) },
		"goexit": func(context.Context, *item) error { time.Sleep(time.Second); runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				l := h.lend()
				it := l.Value()
				l.ReleaseAfter(check)
				c := h.acquire()
				h.wantWaiting(c)
				time.Sleep(time.Second)
				h.settle()
				h.wantGone(it)
				h.wantMake().finish()
				c.wantLease().Release()
				if s := h.p.Stats(); s.Unhealthy != 1 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// Reset and Close end the check's context; invalidate, Resize and the end of the lease's
// era before it say as much: the resource is destroyed, whatever the check says.
func TestReleaseAfter_Ends(t *testing.T) {
	errGone := errors.New("gone")
	for name, tc := range map[string]struct {
		do    func(h *harness, it *item)
		cause error
		soon  bool // its context ends
	}{
		"Reset":      {func(h *harness, _ *item) { h.p.Reset(errGone) }, errGone, true},
		"Close":      {func(h *harness, _ *item) { h.close(time.Minute) }, resource.ErrClosed, true},
		"invalidate": {func(_ *harness, it *item) { it.invalidate(errGone) }, errGone, false},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				l := h.lend()
				it := l.Value()
				var ended atomic.Bool
				l.ReleaseAfter(func(ctx context.Context, _ *item) error {
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
						ended.Store(true)
					}
					return nil
				})
				h.settle()
				tc.do(h, it)
				h.settle()
				if ended.Load() != tc.soon {
					t.Errorf("its context has ended: %v", !tc.soon)
				}
				time.Sleep(time.Second)
				h.settle()
				h.wantDestroyed(it, tc.cause)
			})
		})
	}
	t.Run("invalidated before", func(t *testing.T) {
		script(t, 1, nil, func(h *harness) {
			l := h.lend()
			it := l.Value()
			it.invalidate(errGone)
			l.ReleaseAfter(func(context.Context, *item) error { t.Error("it was checked"); return nil })
			h.settle()
			h.wantDestroyed(it, errGone)
		})
	})
}

// A check that never returns is told as hanging, keeps its own place alone, and
// Close waits for it.
func TestReleaseAfter_Hangs(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		l.ReleaseAfter(func(context.Context, *item) error { <-h.over; return nil })
		time.Sleep(h.grace + 1)
		if s := h.p.Stats(); s.Hanging != 1 || s.Idle != 1 {
			t.Errorf("%v", s)
		}
		c := h.acquire()
		h.wantMake().finish()
		c.wantLease().Release()
	})
}

// Callers that give back at random what they got, some of it by ReleaseAfter, all
// get something, and nothing is lost or lent twice.
func TestReleaseAfter_Stress(t *testing.T) {
	type owned struct{ by atomic.Int64 }
	p, err := resource.New(resource.Config[*owned]{MaxSize: 4, Make: func(context.Context) (*owned, error) { return new(owned), nil }})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for g := range int64(8) {
		all.Go(func() {
			for i := range 300 {
				l, err := p.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if !l.Value().by.CompareAndSwap(0, g+1) {
					t.Error("lent twice")
				}
				l.Value().by.Store(0)
				switch (i + int(g)) % 4 {
				case 0, 1:
					l.Release()
				case 2:
					l.ReleaseAfter(func(_ context.Context, o *owned) error {
						if !o.by.CompareAndSwap(0, -1) {
							t.Error("checked while leased")
						}
						o.by.Store(0)
						if i%50 == 0 {
							return errSick
						}
						return nil
					})
				case 3:
					l.ReleaseUnused()
				}
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Made != s.Destroyed || s.Idle != 0 {
		t.Errorf("%v", s)
	}
}
