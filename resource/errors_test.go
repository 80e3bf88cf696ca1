package resource_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// wantFixed checks that two errors of the same kind with different figures have
// one text, which begins with prefix and has no figure in it, and that %+v and
// slog have each of the figures of the first.
func wantFixed(t *testing.T, a, b error, prefix string, figures ...string) {
	t.Helper()
	if a.Error() != b.Error() || !strings.HasPrefix(a.Error(), prefix) || strings.ContainsAny(a.Error(), "0123456789") {
		t.Errorf("texts are\n%q and\n%q; want one that begins with %q and has no digit", a, b, prefix)
	}
	for _, format := range []string{"%v", "%s"} {
		if s := fmt.Sprintf(format, a); s != a.Error() {
			t.Errorf("%s is %q, want %q", format, s, a.Error())
		}
	}
	if s, want := fmt.Sprintf("%q", a), fmt.Sprintf("%q", a.Error()); s != want {
		t.Errorf("%%q is %s, want %s", s, want)
	}
	detail := fmt.Sprintf("%+v", a)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "err", a)
	if !strings.HasPrefix(detail, a.Error()) {
		t.Errorf("%%+v does not begin with the text: %s", detail)
	}
	for _, f := range figures {
		if !strings.Contains(detail, f) {
			t.Errorf("%%+v lacks %s: %s", f, detail)
		}
		if !strings.Contains(log.String(), f) {
			t.Errorf("the log lacks %s: %s", f, log.String())
		}
	}
	if s := fmt.Sprintf("%#v", a); !strings.HasPrefix(s, "&resource.") {
		t.Errorf("%%#v is %s", s)
	}
	if !strings.Contains(log.String(), "err.text=") {
		t.Errorf("the log has no group: %s", log.String())
	}
}

func TestErrors_TextsAreFixed(t *testing.T) {
	deadline, boom := context.DeadlineExceeded, errors.New("connection refused")
	wantFixed(t,
		&resource.AcquireError{Err: deadline, Waited: 1600 * time.Microsecond, RetryAfter: 3 * time.Second, Load: resource.Load{Max: 77, Leased: 66}, LastMake: boom},
		&resource.AcquireError{Err: deadline, Waited: time.Second, Load: resource.Load{Max: 8, Waiting: 5}, LastMake: boom},
		"resource: acquire: context deadline exceeded; last creation: connection refused", "1.6ms", "3s", "77", "66")
	wantFixed(t,
		&resource.AcquireError{Err: boom, Waited: 5 * time.Second, LastMake: boom}, &resource.AcquireError{Err: boom},
		"resource: acquire: connection refused", "5s")
	wantFixed(t,
		&resource.CloseError{Err: deadline, Load: resource.Load{Max: 77, Leased: 3}, Busy: 55, Leased: []uint64{44, 45}},
		&resource.CloseError{Err: deadline, Load: resource.Load{Max: 8}, Busy: 2},
		"resource: close: ", "77", "55", "44", "45")
	wantFixed(t,
		&resource.WarmError{Err: deadline, Have: 33, Want: 44, LastMake: boom}, &resource.WarmError{Err: deadline, Have: 1, Want: 4, LastMake: boom},
		"resource: warm: context deadline exceeded; last creation: connection refused", "33", "44")
	wantFixed(t,
		&resource.Rejection{Policy: "gate", RetryAfter: 7 * time.Second, Err: boom}, &resource.Rejection{Policy: "gate", RetryAfter: time.Second, Err: boom},
		"rejected by gate: connection refused", "7s")
}

// Of what is not known neither %+v nor the log says anything.
func TestErrors_AcquireErrorWithoutFacts(t *testing.T) {
	err := &resource.AcquireError{Err: context.Canceled, Reason: resource.ReasonCanceled}
	if s, want := fmt.Sprintf("%+v", err), fmt.Sprintf("%v (waited 0s; %v)", err, resource.Load{}); s != want {
		t.Errorf("%%+v is %q, want %q", s, want)
	}
	for _, a := range err.LogValue().Group() {
		if a.Key == "retry_after" || strings.HasPrefix(a.Key, "last") {
			t.Errorf("the log has %v", a)
		}
	}
}

