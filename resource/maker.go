package resource

import (
	"context"
	"slices"
	"time"

	"github.com/respool/respool/internal/growth"
	"github.com/respool/respool/internal/outage"
)

// maker has the creations of a pool, and decides how many more to begin and when to decide
// anew. The pool reports what happens and does what maker decides. Its user holds the pool's
// lock.
type maker[T any] struct {
	minIdle int // constant: Config.MinIdle

	creating int               // creations that hold a slot
	dropped  int               // of these, those that are not wanted any more and have not left yet
	asking   int               // of those, waiting for a Quota or MakeGate
	lost     int               // abandoned, but not returned
	onTime   *creationGroup[T] // calls of Make that run and are expected to return
	overdue  *creationGroup[T] // calls that have run for much longer than creations take
	stale    int               // calls that a Reset has canceled and that have not returned
	reset    time.Duration     // when the last Reset was; 0: never

	gauge    growth.Gauge
	breaker  outage.Breaker
	last     error         // why the last creation failed, if none has succeeded since
	lastAt   time.Duration // when it failed
	barred   time.Duration // until then a MakeGate or Quota lets no creation begin
	barredBy error         // its refusal
	refusals int           // how often they have refused since they last let one begin
	guessed  bool          // barred is the pool's own backoff: the refusal did not say for how long
	returned permitCounts  // permits that came back to them
	sought   bool          // a caller was refused since a creation was last tried in an outage
	missed   bool          // a TryAcquire or NoWait found nothing idle since a creation last began
	putOff   int           // creations for callers that were decided on, but too many for one hold of the lock
	owed     bool          // a replacement is to be created: its slot is free, or soon will be

	warming []*warmer     // the calls of Warm that wait
	fading  []fading[T]   // resources that end soon and are to be replaced
	tries   chan struct{} // closed when a creation has ended; nil: no AcquireError.Wait waits for that
	sooner  chan struct{} // closed by Close and RetryNow; nil: no AcquireError has it
}

// creationGroup is a list of calls of Make, the one that began first in front.
type creationGroup[T any] struct {
	front, back *creation[T]
	n           int
}

func (g *creationGroup[T]) push(m *creation[T]) {
	m.group, m.prev, m.next = g, g.back, nil
	if g.back != nil {
		g.back.next = m
	} else {
		g.front = m
	}
	g.back = m
	g.n++
}

func (g *creationGroup[T]) remove(m *creation[T]) {
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		g.front = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		g.back = m.prev
	}
	m.group, m.prev, m.next = nil, nil, nil
	g.n--
}

func newMaker[T any](minIdle int) maker[T] {
	return maker[T]{minIdle: minIdle, onTime: new(creationGroup[T]), overdue: new(creationGroup[T])}
}

// begin notes that m calls Make now.
func (k *maker[T]) begin(m *creation[T], now time.Duration) {
	m.began = now
	k.onTime.push(m)
}

// end notes that m holds no slot of a creation any more. It reports whether a Reset has
// canceled it.
func (k *maker[T]) end(m *creation[T]) (stale bool) {
	k.creating--
	switch m.group {
	case nil: // it has not called Make
	case k.onTime, k.overdue:
		m.group.remove(m)
	default:
		k.stale--
		return true
	}
	return false
}

// asked notes that m does not ask the Quota and the MakeGate any more.
func (k *maker[T]) asked(m *creation[T]) {
	if m.asking {
		m.asking = false
		k.asking--
	}
}

// drop ends the wait of m, which asks the Quota and the MakeGate: it is not wanted any more.
func (k *maker[T]) drop(m *creation[T]) {
	k.asked(m)
	m.dropped = true
	k.dropped++
	m.cancel(nil)
}

// wanted is how many creations are wanted at most while so many callers wait.
func (k *maker[T]) wanted(waiting int) int {
	if len(k.warming) > 0 {
		return maxMaxSize
	}
	n := waiting + k.minIdle
	if k.missed || k.sought {
		n++
	}
	return n
}

