package outage_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/outage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ms        = time.Millisecond
	threshold = 3
)

// delays are the most that is waited before each of the first probes; earlyDelays those
// where resources die early.
var (
	delays      = []time.Duration{50 * ms, 100 * ms, 200 * ms, 200 * ms}
	earlyDelays = []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 450 * ms, 450 * ms}
)

// first is the first delay of an outage if there is no spread.
const first = 50 * ms * 3 / 4

// longest is what no delay reaches.
const longest = 5 * time.Second

// almost is the largest spread there is.
var almost = math.Nextafter(1, 0)

// fail is one of the two ways to fail.
type fail = func(b *outage.Breaker, now, started time.Duration, running int, spread float64) bool

var fails = map[string]fail{
	"Failed":      (*outage.Breaker).Failed,
	"FailedEarly": (*outage.Breaker).FailedEarly,
}

// broken returns a Breaker in an outage that began now, its first delay first.
func broken(t *testing.T, now time.Duration) *outage.Breaker {
	t.Helper()
	b := new(outage.Breaker)
	for n := 1; n <= threshold; n++ {
		if began := b.Failed(now, now, 0, 0); began != (n == threshold) || b.Open() != began {
			t.Fatalf("failure %d: began %v, open %v", n, began, b.Open())
		}
	}
	return b
}

// state checks what b allows now of at most size, and after how long its prober may try.
func state(t *testing.T, b *outage.Breaker, now time.Duration, size int, open bool, allowed int, retry time.Duration) {
	t.Helper()
	if o, a, r := b.Open(), b.Allowed(now, size), b.RetryAfter(now); o != open || a != allowed || r != retry {
		t.Errorf("at %v: open %v, %d allowed, retry after %v; want %v, %d, %v", now, o, a, r, open, allowed, retry)
	}
}

// well checks that nothing of an outage is left: two failures do not make one,
// and the third has the delay of the first.
func well(t *testing.T, b *outage.Breaker, now time.Duration) {
	t.Helper()
	state(t, b, now, 16, false, 16, 0)
	if b.Failed(now, now, 15, 0) || b.Failed(now, now, 14, 0) || !b.Failed(now, now, 13, 0) {
		t.Error("it is not the third failure that begins an outage")
	}
	state(t, b, now, 16, true, 0, delays[0]*3/4)
}

func TestThreshold(t *testing.T) {
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			b := new(outage.Breaker)
			state(t, b, 0, 16, false, 16, 0)
			for _, c := range []struct {
				running, allowed int
				began            bool
			}{{15, 8, false}, {14, 7, false}, {13, 0, true}} {
				if began := fail(b, 5, 5, c.running, 0); began != c.began {
					t.Errorf("%d others run: began %v", c.running, began)
				}
				if a := b.Allowed(5, 16); a != c.allowed {
					t.Errorf("%d others run: %d allowed, want %d", c.running, a, c.allowed)
				}
			}
			state(t, b, 5, 16, true, 0, first)
		})
	}
}

// A server that goes takes with it all that were made and not used yet. They count
// once, however many there are and however long after each other they die; a make
// that began after the first of these deaths counts again.
func TestFailedEarly_DieTogether(t *testing.T) {
	b := new(outage.Breaker)
	for i := range time.Duration(50) {
		if b.FailedEarly(ms+i, i%2, 0, 0) {
			t.Fatalf("an outage at death %d", i)
		}
	}
	if b.FailedEarly(100*ms, 50*ms, 0, 0) || !b.FailedEarly(200*ms, 150*ms, 0, 0) {
		t.Error("it is not the third of those that were begun after a death that begins an outage")
	}
}

func TestSuccessBetweenFailures(t *testing.T) {
	b := new(outage.Breaker)
	for range 10 {
		if b.Failed(0, 0, 9, 0) || b.Failed(0, 0, 8, 0) {
			t.Fatal("not three in a row")
		}
		if b.Made(1<<60, 16) {
			t.Fatal("there was no outage to end")
		}
		state(t, b, 0, 16, false, 16, 0)
	}
	well(t, b, 0)
}

