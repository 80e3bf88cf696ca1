package budget_test

import (
	"bytes"
	"maps"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/respool/respool/internal/budget"
)

// idleMember is a Member that does what a test says.
type idleMember struct {
	granted func()
	giveWay func() budget.Answer
	attend  func() // may be nil
}

func (m idleMember) Granted() { m.granted() }

func (m idleMember) Attend() {
	if m.attend != nil {
		m.attend()
	}
}

func (m idleMember) GiveWay(time.Duration) (budget.Answer, time.Duration) { return m.giveWay(), 0 }

// After Rest the clock of dying resources is not read any more.
func TestRestStopsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		base := time.Now()
		b := budget.New(1, func() time.Duration { reads.Add(1); return time.Since(base) })
		s := b.Join(idleMember{})
		s.Take(1, 0, false)
		s.Dying(1)
		s.Free(true)
		before := reads.Load()
		time.Sleep(600 * time.Millisecond)
		if reads.Load() == before {
			t.Fatal("the clock does not tick while a resource dies")
		}
		before = reads.Load()
		time.Sleep(time.Minute)
		if n := reads.Load() - before; n > 3 {
			t.Errorf("the clock was read %d times while nothing died", n)
		}
		s.Take(1, 0, false)
		s.Dying(1)
		s.Free(true)
		b.Rest()
		before = reads.Load()
		time.Sleep(10 * time.Second)
		if n := reads.Load() - before; n != 0 {
			t.Errorf("the clock was read %d times after Rest", n)
		}
		b.Rest() // again: it holds nothing
	})
}

// Rest waits for a goroutine that runs Settle.
func TestRestWaitsForSettle(t *testing.T) {
	base := time.Now()
	b := budget.New(1, func() time.Duration { return time.Since(base) })
	entered, leave := make(chan struct{}), make(chan struct{})
	var s *budget.Share
	s = b.Join(idleMember{granted: func() {
		close(entered)
		<-leave
		s.Free(false)
	}})
	s.Claim(1, false)
	settled := make(chan struct{})
	go func() {
		b.Settle()
		close(settled)
	}()
	<-entered
	rested := make(chan struct{})
	go func() {
		b.Rest()
		close(rested)
	}()
	for !isBlockedIn("budget.(*Budget).Rest(") {
		select {
		case <-rested:
			t.Fatal("Rest returned while Settle ran")
		default:
			runtime.Gosched()
		}
	}
	close(leave)
	<-rested
	<-settled
}

// A member that has something idle just after it has said that it has nothing is asked again.
func TestOfferWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := time.Now()
		b := budget.New(1, func() time.Duration { return time.Since(base) })
		asked := 0
		var has, wants *budget.Share
		has = b.Join(idleMember{giveWay: func() budget.Answer {
			asked++
			if !b.Scarce() {
				return budget.Nothing
			}
			if asked == 2 { // as if another goroutine did it after this one had looked
				has.Offer()
				return budget.Nothing
			}
			has.Dying(1)
			return budget.Gave
		}})
		has.Take(1, 0, false)
		granted := false
		wants = b.Join(idleMember{granted: func() { granted = true }})
		wants.Claim(1, false)
		b.Settle()
		if asked != 3 {
			t.Fatalf("asked %d times, want 3", asked)
		}
		has.Free(true)
		b.Settle()
		if !granted {
			t.Error("the claimant got nothing")
		}
		wants.Free(false)
		b.Rest()
	})
}

// A member is not asked to give way for the rest of its own patient claim. Once all of the claim is
// served it is asked for the next claimant, though it has not said anything since.
func TestGrantEndsPatience(t *testing.T) {
	for _, n := range []int{1, 2} {
		base := time.Now()
		b := budget.New(1, func() time.Duration { return time.Since(base) })
		asked := 0
		p := b.Join(idleMember{
			granted: func() {},
			giveWay: func() budget.Answer { asked++; return budget.Nothing },
		})
		p.Claim(n, true)
		if b.Settle(); asked != 0 {
			t.Errorf("a claim of %d: it was asked for its own claim", n)
		}
		b.Join(idleMember{}).Claim(1, true)
		if b.Settle(); (asked > 0) != (n == 1) {
			t.Errorf("a claim of %d: it was asked %d times for another patient claimant", n, asked)
		}
	}
}

