package resource_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

var errFailing = errors.New("no")

// refuser is an Admission and a Queue that refuses all.
type refuser struct{ refuseOnce }

func (refuser) Admit(context.Context, resource.Request) (resource.Done, error) {
	return nil, errFailing
}

func (q *refuser) Pop(time.Duration) (*resource.Waiter, error) {
	if len(q.ws) == 0 {
		return nil, nil
	}
	w := q.ws[0]
	q.ws = q.ws[1:]
	return w, errFailing
}

// failingAcquire is a pool of one whose acquires fail for one Reason.
type failingAcquire struct {
	config  func(c *resource.Config[int])
	before  func(p *resource.Pool[int])
	request resource.Request
	ended   bool // the caller's context
	is, not []error
	text    string
}

var failings = map[resource.Reason]failingAcquire{
	resource.ReasonCanceled: {
		ended: true, is: []error{context.Canceled}, text: "resource: acquire: context canceled",
	},
	resource.ReasonMaxWait: {
		before:  func(p *resource.Pool[int]) { _, _ = p.Acquire(context.Background()) },
		request: resource.Request{MaxWait: time.Second},
		is:      []error{resource.ErrMaxWait, context.DeadlineExceeded},
		text:    "resource: acquire: context deadline exceeded: resource: no resource within MaxWait",
	},
	resource.ReasonAdmission: {
		config: func(c *resource.Config[int]) { c.Admission = &refuser{} },
		is:     []error{resource.ErrRejected, errFailing}, not: []error{resource.ErrMakeRefused},
		text: "resource: acquire: rejected by Admission: no",
	},
	resource.ReasonQueue: {
		config: func(c *resource.Config[int]) { c.Queue = &refuser{} },
		is:     []error{resource.ErrRejected, errFailing}, not: []error{resource.ErrMakeRefused},
		text: "resource: acquire: rejected by Queue: no",
	},
	resource.ReasonMakeGate: {
		config: func(c *resource.Config[int]) { c.MakeGate = &refuser{} },
		is:     []error{resource.ErrRejected, resource.ErrMakeRefused, errFailing},
		text:   "resource: acquire: creation refused by MakeGate: rejected by MakeGate: no",
	},
	resource.ReasonQuota: {
		config: func(c *resource.Config[int]) { c.Quota = &refuser{} },
		is:     []error{resource.ErrRejected, resource.ErrMakeRefused, errFailing},
		text:   "resource: acquire: creation refused by Quota: rejected by Quota: no",
	},
	resource.ReasonOutage: {
		config: func(c *resource.Config[int]) {
			c.Make = func(context.Context) (int, error) { return 0, errFailing }
		},
		before: func(p *resource.Pool[int]) {
			for !p.Stats().Outage {
				_, _ = p.Acquire(context.Background())
			}
		},
		is:   []error{resource.ErrOutage, errFailing},
		text: "resource: acquire: resource: creation is failing: no",
	},
	resource.ReasonMakeFailed: {
		config: func(c *resource.Config[int]) {
			c.Make = func(context.Context) (int, error) { return 0, errFailing }
		},
		is: []error{errFailing}, not: []error{resource.ErrRejected, resource.ErrOutage}, text: "resource: acquire: no",
	},
	resource.ReasonNoneIdle: {
		request: resource.Request{NoWait: true},
		is:      []error{resource.ErrNoneIdle}, text: "resource: acquire: resource: none idle",
	},
	resource.ReasonNearEnd: {
		config:  func(c *resource.Config[int]) { c.Eviction = evictAfter(time.Minute) },
		request: resource.Request{MinRemaining: time.Hour},
		is:      []error{errFailing}, text: "resource: acquire: a new one would not last as long as asked: no",
	},
	resource.ReasonClosed: {
		before: func(p *resource.Pool[int]) { _ = p.Close(context.Background()) },
		is:     []error{resource.ErrClosed}, text: "resource: acquire: resource: pool is closed",
	},
}

type evictAfter time.Duration

func (d evictAfter) Evict(i resource.Info) error {
	if i.Age > time.Duration(d) {
		return errFailing
	}
	return nil
}

// Every acquire that fails is counted once, by its Reason, and reported to
// Trace.Failed. Its error has that Reason, matches what belongs to it and reads
// the same each time.
func TestFailures_EachReason(t *testing.T) {
	for reason := resource.ReasonCanceled; reason <= resource.ReasonClosed; reason++ {
		t.Run(reason.String(), func(t *testing.T) {
			f, known := failings[reason]
			if !known {
				t.Fatal("no such case")
			}
			synctest.Test(t, func(t *testing.T) { f.run(t, reason) })
		})
	}
}