// expire counts the calls that have run too long as overdue: others begin in their stead,
// and fewer at once.
func (k *maker[T]) expire(now time.Duration) {
	patience := k.gauge.Patience()
	for m := k.onTime.front; m != nil && now-m.began >= patience; m = k.onTime.front {
		k.onTime.remove(m)
		k.overdue.push(m)
		k.breaker.Overdue(k.coming(0))
	}
}

// cutOff returns the calls of Make to cancel at a Reset, which are not counted any more. If
// waiters exist (awaited) and the last Reset is more recent than a creation takes, the calls
// that began since are not canceled: otherwise a Reset more often than that would leave the
// waiters without a resource for ever.
func (k *maker[T]) cutOff(now time.Duration, awaited bool) (canceled [2]*creation[T]) {
	spare := awaited && k.reset > 0 && now-k.reset < k.gauge.Patience()
	k.reset = max(1, now)
	canceled[0] = k.overdue.front
	k.stale += k.overdue.n
	k.overdue = new(creationGroup[T])
	if !spare {
		canceled[1] = k.onTime.front
		k.stale += k.onTime.n
		k.onTime = new(creationGroup[T])
	}
	return canceled
}

// all returns every call of Make that runs and was not canceled, to be canceled at
// Close.
func (k *maker[T]) all() (canceled [2]*creation[T]) {
	canceled = [...]*creation[T]{k.overdue.front, k.onTime.front}
	k.stale += k.overdue.n + k.onTime.n
	k.overdue, k.onTime = new(creationGroup[T]), new(creationGroup[T])
	return canceled
}

// cancelAll ends the contexts of the creations that cutOff or all returned. Nothing changes
// their lists any more.
func cancelAll[T any](canceled [2]*creation[T], cause error) {
	for _, m := range canceled {
		for ; m != nil; m = m.next {
			m.cancel(cause)
		}
	}
}

// pending is how many creations are under way, canceled ones left out.
func (k *maker[T]) pending() int { return k.creating - k.stale }

// coming is how many creations are expected to succeed. Overdue ones are not, so that
// others begin in their stead, up to half of the maximum (I11).
func (k *maker[T]) coming(max int) int {
	n := k.overdue.n
	if max > 0 {
		n = min(n, max/2)
	}
	return k.pending() - n
}

// supply is what a pool has and what is asked of it.
type supply struct {
	now      time.Duration
	max      int   // the current maximum
	live     int   // resources, those being created included
	dying    int   // of these, being destroyed
	idle     int   // ready to be lent
	reserved int   // idle, and coming back from the user function that runs for them
	held     int   // with callers
	returned int64 // leases that have ended, ever
	waiting  int   // callers whose deadline has not passed
	fresh    int   // of these, asking for Fresh
	warm     int   // how many resources Warm is to add
}

// decision is how many creations to begin, by what they are for.
type decision struct {
	callers int
	missed  int           // for a caller that did not wait
	warm    int           // for Warm
	ready   int           // for MinIdle
	again   time.Duration // decide anew after that, even if nothing happens; 0: not needed
}

func (d *decision) total() int { return d.callers + d.missed + d.warm + d.ready }

// demand is how many of them callers wait for.
func (d *decision) demand() int { return d.callers + d.warm }

// limit lowers the total to at most n, the least urgent first.
func (d *decision) limit(n int) {
	for _, part := range [...]*int{&d.callers, &d.missed, &d.warm, &d.ready} {
		*part = min(*part, max(0, n))
		n -= *part
	}
}

// blindCreations is how many creations may run at once in a pool that has no resource that works,
// so that not all callers dial a server that is down. When one has succeeded the others begin
// together. It also bounds how many are created at once ahead of demand, for Warm and
// MinIdle.
const blindCreations = 50

