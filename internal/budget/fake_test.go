package budget_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/budget"
)

// world is a Budget with members that behave like pools, one step at a time, in a
// bubble. Creations and ends last until the test finishes them.
type world struct {
	t       *testing.T
	b       *budget.Budget
	base    time.Time
	max     int
	members []*fake
	gave    []*fake // in order
	shrunk  bool    // more than max may be taken
	asks    int     // how often a member was asked to give way
	asked   func()  // called then; may be nil
}

// fake is one member.
type fake struct {
	w      *world
	share  *budget.Share
	name   string
	most   int
	ready  int             // resources it wants to have without callers
	wait   []time.Duration // arrival times of the waiting callers, in order
	making int
	leased int
	dying  int
	idle   []time.Duration // since when each is idle, the longest idle first
	had    int             // slots granted and not used yet
	raw    bool            // its resources are not ripe (see Owes)
	quick  bool            // creations and ends take no time
	served int

	recalls int // how often it was asked for a leased resource, if it is a recallable
}

// recallable is a fake that can ask the holders of resources.
type recallable struct{ *fake }

func (r recallable) Recall() { r.recalls++ }

// inWorld runs f in a bubble with max slots.
func inWorld(t *testing.T, max int, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, max: max, base: time.Now()}
		w.b = budget.New(max, w.now)
		f(w)
		w.b.Rest()
	})
}

func (w *world) now() time.Duration { return time.Since(w.base) }

// sleep advances time and runs what is due.
func (w *world) sleep(d time.Duration) {
	w.b.Missing() // takes the lock: happens-before edge
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) join(name string) *fake {
	return w.joinAs(name, func(m *fake) budget.Member { return m })
}

// joinRecallable is join of a recallable.
func (w *world) joinRecallable(name string) *fake {
	return w.joinAs(name, func(m *fake) budget.Member { return recallable{m} })
}

func (w *world) joinAs(name string, as func(m *fake) budget.Member) *fake {
	m := &fake{w: w, name: name, most: 1 << 20}
	m.share = w.b.Join(as(m))
	w.members = append(w.members, m)
	return m
}

// check checks the invariants of a quiescent state.
func (w *world) check() {
	w.t.Helper()
	var shares []*budget.Share
	for _, m := range w.members {
		shares = append(shares, m.share)
		if n := m.making + m.leased + m.dying + len(m.idle); n != m.share.Held() {
			w.t.Fatalf("%s has %d resources in %d slots", m.name, n, m.share.Held())
		}
	}
	if err := w.b.Audit(shares); err != nil {
		w.t.Fatal(err)
	}
	_, used, _ := w.b.Levels()
	if w.shrunk = w.shrunk && used > w.max; used > w.max && !w.shrunk {
		w.t.Fatalf("I1: %d slots taken of %d", used, w.max)
	}
	// No resource is idle while another member claims a slot.
	for _, m := range w.members {
		if len(m.idle) > 0 && len(m.wait) == 0 && w.b.Missing() > 0 && !w.spares(m) {
			w.t.Fatalf("I7: %d are missing, and %s has %d idle: %s", w.b.Missing(), m.name, len(m.idle), w)
		}
	}
}

// spares is an independent formulation of isExemptLocked: a patient claimant keeps its
// idle resources against other patient claimants.
func (w *world) spares(m *fake) bool {
	if !m.share.Patient() {
		return false
	}
	for _, o := range w.members {
		if o == m || o.share.Claimed() == 0 {
			continue
		}
		if !o.share.Patient() || o.share.Held()+min(w.b.Coming(), o.share.Claimed())+2 <= m.share.Held()-m.dying {
			return false
		}
	}
	return true
}

func (w *world) String() (s string) {
	for _, m := range w.members {
		s += m.name + ":"
		for _, n := range []int{m.making, m.leased, len(m.idle), m.dying, len(m.wait), m.share.Claimed()} {
			s += " " + string(rune('0'+min(n, 9)))
		}
		s += "; "
	}
	return s
}

// settle ends every step.
func (w *world) settle() {
	w.t.Helper()
	w.b.Settle()
	w.check()
}

// grow begins creations for waiting callers, as a pool does.
func (m *fake) grow() {
	live := m.making + m.leased + m.dying + len(m.idle)
	demand := max(len(m.wait)-m.making, m.ready-(live-m.dying))
	want := min(max(0, demand), m.most-live)
	if want == 0 && m.share.Claimed() == 0 {
		return
	}
	had := min(m.had, want)
	m.had -= had
	m.making += had + m.share.Take(want-had, want-had, len(m.wait) == 0)
}