// The same failure of a pool reads the same, whenever it comes and however the
// pool is then.
func TestErrors_OfPools(t *testing.T) {
	texts := map[string]bool{}
	for i := range 3 {
		script(t, 1+i, nil, func(h *harness) {
			h.lendN(1 + i)
			c := h.acquireFor(time.Duration(i+1) * time.Second)
			time.Sleep(5 * time.Second)
			c.h.settle()
			texts[c.wantErr(context.DeadlineExceeded).Error()] = true
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i+1)*time.Second)
			defer cancel()
			texts[h.p.Close(ctx).Error()] = true
		})
	}
	if len(texts) != 2 {
		t.Errorf("%d texts of two kinds of failure: %v", len(texts), texts)
	}
}

func TestErrors_Panic(t *testing.T) {
	err := &resource.PanicError{Where: "Make", Value: "bad", Stack: []byte("goroutine 1 [running]")}
	if s := fmt.Sprintf("%v", err); s != "resource: panic in Make: bad" {
		t.Errorf("%%v is %q", s)
	}
	if s := fmt.Sprintf("%+v", err); !strings.Contains(s, "goroutine 1") {
		t.Errorf("%%+v has no stack: %q", s)
	}
}

// A nil error of these types, a mistake of its own, does not panic when it is
// printed.
func TestErrors_NilPrinted(t *testing.T) {
	for _, err := range []error{
		(*resource.AcquireError)(nil), (*resource.CloseError)(nil), (*resource.WarmError)(nil),
		(*resource.Rejection)(nil), (*resource.PanicError)(nil),
	} {
		for _, format := range []string{"%v", "%+v", "%s"} {
			if s := fmt.Sprintf(format, err); s != "<nil>" {
				t.Errorf("%s of a nil %T is %q", format, err, s)
			}
		}
	}
}

// An AcquireError says how long the caller waited and how the pool was.
func TestAcquireError_Context(t *testing.T) {
	boom := errors.New("dial: refused")
	script(t, 2, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake().fail(boom)
		e := c.wantErr(boom)
		if e.Load.Waiting != 0 {
			t.Errorf("the caller counts itself as waiting: %v", e.Load)
		}
		if e.LastMake == nil || !errors.Is(e.LastMake, boom) {
			t.Errorf("LastMake is %v", e.LastMake)
		}
		if strings.Count(e.Error(), boom.Error()) != 1 {
			t.Errorf("%q does not say the cause once", e)
		}

		h.lend()
		c = h.acquireFor(3 * time.Second)
		h.wantMakeWithin(time.Second).fail(boom)
		h.wantMakeWithin(time.Second).hang()
		time.Sleep(3 * time.Second)
		e = c.wantErr(context.DeadlineExceeded)
		if e.Waited != 3*time.Second {
			t.Errorf("waited %v, want 3s", e.Waited)
		}
		if e.Load.Max != 2 || e.Load.Leased != 1 || e.Load.Making != 1 {
			t.Errorf("the load is %v", e.Load)
		}
		for _, part := range []string{"deadline exceeded", "waited 3s", "max 2", "1 leased", "1 making", "dial: refused"} {
			if !strings.Contains(fmt.Sprintf("%+v", e), part) {
				t.Errorf("%+v does not say %q", e, part)
			}
		}
	})
}

// Text and matching, without a pool.
func TestErrors_Text(t *testing.T) {
	cause := errors.New("cause")
	load := resource.Load{Max: 4, Idle: 1, Leased: 2, Making: 1, Waiting: 3}
	for _, test := range []struct {
		err  error
		text []string
		is   []error
	}{
		{
			&resource.AcquireError{Err: cause, Waited: time.Second, RetryAfter: 2 * time.Second, Load: load, LastMake: errSick},
			[]string{"cause", "last creation: no pulse"}, // the rest: see TestErrors_TextsAreFixed
			[]error{cause},
		},
		{&resource.Rejection{Policy: "rate", Err: cause}, []string{"rejected by rate: cause"}, []error{cause, resource.ErrRejected}},
		{&resource.Rejection{}, []string{"rejected"}, []error{resource.ErrRejected}},
		{&resource.PanicError{Where: "Evict", Value: cause}, []string{"panic in Evict: cause"}, []error{cause}},
		{&resource.PanicError{Where: "Evict", Value: 7}, []string{"panic in Evict: 7"}, nil},
		{&resource.CloseError{Err: cause, Load: load, Leased: []uint64{3, 9}}, []string{"cause"}, []error{cause}},
	} {
		for _, part := range test.text {
			if !strings.Contains(test.err.Error(), part) {
				t.Errorf("%q does not say %q", test.err, part)
			}
		}
		for _, target := range test.is {
			if !errors.Is(test.err, target) {
				t.Errorf("%q does not match %q", test.err, target)
			}
		}
		if errors.Is(test.err, resource.ErrClosed) {
			t.Errorf("%q matches ErrClosed", test.err)
		}
	}
}