// decide decides how many creations to begin.
func (k *maker[T]) decide(s supply) (d decision) {
	k.expire(s.now)
	room := s.max - s.live
	if room <= 0 {
		return d
	}
	coming := k.coming(s.max)
	if k.breaker.Open() {
		return k.probe(s, coming)
	}
	if s.waiting > 0 {
		// Only a new resource can satisfy a Fresh request: each gets a creation.
		alone := min(max(0, s.fresh-coming), room)
		d.callers, d.again = k.gauge.Want(growth.Facts{
			Now:      s.now,
			Waiting:  s.waiting - s.fresh,
			Coming:   max(0, coming-s.fresh) + s.reserved,
			Held:     s.held,
			Returned: s.returned,
			Room:     room - alone,
		})
		d.callers += alone
		d.callers = max(d.callers, min(k.putOff, s.waiting-coming-s.reserved))
	}
	k.putOff = 0
	spare := max(0, coming-s.waiting)
	if k.missed && spare == 0 {
		d.missed = 1
	}
	ahead := max(0, blindCreations-coming-d.callers)
	if s.warm > 0 {
		d.warm = min(max(0, s.warm-d.callers), ahead)
	}
	if k.minIdle > 0 {
		d.ready = min(max(0, k.minIdle-s.idle-spare-d.missed-d.warm), ahead-d.warm)
	}
	if d.total() > 0 {
		if wait := k.barred - s.now; wait > 0 {
			return decision{again: wait}
		}
		d.limit(room)
		d.limit(k.breaker.Allowed(s.now, s.max) - coming)
		if s.live == k.creating+s.dying { // there is no sign that creation succeeds
			d.limit(blindCreations - coming)
		}
		if k.refusals > 0 { // one tries whether the policy admits again
			d.limit(1 - k.asking)
		}
	}
	if s.waiting > 0 || s.warm > 0 || k.minIdle > 0 || k.missed {
		d.again = k.untilOverdue(s.now, d.again)
	}
	return d
}

// probe is decide in an outage: one creation is tried, when it is due and something wants
// it.
func (k *maker[T]) probe(s supply, coming int) (d decision) {
	switch {
	case s.waiting > 0 || k.sought:
		d.callers = 1
	case k.missed:
		d.missed = 1
	case s.warm > 0:
		d.warm = 1
	case k.minIdle-s.idle > 0:
		d.ready = 1
	default:
		return d
	}
	wait := max(k.breaker.RetryAfter(s.now), k.barred-s.now)
	switch {
	case coming > 0: // when it has ended the pool decides anew
		return decision{again: k.untilOverdue(s.now, 0)}
	case wait > 0:
		return decision{again: wait}
	}
	return d
}

// untilOverdue returns the earlier of again, if that is not 0, and the time at
// which a call of Make becomes overdue.
func (k *maker[T]) untilOverdue(now, again time.Duration) time.Duration {
	m := k.onTime.front
	if m == nil {
		return again
	}
	wait := max(1, m.began+k.gauge.Patience()-now)
	if again > 0 {
		wait = min(wait, again)
	}
	return wait
}

// lastCause is how the last creation failed, if none has succeeded since, or else how it was
// refused, if none has begun since; nil: neither.
func (k *maker[T]) lastCause() error {
	if k.last == nil && k.refusals > 0 {
		return k.barredBy
	}
	return k.last
}

// mayRenew reports whether nothing is against creating a replacement.
func (k *maker[T]) mayRenew(now time.Duration) bool {
	return k.pending() == 0 && !k.breaker.Open() && k.refusals == 0 && k.barred <= now
}

// bar keeps creations from being tried for retry, the refusal's RetryAfter, or, if that is 0,
// for a backoff that doubles with each refusal. Refusals that arrive while a time without
// tries lasts count once.
func (k *maker[T]) bar(now time.Duration, err error, retry time.Duration) {
	first := now >= k.barred || k.refusals == 0
	switch {
	case retry > 0:
		if until := plus(now, max(retry, barredFor)); until > k.barred {
			k.barred, k.barredBy, k.guessed = until, err, false
		}
	case first:
		k.barred, k.barredBy, k.guessed = plus(now, barredFor<<min(k.refusals, maxBarred)), err, true
	}
	if first {
		k.refusals++
	}
}