// call adds n callers.
func (m *fake) call(n int) {
	m.w.t.Helper()
	for range n {
		if len(m.idle) > 0 && len(m.wait) == 0 {
			m.idle = m.idle[:len(m.idle)-1]
			m.leased++
			m.served++
			continue
		}
		m.wait = append(m.wait, m.w.now())
	}
	m.grow()
	m.w.settle()
}

// leave removes the last caller.
func (m *fake) leave() {
	m.w.t.Helper()
	m.wait = m.wait[:len(m.wait)-1]
	if n := len(m.wait); n < m.share.Claimed() {
		m.share.Claim(n, false)
	}
	m.w.settle()
}

// put passes a resource in the hands of m to a caller, to the idle ones, or ends it.
func (m *fake) put(used bool) {
	switch {
	case m.w.b.Scarce() && m.w.b.Over():
		m.end()
	case len(m.wait) > 0 && used && m.w.b.Scarce() && m.share.Owes(m.wait[0], !m.raw):
		m.w.gave = append(m.w.gave, m)
		m.end()
	case len(m.wait) > 0:
		m.wait = m.wait[1:]
		m.leased++
		m.served++
		if n := len(m.wait); n < m.share.Claimed() {
			m.share.Claim(n, false)
		}
	default:
		m.idle = append(m.idle, m.w.now())
		m.offer()
	}
}

// offer is what a pool does whenever it unlocks.
func (m *fake) offer() {
	if len(m.idle) > 0 && len(m.wait) == 0 && m.w.b.Scarce() {
		m.share.Offer()
	}
}

func (m *fake) end() {
	m.dying++
	m.share.Dying(1)
}

// finish ends n creations; with lose they fail.
func (m *fake) finish(n int) {
	m.w.t.Helper()
	for range n {
		m.making--
		m.put(false)
	}
	m.grow()
	m.w.settle()
}

func (m *fake) lose() {
	m.w.t.Helper()
	m.making--
	m.share.Free(false)
	m.grow()
	m.w.settle()
}

// release ends n leases.
func (m *fake) release(n int) {
	m.w.t.Helper()
	for range n {
		m.leased--
		m.put(true)
	}
	m.grow()
	m.w.settle()
}

// discard ends a lease and its resource.
func (m *fake) discard() {
	m.w.t.Helper()
	m.leased--
	m.end()
	m.grow()
	m.w.settle()
}

// bury ends n dying resources.
func (m *fake) bury(n int) {
	m.w.t.Helper()
	for range n {
		m.dying--
		m.share.Free(true)
	}
	m.grow()
	m.w.settle()
}

// lend gives m n leases, for which there must be slots.
func (m *fake) lend(n int) {
	m.w.t.Helper()
	m.call(n)
	m.finish(m.making)
	if m.leased < n {
		m.w.t.Fatalf("%s has %d leases, want %d", m.name, m.leased, n)
	}
}

// Granted, GiveWay and Attend implement budget.Member.
func (m *fake) Granted() {
	m.had++
	m.grow()
	for ; m.had > 0; m.had-- {
		m.share.Free(false)
	}
	if m.quick && m.making > 0 {
		m.making--
		m.put(false)
	}
}

func (m *fake) GiveWay(before time.Duration) (budget.Answer, time.Duration) {
	if m.w.asks++; m.w.asked != nil {
		m.w.asked()
	}
	if len(m.idle) == 0 || len(m.wait) > 0 {
		return budget.Nothing, 0
	}
	if m.idle[0] > before {
		m.offer()
		return budget.Newer, m.idle[0]
	}
	for _, o := range m.w.members {
		if o != m && len(o.idle) > 0 && len(o.wait) == 0 && o.idle[0] < m.idle[0] && !m.w.spares(o) {
			m.w.t.Errorf("%s gives way, idle since %v, before %s, idle since %v", m.name, m.idle[0], o.name, o.idle[0])
		}
	}
	m.idle = slices.Delete(m.idle, 0, 1)
	m.w.gave = append(m.w.gave, m)
	m.end()
	return budget.Gave, 0
}

func (m *fake) Attend() { m.offer() }

// want checks the state of m.
func (m *fake) want(making, leased, idle, dying, claim int) {
	m.w.t.Helper()
	got := [5]int{m.making, m.leased, len(m.idle), m.dying, m.share.Claimed()}
	if want := [5]int{making, leased, idle, dying, claim}; got != want {
		m.w.t.Fatalf("%s: making, leased, idle, dying, claimed are %v, want %v", m.name, got, want)
	}
}
