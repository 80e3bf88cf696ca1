package ledgertest

import (
	"context"
	"runtime"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// rates checks the buckets of a ledger that has them.
func (k *kit) rates() {
	var buckets []fleet.RateLedger
	for _, l := range k.client {
		if r, ok := l.(fleet.RateLedger); ok {
			buckets = append(buckets, r)
		}
	}
	if len(buckets) == 0 {
		return
	}
	n := 0
	take := func(d fleet.Draw) (t fleet.Taken) {
		k.Helper()
		r := buckets[n%len(buckets)]
		n++
		d.Rate = k.quota(d.Rate)
		var err error
		answers := make(chan fleet.Taken, 1)
		if !k.within(patience, "Take", func() {
			var t fleet.Taken
			t, err = r.Take(context.Background(), d)
			answers <- t
		}) {
			runtime.Goexit()
		}
		t = <-answers
		switch {
		case err != nil:
			k.fatalf("Take(%+v) failed: %v", d, err)
		case t.Granted < 0 || t.Granted > d.Want:
			k.fatalf("Take(%+v) granted %d of %d", d, t.Granted, d.Want)
		case (t.RetryAfter == 0) != (t.Granted == d.Want) || t.RetryAfter < 0:
			k.fatalf("Take(%+v) granted %d and RetryAfter is %v: it must be 0 if all were granted, and positive otherwise", d, t.Granted, t.RetryAfter)
		}
		return t
	}
	unit := k.h.Lease
	d := fleet.Draw{Rate: "q", Tokens: 10, Per: 10 * unit, Burst: 4, Want: 1}

	// A bucket without a record may have been lost, so it begins empty. When it was not used
	// for long enough it is full, however long that was.
	if t := take(d); t.Granted != 0 {
		k.fatalf("a bucket without any record gave %d, want 0: it may have been lost", t.Granted)
	}
	k.pass(5 * unit)
	d.Want = 7
	began := k.mark()
	t := take(d)
	if t.Granted != d.Burst {
		k.fatalf("a bucket of 4 that was not used for 5 times what a token takes gave %d of 7, want 4", t.Granted)
	}
	given := t.Granted

	// From then on it gives no more than one token for each unit.
	for i := range 12 {
		d.Want = 1 + i%3
		given += take(d).Granted
		if limit := d.Burst + int(k.since(began)/unit); given > limit {
			k.fatalf("a bucket of 4 that gets a token each %v has given %d in %v, want at most %d", unit, given, k.since(began), limit)
		}
		k.pass(unit / 4)
	}
	if lowest := d.Burst + 2; given < lowest {
		k.fatalf("a bucket of 4 that gets a token each %v gave %d in %v, want at least %d", unit, given, k.since(began), lowest)
	}

	// RetryAfter leads to the next token.
	d.Want = 5
	t = take(d)
	for range 3 {
		k.pass(t.RetryAfter + k.h.Late/10)
		if t = take(d); t.Granted == 0 {
			k.fatalf("no token was there after RetryAfter, the next one in %v", t.RetryAfter)
		}
	}

	// Without Burst it holds Tokens; another bucket is separate.
	d = fleet.Draw{Rate: "r", Tokens: 3, Per: 3 * unit, Want: 1}
	take(d)
	k.pass(5 * unit)
	d.Want = 9
	if t := take(d); t.Granted != 3 {
		k.fatalf("a bucket of 3 tokens each %v, without Burst, gave %d of 9 after %v, want 3", d.Per, t.Granted, 5*unit)
	}
}

// mark is an instant on the engine's clock, as far as the kit knows it.
type mark struct {
	passed time.Duration
	at     time.Time
}

func (k *kit) mark() mark { return mark{k.passed, time.Now()} }

// since returns the time since m, not less than the engine's clock has advanced.
func (k *kit) since(m mark) time.Duration {
	if k.h.Advance != nil {
		return k.passed - m.passed
	}
	return time.Since(m.at)
}
