package policy_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// eachSecond is a bucket of two tokens, refilled with one per second.
func eachSecond() *bucket { return &bucket{size: 2, full: 2, every: time.Second} }

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.Rate(eachSecond())
		if done, err := p.Admit(t.Context(), resource.Request{}); done != nil || err != nil {
			t.Fatalf("a token to give back, or %v", err)
		}
		admit(t, p, resource.Request{})
		for range 100 { // refused requests use no tokens
			refused(t, p, resource.Request{}, "rate", policy.ErrRate, time.Second)
			refused(t, p, costing(2), "rate", policy.ErrRate, 2*time.Second)
		}
		time.Sleep(time.Second - 1)
		refused(t, p, resource.Request{}, "rate", policy.ErrRate, 1)
		time.Sleep(time.Nanosecond)
		admit(t, p, resource.Request{})
		refused(t, p, resource.Request{}, "rate", policy.ErrRate, time.Second)
		time.Sleep(time.Hour)
		admit(t, p, costing(2))
		refused(t, p, costing(3), "rate", policy.ErrCost, 0)
	})
}

// alone detects concurrent reservations of refused requests.
type alone struct {
	*bucket
	reserved, met atomic.Int64
}

type aloneReservation struct {
	*reservation
	l *alone
}

func (l *alone) ReserveN(t time.Time, n int) aloneReservation {
	if l.reserved.Add(1) > 1 {
		l.met.Add(1)
	}
	runtime.Gosched()
	return aloneReservation{l.bucket.ReserveN(t, n), l}
}

func (r aloneReservation) Cancel() {
	r.reservation.Cancel()
	r.l.reserved.Add(-1)
}

// Of two concurrent reservations, the first to be cancelled would not return the tokens
// that the other one was made after. So refused requests do not reserve concurrently.
func TestRateRefusalsDoNotMeet(t *testing.T) {
	l := &alone{bucket: &bucket{size: 1, every: time.Hour}}
	p := policy.Rate(l)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if _, err := p.Admit(t.Context(), resource.Request{}); !errors.Is(err, policy.ErrRate) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if l.met.Load() != 0 || l.full != 0 {
		t.Errorf("%d reservations met another; %d tokens are left of none", l.met.Load(), l.full)
	}
}

// A limiter with rate zero does not result in a RetryAfter of centuries.
func TestRateOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.Rate(&bucket{size: 1})
		refused(t, p, resource.Request{}, "rate", policy.ErrRate, 0)
		p = policy.Pace(&bucket{size: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		refusedCtx(t, ctx, p, resource.Request{}, "pace", policy.ErrTooLate, 0)
	})
}

// belated has a token right after AllowN returned false.
type belated struct{ *bucket }

func (belated) AllowN(time.Time, int) bool { return false }

func TestRateTokenThatCameJustNow(t *testing.T) {
	b := eachSecond()
	p := policy.Rate(belated{b})
	admit(t, p, costing(2))
	if b.full != 0 {
		t.Errorf("%d tokens are left of 2", b.full)
	}
	_, err := p.Admit(t.Context(), resource.Request{})
	if !errors.Is(err, policy.ErrRate) || b.full != 0 {
		t.Errorf("without a token: %v; %d are left", err, b.full)
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.Pace(eachSecond())
		begun := time.Now()
		var passed [4]atomic.Int64
		for i := range passed {
			go func() {
				admit(t, p, resource.Request{})
				passed[i].Store(int64(time.Since(begun)))
			}()
			synctest.Wait()
		}
		refused(t, p, resource.Request{NoWait: true}, "pace", policy.ErrRate, 3*time.Second)

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second-1)
		defer cancel()
		refusedCtx(t, ctx, p, resource.Request{}, "pace", policy.ErrTooLate, 3*time.Second)
		if time.Since(begun) != 0 {
			t.Errorf("refused after %v, want at once", time.Since(begun))
		}
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := p.Admit(ctx, resource.Request{}); err != nil && err != context.DeadlineExceeded {
			t.Errorf("whose turn comes just in time: %v", err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("whose turn comes after 3s waited %v", took)
		}
		for i, want := range []time.Duration{0, 0, time.Second, 2 * time.Second} {
			if after := time.Duration(passed[i].Load()); after != want {
				t.Errorf("caller %d passed after %v, want %v", i, after, want)
			}
		}
	})
}

