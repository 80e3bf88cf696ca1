package fleet

import (
	"math"
	"testing"
	"time"
)

const second = time.Second

// testAccount returns an account with a lease of 30 s: it is renewed after 10 s, and claims are
// 300 ms apart at least.
func testAccount(cfg Config) account {
	cfg.Lease, cfg.Margin = 30*second, 3*second
	if cfg.Limit == 0 {
		cfg.Limit = 100
	}
	return newAccount(cfg)
}

// grant is an answer to c that lasts: granted of target units, with the limit of c.
func grant(c Claim, granted, target int) Grant {
	return Grant{
		Granted: granted, Target: target, Limit: c.Limit, Highest: c.Limit, Total: granted, Holders: 1, Lease: c.Lease,
	}
}

// between fails the test unless least <= d <= most.
func between(t *testing.T, what string, d, least, most time.Duration) {
	t.Helper()
	if d < least || d > most {
		t.Errorf("%s: %v, want between %v and %v", what, d, least, most)
	}
}

// A process without a lease claims again as soon as the least time between two claims has passed,
// and no sooner; so does one that is closing and has nothing left.
func TestAccount_ClaimsApart(t *testing.T) {
	a := testAccount(Config{})
	c := a.prepare(second)
	g := grant(c, 0, 0)
	g.Lease = second // less than the margin: no lease
	a.succeed(second, second, g)
	if a.valid(second) {
		t.Fatal("there is a lease")
	}
	between(t, "the next claim without a lease", a.next(second+1), second+a.gap(), second+a.gap())
	between(t, "the next claim when the time has passed", a.next(5*second), 5*second, 5*second)

	a = testAccount(Config{})
	a.take(1, 0)
	c = a.prepare(second)
	a.succeed(second, second, grant(c, 1, 1))
	between(t, "the renewal", a.next(2*second), second+9500*time.Millisecond, second+10500*time.Millisecond)
	a.closing = true
	between(t, "the renewal of one that is closing", a.next(2*second), second+9500*time.Millisecond, second+10500*time.Millisecond)
	a.give(1, second)
	between(t, "the last claim", a.next(second+1), second+a.gap(), second+a.gap())
}

// Units that are granted, not in use, and above the fair share go back before the next renewal.
func TestAccount_Owes(t *testing.T) {
	for _, c := range []struct {
		used, granted, target int
		learning, owes        bool
	}{
		{used: 1, granted: 4, target: 2, owes: true},
		{used: 3, granted: 4, target: 2, owes: true},
		{used: 4, granted: 4, target: 2},
		{used: 1, granted: 4, target: 4},
		{used: 1, granted: 4, target: 2, learning: true},
	} {
		a := testAccount(Config{})
		a.take(4, 0)
		g := grant(a.prepare(second), c.granted, c.target)
		g.Learning = c.learning
		a.succeed(second, second, g)
		a.sooner = 0 // that of an answer below the target
		a.give(4-c.used, second)
		if a.owes() != c.owes {
			t.Errorf("%+v: owes is %v", c, a.owes())
		}
		if at := a.next(second + 1); (at == second+a.gap()) != c.owes {
			t.Errorf("%+v: the next claim is at %v", c, at)
		}
	}
}

// While a process has less than its target it claims soon, and less soon with each answer in a
// row; one answer that grants the target, or a ledger that is learning, ends that.
func TestAccount_Hungry(t *testing.T) {
	a := testAccount(Config{})
	now := second
	answer := func(granted, target int, learning bool) (sooner time.Duration) {
		c := a.prepare(now)
		g := grant(c, granted, target)
		g.Learning = learning
		a.succeed(now, now, g)
		return a.sooner
	}
	a.wait(10)
	hungry := func(answers int) {
		t.Helper()
		for i := range answers {
			at := answer(1, 5, false) - now
			between(t, "the claim after an answer below the target", at, second<<i*9/10, second<<i)
			now += second / 100
		}
	}
	hungry(4)
	if at := answer(5, 5, false); at != 0 {
		t.Errorf("an answer of the target: the next claim is at %v, not with the renewal", at)
	}
	hungry(2)
	if at := answer(0, 5, true); at != 0 {
		t.Errorf("an answer while learning: the next claim is at %v", at)
	}
	a.hungry = 40
	between(t, "the claim after many such answers", answer(1, 5, false)-now, 64*second*9/10, 64*second)
	if a.next(now) > now+11*second {
		t.Error("the renewal waits for what the ledger lacks")
	}
}