func TestHalving(t *testing.T) {
	for _, c := range []struct{ running, size, allowed int }{
		{0, 16, 1}, {1, 16, 1}, {2, 16, 1}, {3, 16, 2}, {9, 16, 5}, {15, 16, 8},
		{15, 4, 4}, {0, 1, 1}, {1 << 20, 1 << 20, 1 << 19},
	} {
		var b outage.Breaker
		b.Failed(0, 0, c.running, 0)
		if got := b.Allowed(0, c.size); got != c.allowed {
			t.Errorf("%d others run: %d of %d allowed, want %d", c.running, got, c.size, c.allowed)
		}
	}
}

// The first probes that fail double the delay, up to 200 ms; then it is an eighth
// of the time that the outage has lasted, up to 5 s. The jitter takes up to a
// quarter of it.
func TestDelays(t *testing.T) {
	for _, c := range []struct {
		spread float64
		delay  func(whole time.Duration) time.Duration
	}{
		{0, func(d time.Duration) time.Duration { return d - d/4 }},
		{0.5, func(d time.Duration) time.Duration { return d - d/4 + d/4/2 }},
		{almost, func(d time.Duration) time.Duration { return d - d/4 + time.Duration(almost*float64(d/4)) }},
	} {
		t.Run(fmt.Sprint(c.spread), func(t *testing.T) {
			var b outage.Breaker
			b.Failed(0, 0, 0, c.spread)
			b.Failed(0, 0, 0, c.spread)
			now := time.Duration(0)
			for n := range 100 { // far beyond what can be doubled
				whole := min(max(delays[min(n, len(delays)-1)], now/8), longest)
				if began := b.Failed(now, now, 0, c.spread); began != (n == 0) {
					t.Errorf("delay %d: began %v", n, began)
				}
				delay := c.delay(whole)
				state(t, &b, now, 16, true, 0, delay)
				state(t, &b, now+delay-1, 16, true, 0, 1)
				state(t, &b, now+delay, 16, true, 1, 0)
				state(t, &b, now+delay+time.Hour, 16, true, 1, 0)
				now += delay // the prober begins as early as it may
			}
		})
	}
}

// A make that was begun before the prober might try says nothing by failing.
func TestStaleFailures(t *testing.T) {
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			b := broken(t, 0)
			for _, now := range []time.Duration{0, 75 * ms, time.Hour} {
				for _, started := range []time.Duration{0, min(now, first-1)} {
					if fail(b, now, started, 3, 0) {
						t.Error("an outage began in an outage")
					}
				}
				if now > 0 {
					state(t, b, now, 16, true, 1, 0)
				} else {
					state(t, b, now, 16, true, 0, first)
				}
			}
			fail(b, 80*ms, first, 0, 0) // the prober's
			state(t, b, 80*ms, 16, true, 0, 2*first)
		})
	}
}

// A success lets two run, and so on: in rounds 1, 2, 4, … until all may.
func TestRamp(t *testing.T) {
	for size, want := range map[int][]int{
		1:   {1, 1},
		2:   {1, 2},
		3:   {1, 2, 3},
		16:  {1, 2, 4, 8, 16},
		100: {1, 2, 4, 8, 16, 32, 64, 100},
	} {
		b, now := broken(t, 0), first
		var rounds []int
		for range want {
			n := b.Allowed(now, size)
			rounds = append(rounds, n)
			now += 100 * ms
			for i := range n {
				if ended := b.Made(1<<60, size); ended != (len(rounds) == 1 && i == 0) {
					t.Errorf("size %d, round %d: ended %v", size, len(rounds), ended)
				}
				if r := b.RetryAfter(now); b.Open() || r != 0 {
					t.Errorf("size %d: still open, retry after %v", size, r)
				}
			}
		}
		if !slices.Equal(rounds, want) {
			t.Errorf("size %d: rounds of %v, want %v", size, rounds, want)
		}
		b.Proved()
		well(t, b, now)
	}
}