// A waiting request that leaves returns its token to those behind it.
func TestPaceLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.Pace(eachSecond())
		admit(t, p, costing(2))
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := p.Admit(ctx, costing(2))
			left <- err
		}()
		synctest.Wait()
		refused(t, p, resource.Request{NoWait: true}, "pace", policy.ErrRate, 3*time.Second)
		cancel()
		if err := <-left; err != context.Canceled {
			t.Errorf("left with %v, want its context's end", err)
		}
		refused(t, p, resource.Request{NoWait: true}, "pace", policy.ErrRate, time.Second)
		begun := time.Now()
		admit(t, p, resource.Request{})
		if took := time.Since(begun); took != time.Second {
			t.Errorf("the next one waited %v, want 1s", took)
		}
	})
}

// Requests behind one that leaves move up, and the RetryAfter of a new request includes the
// wait of all of them, although only the first has reserved.
func TestPaceLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 10 * time.Millisecond
		l := &bucket{size: 3, every: each, last: time.Now()}
		p := policy.Pace(l)
		began := time.Now()
		at := make(map[string]time.Duration)
		var mu sync.Mutex
		come := func(name string, ctx context.Context, cost int) {
			go func() {
				_, err := p.Admit(ctx, costing(cost))
				mu.Lock()
				defer mu.Unlock()
				if at[name] = time.Since(began); err != nil {
					at[name] = -at[name]
				}
			}()
			synctest.Wait()
		}
		leaving, leave := context.WithCancel(t.Context())
		first, leaveFirst := context.WithCancel(t.Context())
		come("first", first, 1)
		come("second", t.Context(), 2)
		come("leaves", leaving, 3)
		come("third", t.Context(), 1)
		soon, cancel := context.WithTimeout(t.Context(), 8*each-1)
		defer cancel()
		refusedCtx(t, soon, p, resource.Request{}, "pace", policy.ErrTooLate, 8*each)
		refused(t, p, resource.Request{NoWait: true}, "pace", policy.ErrRate, 8*each)
		leave()
		time.Sleep(each / 2)
		leaveFirst() // its tokens go to the second
		synctest.Wait()
		refused(t, p, resource.Request{NoWait: true}, "pace", policy.ErrRate, 4*each-each/2)
		come("too much by then", t.Context(), 3)
		come("last", t.Context(), 1)
		time.Sleep(2 * each)
		l.mu.Lock()
		l.size = 2
		l.mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		want := map[string]time.Duration{
			"first": -each / 2, "leaves": 0, "second": 2 * each, "third": 3 * each, "too much by then": -3 * each, "last": 4 * each,
		}
		for name := range want {
			if at[name] != want[name] {
				t.Errorf("%s was answered after %v, want %v (below zero: with an error)", name, at[name], want[name])
			}
		}
	})
}

// slow is a limiter whose clock is behind: when the time of a reservation has come it still has a delay.
type slow struct{ canceled *atomic.Int64 }

func (slow) AllowN(time.Time, int) bool { return false }

func (l slow) ReserveN(time.Time, int) slow { return l }

func (slow) OK() bool { return true }

func (slow) Delay() time.Duration { return time.Second }

func (l slow) Cancel() { l.canceled.Add(1) }

// A request that has waited for its tokens keeps their reservation, whatever the limiter's clock says by then;
// one that is given up does not.
func TestPaceKeepsWhatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var canceled atomic.Int64
		p := policy.Pace(slow{&canceled})
		begun := time.Now()
		admit(t, p, resource.Request{})
		if n := canceled.Load(); n != 0 || time.Since(begun) != time.Second {
			t.Errorf("after %v, and %d reservations were canceled", time.Since(begun), n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := p.Admit(ctx, resource.Request{}); !errors.Is(err, context.Canceled) || canceled.Load() != 1 {
			t.Errorf("given up: %v, and %d reservations were canceled, want 1", err, canceled.Load())
		}
	})
}

// early is a limiter that has the tokens of a reservation before their time.
type early struct {
	slow
	had *atomic.Bool
}

func (l early) ReserveN(time.Time, int) early { return l }

func (l early) Delay() time.Duration {
	if l.had.Load() {
		return 0
	}
	return time.Second
}

// A request whose tokens are there when its context ends is admitted: they are its own.
func TestPaceContextEndsWithTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var had atomic.Bool
		var canceled atomic.Int64
		p := policy.Pace(early{slow{&canceled}, &had})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, func() {
			had.Store(true)
			cancel()
		})
		if _, err := p.Admit(ctx, resource.Request{}); err != nil || canceled.Load() != 0 {
			t.Errorf("%v; %d reservations were canceled", err, canceled.Load())
		}
	})
}