func (f failingAcquire) run(t *testing.T, reason resource.Reason) {
	var reported atomic.Int64
	cfg := resource.Config[int]{
		MaxSize: 1,
		Make:    func(context.Context) (int, error) { return 1, nil },
		Trace: &resource.Trace{Failed: func(_ context.Context, e *resource.AcquireError) {
			if e.Reason == reason {
				reported.Add(1)
			}
		}},
	}
	if f.config != nil {
		f.config(&cfg)
	}
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closeBy(t, p)
	if f.before != nil {
		f.before(p)
	}
	before := p.Stats().Failures
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if f.ended {
		cancel()
	}
	_, err = p.AcquireWith(ctx, f.request)
	var failed *resource.AcquireError
	if !errors.As(err, &failed) || failed.Reason != reason {
		t.Fatalf("acquire: %+v", err)
	}
	if err.Error() != f.text {
		t.Errorf("it reads %q, want %q", err, f.text)
	}
	for _, target := range f.is {
		if !errors.Is(err, target) {
			t.Errorf("%v does not match %v", err, target)
		}
	}
	for _, target := range f.not {
		if errors.Is(err, target) {
			t.Errorf("%v matches %v", err, target)
		}
	}
	synctest.Wait()
	after := p.Stats()
	for r, n := range after.Failures.All() {
		want := before.Of(r)
		if r == reason {
			want++
		}
		if n != want {
			t.Errorf("%d are counted as %v, want %d", n, r, want)
		}
	}
	if reported.Load() != after.Failures.Of(reason) {
		t.Errorf("%d were reported, %d counted", reported.Load(), after.Failures.Of(reason))
	}
	if after.Canceled != after.Failures.Canceled || after.Rejected != after.Failures.Rejected() {
		t.Errorf("the sums do not agree: %v", after)
	}
}

// A TryAcquire that returns false is counted, with and without policies.
func TestFailures_TryAcquire(t *testing.T) {
	for name, admission := range map[string]resource.Admission{"plain": nil, "policy": &refuser{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := resource.New(resource.Config[int]{MaxSize: 1, Admission: admission,
					Make: func(context.Context) (int, error) { return 1, nil }})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close(context.Background())
				if _, ok := p.TryAcquire(); ok {
					t.Fatal("lent of an empty pool")
				}
				want := resource.AcquireFailures{NoneIdle: 1}
				if admission != nil {
					want = resource.AcquireFailures{Admission: 1}
				}
				if got := p.Stats().Failures; got != want {
					t.Errorf("counted %+v, want %+v", got, want)
				}
			})
		})
	}
}

// A Keyed counts what fails once, also if it tried a pool that had gone.
func TestFailures_Keyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{MaxTotal: 1, Config: func(string) (resource.Config[int], error) {
			return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 1, nil }}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := k.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.AcquireWith(t.Context(), "a", resource.Request{NoWait: true}); !errors.Is(err, resource.ErrNoneIdle) {
			t.Errorf("while the only one is out: %v", err)
		}
		l.Release()
		p, err := k.Pool("a")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil { // the key is drained
			t.Fatal(err)
		}
		if l, err = k.Acquire(t.Context(), "a"); err != nil {
			t.Errorf("from a key that was drained: %v", err)
		}
		l.Release()
		if err := k.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := k.Acquire(t.Context(), "a"); !errors.Is(err, resource.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if got, want := k.Stats().Failures, (resource.AcquireFailures{NoneIdle: 1, Closed: 2}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

// closeBy closes p, which may have a lease out.
func closeBy(t *testing.T, p *resource.Pool[int]) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
	defer cancel()
	_ = p.Close(ctx)
}

type boundedCheck func(context.Context, int, resource.Info) error

func (f boundedCheck) Check(ctx context.Context, v int, i resource.Info) error { return f(ctx, v, i) }

// MaxWait bounds the acquire and not the work, which has the caller's context.
func TestMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		p, err := resource.New(resource.Config[int]{
			MaxSize: 1,
			Make:    func(context.Context) (int, error) { return 1, nil },
			Health: boundedCheck(func(ctx context.Context, _ int, i resource.Info) error {
				checks++
				if i.Leases == 0 {
					return nil
				}
				<-ctx.Done() // hangs
				return ctx.Err()
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer closeBy(t, p)
		bounded := resource.Request{MaxWait: time.Second}
		err = p.DoWith(t.Context(), bounded, func(ctx context.Context, _ int) error {
			time.Sleep(time.Minute)
			if _, has := ctx.Deadline(); has || ctx.Err() != nil {
				t.Error("the context of the work is bounded")
			}
			began := time.Now()
			if err := p.DoWith(t.Context(), bounded, nil); !errors.Is(err, resource.ErrMaxWait) || time.Since(began) != time.Second {
				t.Errorf("while the only one is out: %v after %v", err, time.Since(began))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		began := time.Now()
		if _, err := p.AcquireWith(t.Context(), bounded); !errors.Is(err, resource.ErrMaxWait) || time.Since(began) != time.Second {
			t.Errorf("behind a check that hangs: %v after %v", err, time.Since(began))
		}
		if checks != 2 {
			t.Errorf("%d checks", checks)
		}
	})
}
