package outage_test

import (
	"testing"
	"time"

	"github.com/respool/respool/internal/outage"
)

// FuzzBreaker runs a script on a Breaker, and then ends its outage. A step is
// five bytes: an operation, how time passes, when a failed make began, how many
// others run, and the spread.
func FuzzBreaker(f *testing.F) {
	const failed, failedEarly, made, proved = 0, 1, 2, 3
	f.Add(byte(9), []byte{failed, 1, 0, 9, 0, failed, 1, 0, 8, 0, failed, 1, 0, 7, 255, failed, 0, 9, 6, 0, made, 255, 0, 0, 0, made, 1, 0, 0, 0, failed, 9, 1, 0, 0})
	f.Add(byte(0), []byte{failedEarly, 1, 0, 0, 0, made, 1, 0, 0, 0, failedEarly, 1, 0, 0, 0, made, 1, 0, 0, 0, failedEarly, 1, 0, 0, 255, made, 90, 0, 0, 0, proved, 0, 0, 0, 0})
	f.Add(byte(255), []byte{failed, 0, 0, 0, 0, failed, 0, 0, 0, 0, failed, 0, 0, 0, 0, failed, 200, 0, 0, 255, failed, 255, 0, 0, 255, failed, 255, 0, 0, 255})
	f.Fuzz(func(t *testing.T, most byte, script []byte) {
		size := int(most) + 1
		var b outage.Breaker
		var now time.Duration
		for ; len(script) >= 5; script = script[5:] {
			now += 7 * time.Duration(script[1]) * time.Duration(script[1]) * ms / 10 // to 45 s
			started := max(0, now-time.Duration(script[2])*time.Duration(script[2])*ms)
			running, spread := int(script[3])%size, float64(script[4])/256
			if script[4] == 255 {
				spread = almost
			}
			open, retry := b.Open(), b.RetryAfter(now)
			switch script[0] % 4 {
			case failed:
				failure(t, &b, b.Failed, now, started, running, spread)
			case failedEarly:
				failure(t, &b, b.FailedEarly, now, started, running, spread)
			case made:
				if ended := b.Made(1<<60, size); ended != open || b.Open() {
					t.Fatalf("made: ended %v, was open %v, is open %v", ended, open, b.Open())
				}
			case proved:
				if b.Proved(); b.Open() != open || b.RetryAfter(now) != retry {
					t.Fatal("Proved changed an outage")
				}
			}
			always(t, &b, now, size)
		}
		// The server is well again. Those that ran out of the makes are used.
		for range size {
			b.Made(1<<60, size)
			b.Proved()
			always(t, &b, now, size)
		}
		b.Made(1<<60, size)
		b.Proved()
		if size >= 16 {
			well(t, &b, now)
		} else {
			state(t, &b, now, size, false, size, 0)
		}
	})
}

// failure tells of a failed make, and holds what follows to what is always true.
func failure(t *testing.T, b *outage.Breaker, fail func(now, started time.Duration, running int, spread float64) bool,
	now, started time.Duration, running int, spread float64,
) {
	t.Helper()
	open, retry := b.Open(), b.RetryAfter(now)
	began := fail(now, started, running, spread)
	after := b.RetryAfter(now)
	switch {
	case began != (!open && b.Open()) || open && !b.Open():
		t.Fatalf("began %v, was open %v, is open %v", began, open, b.Open())
	case began && (after < first || after > longest):
		t.Fatalf("a first delay of %v", after)
	case open && retry > 0 && after != retry:
		t.Fatalf("a stale failure made %v of %v", after, retry)
	case open && after != retry && after < first:
		t.Fatalf("a delay of %v", after)
	}
}

// always checks what holds in every state.
func always(t *testing.T, b *outage.Breaker, now time.Duration, size int) {
	t.Helper()
	retry := b.RetryAfter(now)
	if retry < 0 || retry > longest || !b.Open() && retry != 0 {
		t.Fatalf("open %v, retry after %v", b.Open(), retry)
	}
	for _, d := range []time.Duration{0, retry - 1, retry, time.Hour} {
		if d < 0 {
			continue
		}
		allowed := b.Allowed(now+d, size)
		waits := b.Open() && d < retry
		if allowed < 0 || allowed > size || b.Open() && allowed > 1 || (allowed == 0) != waits {
			t.Fatalf("open %v, %v of %v later: %d of %d allowed", b.Open(), d, retry, allowed, size)
		}
	}
}