// When slots become scarce Attend is called once for each member that is awake.
func TestAttend(t *testing.T) {
	base := time.Now()
	b := budget.New(3, func() time.Duration { return time.Since(base) })
	told := make(map[string]int)
	join := func(name string) *budget.Share {
		s := b.Join(idleMember{
			giveWay: func() budget.Answer { return budget.Nothing },
			attend:  func() { told[name]++ },
		})
		s.Take(1, 0, false)
		return s
	}
	join("never awake")
	join("awake").Awake(true)
	s := join("not awake any more")
	s.Awake(true)
	s.Awake(false)
	if b.Settle(); len(told) != 0 {
		t.Errorf("%v were told without a claimant", told)
	}
	wants := b.Join(idleMember{})
	wants.Claim(1, false)
	b.Settle()
	wants.Claim(2, false)
	b.Settle()
	if want := map[string]int{"awake": 1}; !maps.Equal(told, want) {
		t.Errorf("%v were told, want %v", told, want)
	}
}

// Settle returns soon, however much there is to do: another goroutine does the rest.
func TestSettleReturnsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 500
		base := time.Now()
		b := budget.New(slots, func() time.Duration { return time.Since(base) })
		returned := make(chan struct{})
		granted := 0
		s := b.Join(idleMember{granted: func() {
			if granted++; granted == 100 {
				<-returned
			}
		}})
		s.Claim(slots, false)
		b.Settle()
		close(returned)
		synctest.Wait()
		if granted != slots {
			t.Errorf("%d slots were granted of %d", granted, slots)
		}
		for range slots {
			s.Free(false)
		}
		b.Rest()
	})
}

// A member that holds nothing and claims nothing is not referenced.
func TestNotReferenced(t *testing.T) {
	for name, use := range map[string]func(s *budget.Share){
		"claimed": func(s *budget.Share) { s.Claim(1, false); s.Claim(0, false) },
		"held":    func(s *budget.Share) { s.Take(1, 0, false); s.Free(false) },
		"died":    func(s *budget.Share) { s.Take(1, 0, false); s.Dying(1); s.Free(true) },
		"awake":   func(s *budget.Share) { s.Awake(true); s.Awake(false) },
	} {
		base := time.Now()
		b := budget.New(2, func() time.Duration { return time.Since(base) })
		join := func() weak.Pointer[budget.Share] {
			s := b.Join(idleMember{})
			use(s)
			return weak.Make(s)
		}
		share := join()
		runtime.GC()
		if share.Value() != nil {
			t.Errorf("%s: the member is still referenced", name)
		}
		b.Rest()
	}
}

// isBlockedIn reports whether a goroutine waits for a mutex in a call of that function.
func isBlockedIn(name string) bool {
	buf := make([]byte, 1<<20)
	for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if bytes.Contains(g, []byte(name)) && bytes.Contains(g, []byte("[sync.Mutex.Lock")) {
			return true
		}
	}
	return false
}

// Offers of idle resources while a slot is claimed do not bring the end of scarcity nearer: it lasts
// until as many offers as there are members have found no claim.
func TestOffersWhileClaimed(t *testing.T) {
	b := budget.New(2, func() time.Duration { return 0 })
	nothing := idleMember{giveWay: func() budget.Answer { return budget.Nothing }}
	a, other, wants := b.Join(nothing), b.Join(nothing), b.Join(nothing)
	a.Take(1, 0, false)
	other.Take(1, 0, false)
	wants.Claim(1, false)
	b.Settle()
	for range 5 {
		a.Offer()
		b.Settle()
	}
	wants.Claim(0, false)
	if b.Settle(); !b.Scarce() {
		t.Error("scarcity has ended although nothing was offered since the claim")
	}
	a.Offer()
	if b.Settle(); !b.Scarce() {
		t.Error("one offer ends scarcity, and there are two members")
	}
	other.Offer()
	if b.Settle(); b.Scarce() {
		t.Error("two offers of two members do not end scarcity")
	}
}

// Slots are short if more are claimed than are free.
func TestShort(t *testing.T) {
	b := budget.New(3, func() time.Duration { return 0 })
	b.Join(idleMember{}).Take(1, 0, false)
	wants := b.Join(idleMember{})
	for claim, short := range []bool{false, false, false, true} {
		if wants.Claim(claim, false); b.Short() != short {
			t.Errorf("two slots are free, %d are claimed, and Short is %v", claim, b.Short())
		}
	}
	wants.Claim(0, false)
}