// A rejected caller's error leads to the Rejection, or to one around what the
// Admission said.
func TestErrors_Rejection(t *testing.T) {
	boom := errors.New("boom")
	for _, refusal := range []error{boom, &resource.Rejection{Policy: "rate", RetryAfter: time.Second, Err: boom}} {
		script(t, 1, func(h *harness) { h.cfg.Admission = refusing(refusal) }, func(h *harness) {
			e := h.acquire().wantErr(boom)
			var r *resource.Rejection
			if !errors.As(e, &r) || !errors.Is(e, resource.ErrRejected) {
				t.Fatalf("%v has no Rejection", e)
			}
			if r.RetryAfter != e.RetryAfter {
				t.Errorf("RetryAfter is %v outside and %v inside", e.RetryAfter, r.RetryAfter)
			}
		})
	}
}

var errFailing = errors.New("no")

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
		text:    "resource: acquire: resource: no resource within MaxWait",
	},
	resource.ReasonAdmission: {
		config: func(c *resource.Config[int]) { c.Admission = refusing(errFailing) },
		is:     []error{resource.ErrRejected, errFailing}, not: []error{resource.ErrMakeRefused},
		text: "resource: acquire: rejected by Admission: no",
	},
	resource.ReasonQueue: {
		config: func(c *resource.Config[int]) { c.Queue = &listQueue{refuse: errFailing} },
		is:     []error{resource.ErrRejected, errFailing}, not: []error{resource.ErrMakeRefused},
		text: "resource: acquire: rejected by Queue: no",
	},
	resource.ReasonMakeGate: {
		config: func(c *resource.Config[int]) { c.MakeGate = refusing(errFailing) },
		is:     []error{resource.ErrRejected, resource.ErrMakeRefused, errFailing},
		text:   "resource: acquire: creation refused by MakeGate: rejected by MakeGate: no",
	},
	resource.ReasonQuota: {
		config: func(c *resource.Config[int]) { c.Quota = refusing(errFailing) },
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
		config:  func(c *resource.Config[int]) { c.Eviction = olderThan(time.Minute) },
		request: resource.Request{MinRemaining: time.Hour},
		is:      []error{errOld}, text: "resource: acquire: a new one would not last as long as asked: too old",
	},
	resource.ReasonClosed: {
		before: func(p *resource.Pool[int]) { _ = p.Close(context.Background()) },
		is:     []error{resource.ErrClosed}, text: "resource: acquire: resource: pool is closed",
	},
}

// Every acquire that fails is counted once, by its Reason, and reported to
// Trace.Failed. Its error has that Reason, matches what belongs to it and reads
// the same each time.
func TestFailures_EachReason(t *testing.T) {
	if s := (resource.ReasonClosed + 1).String(); s != "unknown" {
		t.Errorf("a Reason that does not exist is %q, want unknown", s)
	}
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
		Make:    makeOne,
		Trace: &resource.Trace{Failed: func(_ context.Context, e *resource.AcquireError) {
			if e.Reason == reason {
				reported.Add(1)
			}
		}},
	}
	if f.config != nil {
		f.config(&cfg)
	}
	p := newPool(t, cfg)
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
	_, err := p.AcquireWith(ctx, f.request)
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
	for name, admission := range map[string]resource.Admission{"plain": nil, "policy": refusing(errFailing)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, resource.Config[int]{MaxSize: 1, Admission: admission,
					Make: makeOne})
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
		k := newKeyed(t, resource.KeyedConfig[string, int]{MaxTotal: 1, Config: func(string) (resource.Config[int], error) {
			return resource.Config[int]{MaxSize: 1, Make: makeOne}, nil
		}})
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
		closeAll(t, k)
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

// MaxWait bounds the acquire and not the work, which has the caller's context.
func TestMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		p := newPool(t, resource.Config[int]{
			MaxSize: 1,
			Make:    makeOne,
			Health: checkOf[int](func(ctx context.Context, _ int, i resource.Info) error {
				checks++
				if i.Leases == 0 {
					return nil
				}
				<-ctx.Done() // hangs
				return ctx.Err()
			}),
		})
		defer closeBy(t, p)
		bounded := resource.Request{MaxWait: time.Second}
		err := p.DoWith(t.Context(), bounded, func(ctx context.Context, _ int) error {
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