// The holders that lack units when a lease ends do not all claim at once: a few claim within the
// least time between claims, others a little later, and most of many with their renewal.
func TestAccount_Stagger(t *testing.T) {
	a := testAccount(Config{})
	const tries = 20000
	for _, c := range []struct {
		holders, soon, least int // soon: of 1000; least: those not before the renewal, of 1000
		learning             bool
	}{
		{holders: 1, soon: 1000},
		{holders: 7, soon: 1000},
		{holders: 31, soon: 250 + 750*300/800/2}, // 8 of 32, and of the rest those whose second part is short
		{holders: 63, soon: 125 + 875*300/800/2},
		{holders: 64, soon: 123 + 877*300/800/2},
		{holders: 127, soon: 62, least: 938},
		{holders: 1000, soon: 1000, learning: true},
	} {
		var soon, never int
		for range tries {
			switch d := a.stagger(&Grant{Holders: c.holders, Learning: c.learning}); {
			case d < time.Millisecond:
				t.Fatalf("%+v: after %v", c, d)
			case d <= time.Millisecond+a.gap():
				soon++
			case d == forever:
				never++
			case d > time.Millisecond+a.gap()+800*time.Millisecond:
				t.Fatalf("%+v: after %v", c, d)
			}
		}
		if got := soon * 1000 / tries; got < c.soon-40 || got > c.soon+40 {
			t.Errorf("%+v: %d of 1000 within the gap", c, got)
		}
		if got := never * 1000 / tries; got < c.least-40 || got > c.least+40 {
			t.Errorf("%+v: %d of 1000 with their renewal", c, got)
		}
	}
	short := newAccount(Config{Lease: second})
	for range 1000 {
		between(t, "with a short lease", short.stagger(&Grant{Holders: 40}), time.Millisecond, time.Millisecond+10*time.Millisecond+second/12)
	}
}

// After an answer below the wanted units the next claim follows the end of a lease of another
// holder.
func TestAccount_SoonerAfterNext(t *testing.T) {
	a := testAccount(Config{})
	a.wait(4)
	c := a.prepare(second)
	g := grant(c, 2, 2)
	g.Next = 2 * second
	a.succeed(second, second, g)
	between(t, "the next claim", a.next(second), 3*second+time.Millisecond, 3*second+a.gap()+time.Millisecond)
	if !a.unmet {
		t.Error("the answer grants less than was wanted")
	}
	c = a.prepare(4 * second)
	g = grant(c, 4, 4)
	g.Next = second
	a.succeed(4*second, 4*second, g)
	if a.sooner != 0 || a.unmet {
		t.Errorf("all is granted: the next claim is at %v", a.sooner)
	}
}

// The retries of claims that fail are half as far apart at least as their bound, which doubles up
// to the time between renewals; the loss counts from the first failure.
func TestAccount_Fail(t *testing.T) {
	a := testAccount(Config{})
	now := second
	for _, bound := range []time.Duration{1, 2, 4, 8, 10, 10, 10, 10, 10} {
		for range 50 { // the delay is random
			b := a
			b.fail(now)
			between(t, "the delay of a retry", b.next(now)-now, bound*second/2, bound*second)
		}
		a.fail(now)
		if a.lostAt != second {
			t.Fatalf("lost since %v", a.lostAt)
		}
		now += second
	}
	a.succeed(now, now, grant(a.prepare(now), 0, 0))
	if a.fail(now); a.failures != 1 || a.lostAt != now {
		t.Errorf("after an answer: %d failures since %v", a.failures, a.lostAt)
	}
}

// A refusal of the provider bounds what is wanted by what is in use. Nothing is admitted for a time
// that doubles with each refusal that comes later; then the bound rises by one for each time between
// renewals, until it is above the limit.
func TestAccount_TooMany(t *testing.T) {
	a := testAccount(Config{Limit: 7})
	a.take(5, 0)
	a.wait(4)
	c := a.prepare(0)
	a.succeed(0, 0, grant(c, 7, 7))
	if a.want(0) != 9 {
		t.Fatalf("wants %d", a.want(0))
	}
	calm := func(now, most time.Duration) {
		t.Helper()
		a.tooMany(now)
		between(t, "nothing is admitted for", a.calmAt-now, most*9/10, most)
		between(t, "the bound rises after", a.raiseAt-a.calmAt, 10*second, 10*second)
		if n, o := a.bound(a.calmAt - 1); n != 0 || o != calming {
			t.Errorf("the bound meanwhile is %d, %v", n, o)
		}
		if n, o := a.bound(a.calmAt); a.valid(a.calmAt) && (n != 5 || o != hopeful) {
			t.Errorf("the bound afterwards is %d, %v", n, o)
		}
		at := a.calmAt
		if a.tooMany(now + 1); a.calmAt != at {
			t.Error("a refusal of the same burst counts")
		}
	}
	calm(second, 3*second)
	if a.want(second) != 5 {
		t.Errorf("wants %d after a refusal", a.want(second))
	}
	calm(5*second, 6*second)
	calm(12*second, 12*second)
	for range 10 {
		a.tooMany(a.calmAt)
	}
	now := a.calmAt
	calm(now, 180*second)
	for _, want := range []int{6, 7, math.MaxInt} {
		if a.raise(a.raiseAt - 1); a.ceiling >= want {
			t.Errorf("the bound is %d too soon", a.ceiling)
		}
		now = a.raiseAt
		if a.raise(now); a.ceiling != want {
			t.Errorf("the bound is %d, want %d", a.ceiling, want)
		}
		between(t, "it rises again after", a.raiseAt-now, 10*second, 10*second)
	}
	calm(now+second, 3*second) // it begins anew
	a.used = 0
	if a.tooMany(a.calmAt); a.ceiling != 1 {
		t.Errorf("the bound is %d with nothing in use", a.ceiling)
	}
}

