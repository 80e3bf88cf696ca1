package fleet_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// rateEngine is a RateLedger with faults.
type rateEngine struct {
	*fleet.Memory
	mu   sync.Mutex
	down bool
	ops  int
	bad  func() // called by Take first; nil: nothing
}

func (e *rateEngine) Take(ctx context.Context, d fleet.Draw) (fleet.Taken, error) {
	if e.bad != nil {
		e.bad()
	}
	pause(ctx, rtt)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ops++
	if e.down {
		return fleet.Taken{}, errDown
	}
	return e.Memory.Take(ctx, d)
}

func newDialRate(t *testing.T, cfg fleet.RateConfig) *fleet.DialRate {
	t.Helper()
	d, err := fleet.NewDialRate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Five processes with a hundred requests each begin as many creations as the rate allows.
func TestDialRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &rateEngine{Memory: fleet.NewMemory()}
		var admitted []time.Time
		var mu sync.Mutex
		var busy sync.WaitGroup
		began := time.Now()
		var rates []*fleet.DialRate
		for range 5 {
			d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 60, Per: time.Minute, Burst: 10})
			rates = append(rates, d)
			for range 100 {
				busy.Go(func() {
					if done, err := d.Admit(ctx, resource.Request{}); err != nil || done != nil {
						t.Errorf("done %v, error %v", done != nil, err)
					}
					mu.Lock()
					defer mu.Unlock()
					admitted = append(admitted, time.Now())
				})
			}
		}
		busy.Wait()
		took := time.Since(began)
		if took < 499*time.Second || took > 510*time.Second {
			t.Errorf("500 creations at 1 a second took %v", took)
		}
		for i := range admitted { // in any 10 s at most what accrues, and the burst
			n := 0
			for _, at := range admitted[i:] {
				if at.Sub(admitted[i]) < 10*time.Second {
					n++
				}
			}
			if n > 10+10+1 {
				t.Fatalf("%d creations within 10 s", n)
			}
		}
		for _, d := range rates {
			d.Close()
		}
		t.Logf("%d operations for 500 creations", e.ops)
	})
}

func TestDialRate_Burst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &rateEngine{Memory: fleet.NewMemory()}
		d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 10, Per: time.Second})
		defer d.Close()
		_, err := d.Admit(ctx, resource.Request{NoWait: true}) // nothing is at hand, and nothing was asked for
		caused(t, err, policy.ErrRate, resource.ErrRejected)
		admitWithin(t, d, time.Second, 1) // the bucket was empty at first
		time.Sleep(time.Minute)
		began := time.Now()
		admitWithin(t, d, time.Second, 10)
		if took := time.Since(began); took > 20*rtt {
			t.Errorf("a burst of 10 took %v", took)
		}
		began = time.Now()
		admitWithin(t, d, time.Second, 1)
		if took := time.Since(began); took < 50*time.Millisecond {
			t.Errorf("the next came after %v", took)
		}
	})
}

// A token whose request has left goes to the next one, and is kept for a second.
func TestDialRate_RequestLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &rateEngine{Memory: fleet.NewMemory()}
		d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 1, Per: time.Second})
		defer d.Close()
		admitWithin(t, d, 3*time.Second, 1) // the first fetch finds an empty bucket
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		if _, err := d.Admit(short, resource.Request{}); err != context.DeadlineExceeded {
			t.Errorf("the error is %v", err)
		}
		cancel()
		time.Sleep(700 * time.Millisecond)
		admitWithin(t, d, time.Second, 1)
	})
}

// A token that is kept is dropped after a second: it does not become part of a later burst.
func TestDialRate_KeptForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &rateEngine{Memory: fleet.NewMemory()}
		d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 1, Per: time.Second, Burst: 1})
		defer d.Close()
		none := func(after string) {
			t.Helper()
			_, err := d.Admit(ctx, resource.Request{NoWait: true})
			if caused(t, err, policy.ErrRate); err == nil {
				t.Errorf("admitted %s", after)
			}
		}
		none("without a token")
		for range 3 { // each refusal has fetched one token, and the second drops the first
			time.Sleep(3 * time.Second)
			none("after the token was dropped")
		}
		time.Sleep(999 * time.Millisecond)
		if _, err := d.Admit(ctx, resource.Request{NoWait: true}); err != nil {
			t.Errorf("the token that was kept: %v", err)
		}
		none("after the token was taken: those before were dropped")
	})
}

func TestDialRate_State(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &rateEngine{Memory: fleet.NewMemory()}
		d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 1, Per: time.Second})
		is := func(want string) {
			t.Helper()
			if got := d.State(); got != want {
				t.Errorf("the state is %q, want %q", got, want)
			}
		}
		is("dials: 1 per 1s, 0 taken, 0 waiting")
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		var busy sync.WaitGroup
		for range 3 {
			busy.Go(func() { d.Admit(short, resource.Request{}) })
		}
		time.Sleep(100 * time.Millisecond)
		is("dials: 1 per 1s, 0 taken, 3 waiting")
		eventually(t, 2*time.Second+2*rtt, "one is served", func() bool { return d.State() == "dials: 1 per 1s, 1 taken, 2 waiting" })
		busy.Wait()
		e.mu.Lock()
		e.down = true
		e.mu.Unlock()
		time.Sleep(time.Minute) // no token is kept
		_, err := d.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrLost)
		if text := d.State(); !strings.HasSuffix(text, " 0 waiting, no answer") {
			t.Errorf("the state is %q", text)
		}
		d.Close()
	})
}