func TestFailureWhileRamping(t *testing.T) {
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			b, now := broken(t, 0), first
			for range 3 {
				b.Made(1<<60, 16)
			}
			state(t, b, now, 16, false, 4, 0)
			if !fail(b, now+1, now, 3, 0) {
				t.Error("no outage began")
			}
			now++
			state(t, b, now, 16, true, 0, 2*first) // the second delay, not the first
			fail(b, now+2*first, now+2*first, 0, 0)
			now += 2 * first
			state(t, b, now, 16, true, 0, 4*first)
			if fail(b, now+1, now, 2, 0) || fail(b, now+1, now, 1, almost) {
				t.Error("the others of that round count as well")
			}
			state(t, b, now, 16, true, 0, 4*first)
			if !b.Made(1<<60, 16) { // one of them, late: a success is a success
				t.Error("no outage ended")
			}
			state(t, b, now, 16, false, 2, 0)
		})
	}
}

// A dead factory: ten begin at once, each make fails after 100 ms.
func TestDeadFactory(t *testing.T) {
	const size, takes = 10, 100 * ms
	var b outage.Breaker
	var running []time.Duration // when each began
	begun, most := 0, 0
	for now := time.Duration(0); now < time.Second; now += ms {
		for len(running) > 0 && now-running[0] >= takes {
			started := running[0]
			running = running[1:]
			b.Failed(now, started, len(running), 0)
		}
		for len(running) < b.Allowed(now, size) {
			running = append(running, now)
			begun++
		}
		if now >= takes {
			most = max(most, len(running))
		}
	}
	if begun != 14 || most != 1 { // ten, then at 137.5, 312.5, 562.5 and 812.5 ms
		t.Errorf("%d makes in the first second, want 14; %d at once in the outage, want 1", begun, most)
	}
}

// An overdue make lets fewer begin until one has succeeded, and is no failure.
func TestOverdue(t *testing.T) {
	var b outage.Breaker
	for range 10 {
		b.Overdue(7)
		state(t, &b, 0, 16, false, 4, 0)
	}
	b.Overdue(0)
	state(t, &b, 0, 16, false, 1, 0)
	b.Overdue(7) // does not raise it
	state(t, &b, 0, 16, false, 1, 0)
	b.Made(1<<60, 16)
	well(t, &b, 0)
	state(t, &b, 0, 16, true, 0, first)
	b.Overdue(7)
	state(t, &b, first, 16, true, 1, 0)
}

// A server that is down for three seconds is found to be back within 0.4 seconds, and with
// at most twenty probes.
func TestRecovery(t *testing.T) {
	for _, spread := range []float64{0, 0.5, almost} {
		b, probes := broken(t, 0), 0
		now := b.RetryAfter(0)
		for ; now < 3*time.Second; now += b.RetryAfter(now) {
			b.Failed(now, now, 0, spread)
			probes++
		}
		if now > 3400*ms || probes > 20 {
			t.Errorf("spread %v: found at %v, after %d probes", spread, now, probes)
		}
	}
}

// A server that is down for ten seconds, and refuses at once, gets at most 40 creations, one
// at a time.
func TestProbesInTenSeconds(t *testing.T) {
	for _, spread := range []float64{0, 0.5, almost} {
		b, begun := broken(t, 0), threshold
		for now := b.RetryAfter(0); now < 10*time.Second; now += b.RetryAfter(now) {
			if n := b.Allowed(now, 100); n != 1 {
				t.Fatalf("at %v: %d creations are allowed at once", now, n)
			}
			begun++
			b.Failed(now, now, 0, spread)
		}
		if begun > 40 {
			t.Errorf("spread %v: %d creations, want at most 40", spread, begun)
		}
	}
}