// Without the ledger a process has its share of the limit by the holders that it knows of, at
// least one unit.
func TestAccount_Share(t *testing.T) {
	a := testAccount(Config{Limit: 10})
	if a.share() != 1 {
		t.Errorf("a share of %d before the first answer", a.share())
	}
	now := second
	answer := func(holders int, learning bool, want int) {
		t.Helper()
		g := grant(a.prepare(now), 0, 0)
		g.Holders, g.Learning = holders, learning
		a.succeed(now, now, g)
		if a.share() != want {
			t.Errorf("%d holders, learning %v: a share of %d, want %d", holders, learning, a.share(), want)
		}
	}
	answer(3, true, 1) // how many there were before is not known
	answer(4, false, 2)
	answer(3, true, 2)
	answer(5, true, 2)
	answer(10, true, 1)
	answer(3, true, 1)
	answer(2, false, 5)
	answer(11, false, 1)
	g := grant(a.prepare(now), 0, 0)
	g.Limit = 4
	a.succeed(now, now, g)
	if a.share() != 4 || a.limit() != 4 {
		t.Errorf("a share of %d of %d", a.share(), a.limit())
	}
	a.cfg.Min = 6
	if a.share() != 6 {
		t.Errorf("a share of %d, less than Min", a.share())
	}
}

// A demand counts for three periods after that in which it was noted, if nothing else claims the
// units, and for one if the quota is in full use.
func TestAccount_Peaks(t *testing.T) {
	p := peaks{period: 10 * second}
	p.note(0, 5)
	p.note(second, 2)
	if p.of != [renewals + 1]int{5, 0, 0, 0} {
		t.Errorf("%v", p.of)
	}
	p.note(10*second-1, 1)
	p.note(10*second, 3)
	if p.of != [renewals + 1]int{3, 5, 0, 0} {
		t.Errorf("after one period: %v", p.of)
	}
	p.note(25*second, 1)
	p.note(29*second, 4)
	p.note(30*second, 2)
	if p.of != [renewals + 1]int{2, 4, 3, 5} {
		t.Errorf("after three periods: %v", p.of)
	}
	for n, want := range []int{2, 4, 4, 5} {
		if got := p.max(n); got != want {
			t.Errorf("the largest of %d periods before is %d, want %d", n, got, want)
		}
	}
	if p.note(59*second, 1); p.of != [renewals + 1]int{1, 1, 2, 4} || p.since != 50*second {
		t.Errorf("after two periods at once: %v since %v", p.of, p.since)
	}
	if p.note(1000*second, 7); p.of != [renewals + 1]int{7, 7, 7, 7} || p.since != 1000*second {
		t.Errorf("after many periods: %v since %v", p.of, p.since)
	}

	a := testAccount(Config{Limit: 20, Slack: 2})
	a.take(6, 0)
	c := a.prepare(second)
	a.succeed(second, second, grant(c, 6, 6))
	a.give(5, 2*second)
	for _, w := range []struct {
		at              time.Duration
		total, want     int
		closing, bounds bool
	}{
		{at: 12 * second, total: 6, want: 8},
		{at: 15 * second, total: 20, want: 6}, // a recent peak counts
		{at: 22 * second, total: 20, want: 1},
		{at: 25 * second, total: 6, want: 8},
		{at: 32 * second, total: 19, want: 8},
		{at: 42 * second, total: 19, want: 3},
		{at: 43 * second, total: 19, want: 1, closing: true},
	} {
		a.last.Total, a.closing = w.total, w.closing
		a.peaks.note(w.at, a.used+a.waiting)
		if got := a.want(w.at); got != w.want {
			t.Errorf("%+v: wants %d", w, got)
		}
	}
}