func TestDialRate_Lost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &rateEngine{Memory: fleet.NewMemory(), down: true}
		d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 100, Per: time.Second})
		_, err := d.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrLost, errDown, resource.ErrRejected)
		var r *resource.Rejection
		if !errors.As(err, &r) || r.RetryAfter <= 0 || r.RetryAfter > 5*time.Second {
			t.Errorf("the refusal is %+v", r)
		}
		time.Sleep(time.Minute)
		e.mu.Lock()
		if e.ops > 30 {
			t.Errorf("%d operations in a minute without an answer", e.ops)
		}
		e.down = false
		e.mu.Unlock()
		time.Sleep(6 * time.Second)
		admitWithin(t, d, time.Second, 10)
		d.Close()
		_, err = d.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrClosed, resource.ErrRejected)
	})
}

// A ledger that panics, ends its goroutine or hangs fails one operation; the next one is answered.
func TestDialRate_BadLedger(t *testing.T) {
	for name, c := range map[string]struct {
		take func()
		text string
	}{
		"panics":             {func() { panic("test") }, "fleet: RateLedger.Take panicked: test"},
		"ends its goroutine": {runtime.Goexit, "fleet: RateLedger.Take ended its goroutine"},
		"ignores its context": {func() { time.Sleep(20 * time.Second) }, // in the bubble
			"fleet: RateLedger.Take has not returned after its context ended"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &rateEngine{Memory: fleet.NewMemory()}
				var once sync.Once
				e.bad = func() { once.Do(c.take) }
				d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 100, Per: time.Second})
				began := time.Now()
				_, err := d.Admit(ctx, resource.Request{})
				caused(t, err, fleet.ErrLost, resource.ErrRejected)
				if !strings.Contains(err.Error(), c.text) {
					t.Errorf("the error is %q, without %q", err, c.text)
				}
				if took := time.Since(began); took > 3*time.Second { // Timeout, and once more
					t.Errorf("it is refused after %v", took)
				}
				time.Sleep(30 * time.Second) // in the bubble
				admitWithin(t, d, time.Second, 10)
				d.Close()
			})
		})
	}
}

// Close waits for a Take that ignores its context as long as Timeout, and no longer.
func TestDialRate_CloseOfBadLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &rateEngine{Memory: fleet.NewMemory(), bad: func() { time.Sleep(time.Minute) }} // in the bubble
		d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 100, Per: time.Second, Timeout: 5 * time.Second})
		var busy sync.WaitGroup
		busy.Go(func() {
			_, err := d.Admit(ctx, resource.Request{})
			caused(t, err, fleet.ErrClosed)
		})
		time.Sleep(time.Second) // in the bubble
		began := time.Now()
		d.Close()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		busy.Wait()
		time.Sleep(time.Minute) // in virtual time: Take returns
	})
}

func TestDialRate_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialRate(t, fleet.RateConfig{Ledger: fleet.NewMemory(), Rate: "dials", Tokens: 1, Per: time.Hour})
		var busy sync.WaitGroup
		busy.Go(func() {
			_, err := d.Admit(ctx, resource.Request{})
			caused(t, err, fleet.ErrClosed)
		})
		time.Sleep(time.Minute)
		d.Close()
		busy.Wait()
	})
}

func TestNewDialRate_BadConfig(t *testing.T) {
	_, err := fleet.NewDialRate(fleet.RateConfig{Burst: -1, Chunk: -1, Timeout: -1})
	caused(t, err, fleet.ErrConfig)
	for _, field := range []string{"Ledger", "Rate", "Tokens", "Per", "Burst", "Chunk", "Timeout"} {
		if err == nil || !containsField(err, field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
}

// A Timeout that means no limit makes no pause of years after a failure.
func TestDialRate_TimeoutForever(t *testing.T) {
	for _, timeout := range []time.Duration{time.Hour, math.MaxInt64 / 2, math.MaxInt64 - 1, math.MaxInt64} {
		synctest.Test(t, func(t *testing.T) {
			e := &rateEngine{Memory: fleet.NewMemory(), down: true}
			d := newDialRate(t, fleet.RateConfig{Ledger: e, Rate: "dials", Tokens: 100, Per: time.Second, Timeout: timeout})
			defer d.Close()
			for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(time.Second) { // in the bubble
				_, err := d.Admit(ctx, resource.Request{})
				caused(t, err, fleet.ErrLost)
			}
			e.mu.Lock()
			ops := e.ops
			e.down = false
			e.mu.Unlock()
			if ops < 12 || ops > 40 {
				t.Errorf("with a Timeout of %v the ledger was asked %d times in an hour", timeout, ops)
			}
			time.Sleep(5 * time.Minute) // in the bubble
			admitWithin(t, d, time.Second, 10)
		})
	}
}