// tryNow ends the times for which no creation is tried.
func (k *maker[T]) tryNow(now time.Duration) {
	k.barred, k.barredBy, k.refusals = 0, nil, 0
	k.breaker.TryNow(now)
}

// barredFor is how long no creation is tried after a refusal without a RetryAfter. It doubles
// from refusal to refusal, up to maxBarred times.
const (
	barredFor = 50 * time.Millisecond
	maxBarred = 5
)

// permitCounts counts the permits that came back to a MakeGate and to a Quota.
type permitCounts struct{ gate, quota int }

// of returns the count of that seam.
func (c *permitCounts) of(seam Reason) *int {
	if seam == ReasonQuota {
		return &c.quota
	}
	return &c.gate
}

// permitReturned notes that the MakeGate or Quota, if there is one, has a permit back. The
// pool decides anew afterwards.
func (k *maker[T]) permitReturned(seam Reason) {
	*k.returned.of(seam)++
	k.unbar(seam)
}

// unbar ends the backoff after a refusal by that seam: a permit that came back since may be
// what the refused creation needs. It leaves a time that the refusal itself gave. refusals
// stays, so that one creation is tried; if that is refused too, the next backoff is longer.
func (k *maker[T]) unbar(seam Reason) {
	if k.guessed && refusalReason(k.barredBy) == seam {
		k.barred = 0
	}
}

// outdated reports whether a permit came back to the policy that refused m since m began to
// ask: the refusal may be older than the permit's return.
func (k *maker[T]) outdated(m *creation[T], seam Reason) bool {
	return *m.returned.of(seam) != *k.returned.of(seam)
}

// permitDue reports whether creations are barred by a Quota that did not say for how long,
// and that gets a permit back when a resource that is being destroyed is gone. dying is how
// many are.
func (k *maker[T]) permitDue(dying int) bool {
	return dying > 0 && k.guessed && refusalReason(k.barredBy) == ReasonQuota
}

// prove notes that e did its work: that its creation was a success.
func (k *maker[T]) prove(e *entry[T]) {
	if !e.proved {
		e.proved = true
		k.breaker.Proved()
	}
}

// hopeless reports whether no creation can be expected to serve a new caller: creation is
// failing, and the next try is not due or is under way already.
func (k *maker[T]) hopeless(now time.Duration, max int) bool {
	return k.breaker.Open() && (k.breaker.RetryAfter(now) > 0 || k.coming(max) > 0)
}

// inVain reports whether no creation is tried before that deadline. A caller whose deadline
// has passed learns so from its context. dying is how many resources are being destroyed.
func (k *maker[T]) inVain(deadline, now time.Duration, dying int) bool {
	return now < deadline && deadline < k.barred && k.pending() == 0 && !k.permitDue(dying)
}

// addWarmer adds a call of Warm. exist is how many resources there are.
func (k *maker[T]) addWarmer(w *warmer, exist, most int) {
	w.missing = w.n - exist - k.coming(most)
	for _, other := range k.warming {
		w.missing -= max(0, other.missing-other.begun)
	}
	k.warming = append(k.warming, w)
}

// removeWarmer removes a call of Warm. It returns false if the call has its result already.
func (k *maker[T]) removeWarmer(w *warmer) bool {
	i := slices.Index(k.warming, w)
	if i < 0 {
		return false
	}
	k.warming = slices.Delete(k.warming, i, i+1)
	return true
}

// warmed ends the calls of Warm that are satisfied; if closed is not nil it ends all of
// them, with that error. most is how many resources there may be.
func (k *maker[T]) warmed(exist, most int, closed error) {
	k.warming = slices.DeleteFunc(k.warming, func(w *warmer) bool {
		w.n = min(w.n, most)
		ended := closed != nil || exist >= w.n
		if ended {
			w.done <- closed
		}
		return ended
	})
}

// warmth is how many creations Warm calls for.
func (k *maker[T]) warmth(exist, most int) (more int) {
	for _, w := range k.warming {
		more = max(more, w.n-exist-k.coming(most))
	}
	return more
}