// A claim states what is in use and what may be put into use before the answer, and nothing else.
func TestAccount_Has(t *testing.T) {
	for _, c := range []struct {
		used, granted, target, room, want, has int
		learning, ended                        bool
	}{
		{used: 2, granted: 6, target: 6, room: 6, want: 6, has: 6},
		{used: 2, granted: 6, target: 4, room: 6, want: 6, has: 4},
		{used: 2, granted: 6, target: 6, room: 3, want: 6, has: 3},
		{used: 5, granted: 6, target: 3, room: 6, want: 6, has: 5},
		{used: 2, granted: 6, target: 4, room: 6, want: 6, has: 6, learning: true},
		{used: 2, granted: 6, target: 6, room: 6, want: 6, has: 2, ended: true},
		{used: 7, granted: 6, target: 6, room: 6, want: 7, has: 7},
	} {
		a := testAccount(Config{})
		a.take(6, 0)
		a.succeed(second, second, grant(a.prepare(second), 6, 6))
		a.used, a.allowance, a.target, a.room, a.last.Learning = c.used, c.granted, c.target, c.room, c.learning
		a.countOver(second)
		now := 2 * second
		if c.ended {
			now = a.until
			a.peaks.of[0] = 6
		}
		seq, over := a.seq, max(0, c.used-c.granted)
		if c.ended {
			over = c.used
			a.countOver(now)
		}
		got := a.prepare(now)
		if got.Has != c.has || got.Want != c.want || got.Seq != seq+1 || a.sentAt != now || a.asked != got.Want || a.has != got.Has || a.over != over {
			t.Errorf("%+v: claims %+v, over %d", c, got, a.over)
		}
		if a.allowance > max(c.has, c.used) && !c.ended {
			t.Errorf("%+v: %d may be used, which the claim does not state", c, a.allowance)
		}
	}
}

// A returned unit is not used again while the ledger has granted more than the limit, and after a
// lease that has ended.
func TestAccount_Room(t *testing.T) {
	a := testAccount(Config{Limit: 10})
	a.take(6, 0)
	c := a.prepare(second)
	g := grant(c, 6, 6)
	g.Total = 12
	a.succeed(second, second, g)
	if a.room != 4 || a.fair() != 4 {
		t.Errorf("room for %d", a.room)
	}
	g.Total = 10
	if a.succeed(second, second, g); a.room != 6 {
		t.Errorf("room for %d", a.room)
	}
	g.Total, g.Granted = 30, 6
	if a.succeed(second, second, g); a.room != 0 {
		t.Errorf("room for %d", a.room)
	}
	g.Total = 6
	a.lapsed, g.Learning = true, true
	if a.succeed(second, second, g); a.room != 6 || !a.lapsed {
		t.Errorf("room for %d after a lease has ended", a.room)
	}
	if a.give(2, second); a.room != 4 {
		t.Errorf("room for %d after 2 came back", a.room)
	}
	if a.succeed(second, second, g); a.room != 4 {
		t.Errorf("room for %d while learning", a.room)
	}
	g.Learning = false
	if a.succeed(second, second, g); a.room != 6 || a.lapsed {
		t.Errorf("room for %d after an answer", a.room)
	}
	g.Lease = 2 * second // less than the margin: the answer gives no lease
	until, target := a.until, a.target
	g.Target = 3
	if a.succeed(second, second, g); a.until != until || a.target != target {
		t.Errorf("a grant that has ended counts: until %v, target %d", a.until, a.target)
	}
}

// More is claimed before the renewal if the demand exceeds the last claim, once it has doubled if
// the ledger could not grant that.
func TestAccount_Grows(t *testing.T) {
	a := testAccount(Config{})
	a.take(2, 0)
	a.succeed(second, second, grant(a.prepare(second), 2, 2))
	if a.grows(second) {
		t.Error("it grows without a demand")
	}
	a.wait(1)
	if !a.grows(second) || a.next(second+1) != second+a.gap() {
		t.Errorf("it does not grow; the next claim is at %v", a.next(second+1))
	}
	a.unmet = true
	if a.grows(second) {
		t.Error("it grows though the ledger lacks units, with less than twice the demand")
	}
	a.wait(1)
	if !a.grows(second) {
		t.Error("it does not grow with twice the demand")
	}
	a.closing = true
	if a.grows(second) {
		t.Error("it grows while it is closing")
	}
}