// forWarm is a creation for the first call of Warm that lacks one.
func (k *maker[T]) forWarm() *creation[T] {
	for _, w := range k.warming {
		if w.begun < w.missing {
			w.begun++
			m := newCreation[T](w.ctx)
			m.warmer = w
			return m
		}
	}
	return newCreation[T](context.Background())
}

// nextTry returns a channel that is closed when the next creation has ended.
func (k *maker[T]) nextTry() <-chan struct{} {
	if k.tries == nil {
		k.tries = make(chan struct{})
	}
	return k.tries
}

// endTries is called when a creation has ended and did not succeed. It returns the
// channel to close once the pool is unlocked (I12); nil: no Wait is under way, or
// another creation is, whose end is waited for.
func (k *maker[T]) endTries(max int) chan struct{} {
	if k.coming(max) > 0 {
		return nil
	}
	return k.takeTries()
}

// takeTries is endTries where a creation has succeeded, or none will begin.
func (k *maker[T]) takeTries() chan struct{} {
	tries := k.tries
	k.tries = nil
	return tries
}

// noLater returns a channel that is closed when the pool is closed or RetryNow is called. The
// pool is open.
func (k *maker[T]) noLater() <-chan struct{} {
	if k.sooner == nil {
		k.sooner = make(chan struct{})
	}
	return k.sooner
}

// takeSooner returns the channel of noLater, to be closed once the pool is unlocked; nil:
// no AcquireError has it.
func (k *maker[T]) takeSooner() chan struct{} {
	sooner := k.sooner
	k.sooner = nil
	return sooner
}

// notifyTries closes what endTries, takeTries or takeSooner returned.
func notifyTries(tries chan struct{}) {
	if tries != nil {
		close(tries)
	}
}

// fading is a resource that will have to end soon.
type fading[T any] struct {
	e   *entry[T]
	end error // what the Eviction will say
}

// fade adds a resource that is to be replaced. expiring is how many of the resources added so
// far exist. If most are gone fade removes those from the list: under load none may be
// replaced, and the list would grow.
func (k *maker[T]) fade(e *entry[T], end error, expiring int) {
	k.fading = append(k.fading, fading[T]{e, end})
	if len(k.fading) > 2*expiring {
		k.fading = slices.DeleteFunc(k.fading, func(f fading[T]) bool { return f.e.loc == gone })
	}
}

func (k *maker[T]) nextFading() fading[T] {
	f := k.fading[0]
	k.fading[0] = fading[T]{}
	k.fading = k.fading[1:]
	return f
}

// replacement reports whether a replacement is to be created now. It stays owed until any
// creation begins, because that creation uses the slot. The pool has room.
func (k *maker[T]) replacement() bool {
	for !k.owed && len(k.fading) > 0 {
		e := k.nextFading().e
		k.owed = e.loc != gone && !e.invalid()
	}
	return k.owed
}

// rollSeen is how many resources one call of roll looks at, since most may be leased and it
// is called often. The next call continues behind them.
const rollSeen = 64

// roll returns an idle resource that would have to end soon anyway, so that its replacement
// gets its slot, and the cause; nil: there is none. The pool is full. A leased resource ends
// when it comes back.
func (k *maker[T]) roll() (*entry[T], error) {
	for range min(len(k.fading), rollSeen) {
		f := k.nextFading()
		e := f.e
		switch {
		case e.loc == gone || e.invalid():
		case e.listed() || e.loc == inSlot && e.word.Claim():
			k.owed = true
			return e, f.end
		default:
			k.fading = append(k.fading, f)
		}
	}
	return nil, nil
}

// roomHelps reports whether a free slot is all that a creation waits for, and one may be
// tried now.
func (k *maker[T]) roomHelps(now time.Duration, c *capacity) bool {
	if k.breaker.Open() || k.barred > now || k.last != nil && k.pending()+c.dying > 0 {
		return false
	}
	return c.roomHelps()
}
