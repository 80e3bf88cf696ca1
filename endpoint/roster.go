package endpoint

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// roster is the state machine of the endpoints: which there are, which of them fail, which
// Priority is in use, and when something is due. It has no clock and no lock, and calls no
// function of the user. Its methods need Set.mu held, and take the time since it began. After
// each change decide is to be called.
type roster struct {
	cfg     *SetConfig // constant, without zero values
	random  func() float64
	members map[string]*member
	order   []*member // by Priority, then Addr
	sorted  bool      // order is valid
	version int64     // of the set of members

	answered bool // an answer with endpoints was applied
	levels   []level
	inUse    int  // the Priority in use
	chosen   bool // inUse is valid
	backAt   time.Duration
	wentBack bool // backAt is valid

	panicking bool
	sweepAt   time.Duration
	suspects  int           // ranked members whose share is reduced
	soonest   time.Duration // when the next probe is due, or earlier
	changed   bool          // the candidates have to be published again

	failovers, failbacks int64
	events               []Event
}

// level is one Priority.
type level struct {
	priority int
	healthy  bool          // enough of its members are healthy
	some     bool          // at least one is
	usable   bool          // at least one may be ranked
	since    time.Duration // since when healthy has its value
}

// clue is a failure that may lead to an ejection.
type clue struct {
	m       *member
	verdict uint64
	record  Record
}

func newRoster(cfg *SetConfig, random func() float64) *roster {
	return &roster{cfg: cfg, random: random, members: make(map[string]*member), sweepAt: cfg.Interval, soonest: math.MaxInt64}
}

// event notes an event; the Set adds the time.
func (r *roster) event(k EventKind, m *member, err error) {
	e := Event{Kind: k, Err: err, Priority: r.inUse}
	if m != nil {
		e.Endpoint = m.ep
	}
	r.events = append(r.events, e)
}

// updated is what an answer of the resolver leads to.
type updated struct {
	changes []Endpoint // attributes have changed
	returns []*member  // OnLeave runs, and is to hurry
}

// update applies an answer that is valid and not empty, but for endpoints that are to leave:
// see retire.
func (r *roster) update(u Update, now time.Duration) (did updated) {
	r.sorted, r.changed = false, true
	if u.Complete {
		for _, m := range r.members {
			m.absent = true
		}
	}
	for i := range u.Endpoints {
		e := &u.Endpoints[i]
		m := r.members[e.Addr]
		if m == nil {
			r.add(newMember(*e, r.answered, now, r.cfg))
			continue
		}
		m.absent = false
		switch {
		case m.draining:
			if m.returned == nil {
				did.returns = append(did.returns, m)
			}
			again := *e
			m.returned = &again
		case m.ep != *e:
			m.ep = *e
			m.refreshShare(now, r.cfg)
			if m.joined {
				did.changes = append(did.changes, *e)
				r.event(EndpointChanged, m, nil)
			}
		}
	}
	r.answered = true
	for _, m := range r.members {
		switch {
		case !m.absent:
		case m.draining:
			m.returned = nil
		case !m.joined && !m.kept: // one that is kept joins, and then leaves
			r.forget(m)
		}
	}
	return did
}

// retire lets the endpoints leave that the last complete answer does not list. It is called
// when the new ones have joined, so that there is always something to rank; if none of them
// has, those before stay. OnLeave is to be called for the result.
func (r *roster) retire() (leaves []*member) {
	if !slices.ContainsFunc(r.sort(), func(m *member) bool { return m.listed() && !m.absent }) {
		return nil
	}
	for _, m := range r.order {
		if m.absent && m.listed() {
			m.draining, m.awaited, m.canceled = true, false, m.probing
			m.verdict++
			r.changed = true
			leaves = append(leaves, m)
			r.event(EndpointLeaving, m, nil)
		}
	}
	return leaves
}

func (r *roster) add(m *member) {
	r.members[m.addr] = m
	r.sorted, r.changed = false, true
	r.version++
}

func (r *roster) forget(m *member) {
	m.gone = true
	m.verdict++
	r.suspect(m)
	delete(r.members, m.addr)
	r.version++
	r.sorted, r.changed = false, true
}

// pending returns the members for which OnJoin is to be called, in order of their addresses.
func (r *roster) pending() (p []*member) {
	for _, m := range r.sort() {
		if !m.joined {
			p = append(p, m)
		}
	}
	return p
}

// admit notes that OnJoin has returned.
func (r *roster) admit(m *member, err error) {
	if m.gone {
		return
	}
	r.changed = true
	if err != nil {
		r.event(EndpointRefused, m, err)
		r.forget(m)
		return
	}
	m.joined, m.kept = true, false
	r.event(EndpointJoined, m, nil)
}

// left notes that OnLeave has returned. hurried says that its context ended with ErrReturned: the
// owner may have kept resources of the endpoint. It reports whether the endpoint is to join again,
// be it only to leave again because the resolver has removed it meanwhile.
func (r *roster) left(m *member, hurried bool, now time.Duration) (again bool) {
	r.event(EndpointLeft, m, nil)
	back := m.returned
	if back == nil && !hurried {
		r.forget(m)
		return false
	}
	// The member stays: the uses of resources that were kept still count as its load, and that it
	// was listed again does not show that it works.
	if back != nil {
		m.ep, m.returned = *back, nil
	}
	m.joined, m.draining, m.absent, m.kept = false, false, back == nil, hurried
	m.verdict++
	if m.failing == nil {
		m.slow, m.began = r.cfg.SlowStart > 0, false
	}
	r.sorted, r.changed = false, true
	r.refresh(m, now)
	return true
}

// observe adds evidence. If it may lead to an ejection the result has a record for the Ejector.
// refresh is whether the resolver should look up again.
func (r *roster) observe(m *member, e Evidence, now time.Duration) (c clue, ask, refresh bool) {
	if m.gone || m.draining {
		return c, false, false
	}
	switch e.Kind {
	case Success, Connected:
		m.good.Add(1)
		r.succeed(m, e.Kind, now)
		return c, false, false
	}
	n, refusal := weigh(e)
	if e.Kind == Unanswered {
		// More than for a failure: no number of them ejects, so the share alone must become
		// small soon.
		m.punish(2)
		r.refresh(m, now)
	}
	if n == 0 {
		return c, false, false
	}
	if refusal {
		m.refused++
		if m.refusals++; m.refusals == 1 {
			// What others accept from now on tells whether this endpoint alone refuses.
			for _, other := range r.members {
				other.accepted = other.good.Load()
			}
		}
		r.refresh(m, now)
		if !r.acceptedElsewhere(m) {
			return c, false, false
		}
		m.punish(1)
		r.refresh(m, now)
	} else {
		m.bad++
		refresh = m.row() == 0 && e.Kind == DialFailed
		if e.Kind == DialFailed {
			m.dials += n
		} else {
			m.calls += n
		}
		m.punish(n)
		r.refresh(m, now)
	}
	if m.failing != nil {
		return c, false, refresh
	}
	return clue{m, m.verdict, r.record(m)}, true, refresh
}

// succeed deals with a success.
func (r *roster) succeed(m *member, k Kind, now time.Duration) {
	r.start(m, now)
	m.dials = 0
	m.refusals = 0
	// A connection alone does not show that calls succeed.
	if k == Success {
		m.calls = 0
	}
	if m.calls == 0 {
		m.penalty = 0
	}
	if m.row() == 0 {
		m.verdict++
		if m.failing != nil && !m.ejected {
			// The limit did not permit its ejection, and it has recovered.
			m.failing = nil
			r.changed = true
		}
	}
	r.refresh(m, now)
}

// refresh must follow every change of failures, penalty and slow start of a member.
func (r *roster) refresh(m *member, now time.Duration) {
	m.refreshShare(now, r.cfg)
	m.refreshAttention()
	r.suspect(m)
	r.await(m, now)
}

// start starts the clock of the slow start, once.
func (r *roster) start(m *member, now time.Duration) {
	if m.slow && !m.began && !m.ejected {
		m.began, m.beganAt = true, now
		r.changed = true
	}
}

// acceptedElsewhere reports whether at least half of the other endpoints, and at least one,
// have accepted the client since m began to refuse.
func (r *roster) acceptedElsewhere(m *member) bool {
	others, accept := 0, 0
	for _, o := range r.members {
		if o == m || !o.listed() {
			continue
		}
		others++
		if o.refusals == 0 && o.good.Load() > o.accepted {
			accept++
		}
	}
	return accept > 0 && 2*accept >= others
}

func (r *roster) record(m *member) Record {
	rec := Record{Endpoint: m.ep, Failures: m.row(), Good: m.good.Load() - m.lastGood, Bad: m.bad - m.lastBad}
	if m.refusals > 0 && r.acceptedElsewhere(m) {
		rec.Refusals = m.refusals
		rec.Failures += m.refusals
	}
	return rec
}

// condemn applies a verdict of the Ejector, unless something has made it obsolete.
func (r *roster) condemn(c clue, cause error, now time.Duration) {
	m := c.m
	if cause == nil || m.gone || m.verdict != c.verdict || m.failing != nil {
		return
	}
	m.failing, m.failedAt, m.byProbe = cause, now, false
	m.verdict++
	m.refreshAttention()
	r.changed = true
}

// sweep ends an interval and returns the records to judge.
func (r *roster) sweep(now time.Duration) (clues []clue) {
	for _, m := range r.sort() {
		if !m.listed() {
			continue
		}
		good := m.good.Load()
		rec := r.record(m)
		m.lastGood, m.lastBad = good, m.bad
		if m.failing != nil {
			continue
		}
		if m.times > 0 && m.row() == 0 {
			m.times--
		}
		clues = append(clues, clue{m, m.verdict, rec})
	}
	r.sweepAt = now + r.cfg.Interval
	return clues
}

// probeDue starts the probes that are due. Each is identified by its member and number.
func (r *roster) probeDue(now time.Duration) (due []*member) {
	for _, m := range r.sort() {
		if m.awaited && !m.probing && now >= m.probeAt && r.cfg.Probe == nil {
			// Without probes the share recovers by itself, and slow start begins. Calls
			// show more.
			m.awaited = false
			m.penalty /= 2
			r.start(m, now)
			r.refresh(m, now)
			continue
		}
		if m.awaited && !m.probing && now >= m.probeAt {
			m.probing, m.awaited = true, false
			m.notedAt, m.failedBy = m.noted.Load(), m.bad+m.refused
			m.probe++
			due = append(due, m)
			r.changed = true
		}
	}
	return due
}

// probed notes the result of a probe. As for observe, the result may have a record for the
// Ejector.
func (r *roster) probed(m *member, number uint64, err error, now time.Duration) (c clue, ask bool) {
	if m.gone || m.probe != number || !m.probing {
		return c, false
	}
	m.probing = false
	r.changed = true
	if m.canceled { // it shows nothing of the endpoint
		m.canceled = false
		if !m.draining {
			r.refresh(m, now)
		}
		return c, false
	}
	m.probes++
	r.event(EndpointProbed, m, err)
	if err != nil {
		m.times++
		// If the owner has reported evidence of what failed, that was counted, and may be that
		// the endpoint is not to blame.
		reported := m.noted.Load() != m.notedAt
		switch {
		case reported && m.bad+m.refused == m.failedBy:
			// The probe has shown nothing of the endpoint.
		case m.failing != nil:
			m.failing, m.byProbe = err, true
			m.verdict++
		case m.ep.Priority == r.inUse && !reported:
			m.bad++
			m.dials++
			m.punish(1)
			c, ask = clue{m, m.verdict, r.record(m)}, true
		case m.ep.Priority != r.inUse && (!reported || m.row() > 0):
			// It has no callers whose failures add up to a verdict.
			m.failing, m.failedAt, m.byProbe = err, now, true
			m.verdict++
		}
		r.refresh(m, now)
		return c, ask
	}
	// A suspect keeps its row of failed calls: that it can be connected to does not show that
	// calls succeed. With its whole share the next calls will show it.
	m.dials, m.refusals, m.penalty = 0, 0, 0
	if m.failing != nil {
		m.calls = 0
		m.failing = nil
		m.verdict++
		if m.ejected {
			m.ejected = false
			// What it was ejected for does not count again.
			m.lastGood, m.lastBad = m.good.Load(), m.bad
			m.slow, m.began = r.cfg.SlowStart > 0, false
			r.event(EndpointReadmitted, m, nil)
		}
	}
	r.start(m, now)
	r.refresh(m, now)
	return c, false
}

// delay returns how long to wait before the next probe of m.
func (r *roster) delay(m *member) time.Duration {
	d := r.cfg.MaxProbeDelay
	if n := max(1, m.times); time.Duration(n) <= d/r.cfg.ProbeDelay {
		d = time.Duration(n) * r.cfg.ProbeDelay
	}
	return d + time.Duration(r.random()*float64(d)/5)
}

// sort returns the members in order of Priority, then Addr.
func (r *roster) sort() []*member {
	if !r.sorted {
		r.order = r.order[:0]
		for _, m := range r.members {
			r.order = append(r.order, m)
		}
		slices.SortFunc(r.order, func(a, b *member) int {
			return cmp.Or(cmp.Compare(a.ep.Priority, b.ep.Priority), cmp.Compare(a.ep.Addr, b.ep.Addr))
		})
		r.sorted = true
	}
	return r.order
}

// limit returns how many of n endpoints may be ejected.
func (r *roster) limit(n int) int {
	if r.cfg.MaxEjected < 0 {
		return 0
	}
	// The sum of a few tenths may be a little less than the whole number that is meant.
	return min(n-1, max(1, int(math.Floor(r.cfg.MaxEjected*float64(n)+1e-9))))
}

// decide makes the state consistent: ejections within the limit, panic, the Priority in use,
// and when probes are due. It returns the members that are ranked, and those that follow.
func (r *roster) decide(now time.Duration) (ranked, next []*member) {
	all := r.sort()
	n, healthy, ejected := 0, 0, 0
	var waiting []*member // failing, not ejected
	for _, m := range all {
		if !m.listed() {
			continue
		}
		n++
		switch {
		case m.failing == nil:
			healthy++
		case m.ejected:
			ejected++
		default:
			waiting = append(waiting, m)
		}
	}
	limit := max(0, r.limit(n))
	if len(waiting) > 0 && ejected < limit {
		slices.SortStableFunc(waiting, func(a, b *member) int { return cmp.Compare(a.failedAt, b.failedAt) })
		for _, m := range waiting[:min(len(waiting), limit-ejected)] {
			r.eject(m, now)
			ejected++
		}
	}
	if ejected > limit { // endpoints have left
		r.release(all, ejected-limit)
	}

	if p := n > 0 && r.cfg.PanicBelow > 0 && float64(healthy) < r.cfg.PanicBelow*float64(n)-1e-9; p != r.panicking {
		r.panicking = p
		kind := PanicEnded
		if p {
			kind = PanicBegan
		}
		r.event(kind, nil, nil)
	}
	r.choose(all, now)
	ranked, next = r.candidates(all)
	for _, m := range all {
		r.await(m, now)
		r.settle(m, now)
		r.suspect(m)
	}
	return ranked, next
}

func (r *roster) eject(m *member, now time.Duration) {
	m.ejected = true
	m.ejections++
	if !m.byProbe { // a failed probe was counted
		m.times++
	}
	m.verdict++
	m.slow, m.began = r.cfg.SlowStart > 0, false
	r.event(EndpointEjected, m, m.failing)
}

// release ends n ejections that the limit no longer permits: those of the endpoints that have
// failed for the shortest time. They still count as failing.
func (r *roster) release(all []*member, n int) {
	var out []*member
	for _, m := range all {
		if m.listed() && m.ejected {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b *member) int { return cmp.Compare(b.failedAt, a.failedAt) })
	for _, m := range out[:n] {
		m.ejected = false
		r.event(EndpointReadmitted, m, m.failing)
	}
}

// usable reports whether m may be ranked if its Priority is in use.
func (r *roster) usable(m *member) bool { return m.listed() && (!m.ejected || r.panicking) }

// choose chooses the Priority in use.
func (r *roster) choose(all []*member, now time.Duration) {
	levels := r.survey(all, now)
	r.levels = levels
	if len(levels) == 0 {
		r.chosen = false
		return
	}
	at := -1 // the one in use
	if r.chosen {
		at = slices.IndexFunc(levels, func(l level) bool { return l.priority == r.inUse })
	}
	// The first Priority that is healthy, or else has a healthy endpoint, or else has one that
	// may be ranked. The last two keep the one in use if they can.
	best := slices.IndexFunc(levels, func(l level) bool { return l.healthy })
	for _, suffices := range []func(l level) bool{
		func(l level) bool { return l.some },
		func(l level) bool { return l.usable },
	} {
		if best >= 0 {
			break
		}
		if best = slices.IndexFunc(levels, suffices); at >= 0 && suffices(levels[at]) {
			best = at
		}
	}
	best = max(best, 0)
	if at > best && levels[at].healthy {
		best = slices.IndexFunc(levels[:at], func(l level) bool { return l.healthy && now >= r.failBackAt(l) })
		if best < 0 {
			best = at
		}
	}
	to := levels[best].priority
	if r.chosen && to == r.inUse {
		return
	}
	from, had := r.inUse, at >= 0
	r.inUse, r.chosen, r.changed = to, true, true
	switch {
	case !had:
	case to < from && levels[at].healthy:
		r.failbacks++
		r.backAt, r.wentBack = now, true
		r.event(FailedBack, nil, nil)
	default:
		r.failovers++
		r.event(FailedOver, nil, nil)
	}
}

// survey returns the Priorities that have listed members, in order.
func (r *roster) survey(all []*member, now time.Duration) (levels []level) {
	for i := 0; i < len(all); {
		l := level{priority: all[i].ep.Priority, since: now}
		n, healthy := 0, 0
		for ; i < len(all) && all[i].ep.Priority == l.priority; i++ {
			m := all[i]
			if !m.listed() {
				continue
			}
			n++
			if m.failing == nil {
				healthy++
			}
			l.usable = l.usable || r.usable(m)
		}
		if n == 0 {
			continue
		}
		l.some = healthy > 0
		l.healthy = l.some && float64(healthy) >= r.cfg.FailoverBelow*float64(n)-1e-9
		for _, old := range r.levels {
			if old.priority == l.priority && old.healthy == l.healthy {
				l.since = old.since
			}
		}
		levels = append(levels, l)
	}
	return levels
}

// failBackAt returns when l, which is better than the Priority in use, may be used again.
func (r *roster) failBackAt(l level) time.Duration {
	at := l.since + max(0, r.cfg.FailbackAfter)
	if r.wentBack {
		at = max(at, r.backAt+FailbackInterval)
	}
	return at
}

// candidates returns the members in use, and those of the next Priority that has any.
func (r *roster) candidates(all []*member) (ranked, next []*member) {
	if !r.chosen {
		return nil, nil
	}
	follow, followed := 0, false
	for pass := range 2 { // first the Priorities after the one in use, then those before
		for _, m := range all {
			p := m.ep.Priority
			if !r.usable(m) {
				continue
			}
			switch {
			case p == r.inUse:
				if pass == 0 {
					ranked = append(ranked, m)
				}
			case (p > r.inUse) == (pass == 0) && (!followed || p == follow):
				follow, followed = p, true
				next = append(next, m)
			}
		}
		if followed {
			break
		}
	}
	return ranked, next
}

// await decides whether and when m is probed: if it is ejected; if its share is reduced or its
// slow start has not begun, since it may get no callers to show that it works; and if it is not
// in use but might be.
func (r *roster) await(m *member, now time.Duration) {
	idle := r.chosen && m.ep.Priority != r.inUse
	// A better Priority must be known to be healthy before it is used again.
	wanted := m.listed() && (m.ejected || m.penalty > 0 || !idle && m.slow && !m.began ||
		idle && (m.failing != nil || m.ep.Priority < r.inUse))
	switch {
	case !wanted:
		m.awaited = false
	case !m.awaited && !m.probing:
		d := r.delay(m)
		if m.failing == nil && m.penalty == 0 && idle {
			d = max(d, r.cfg.FailbackAfter/10)
		}
		m.awaited, m.probeAt = true, now+d
		r.soonest = min(r.soonest, m.probeAt)
	}
}

// settle sets the Status.
func (r *roster) settle(m *member, now time.Duration) {
	if m.slow && m.began && now-m.beganAt >= r.cfg.SlowStart {
		m.slow = false
		m.refreshShare(now, r.cfg)
	}
	s := Healthy
	switch {
	case m.draining:
		s = Draining
	case !m.joined:
		s = Joining
	case m.ejected && m.probing:
		s = Probing
	case m.ejected:
		s = Ejected
	case r.chosen && m.ep.Priority != r.inUse:
		s = Standby
	case m.slow:
		s = SlowStart
	}
	if s != m.status {
		m.status, m.since = s, now
	}
}

// suspect keeps the number of suspects up to date after a change of m.
func (r *roster) suspect(m *member) {
	is := m.penalty > 0 && !m.gone && r.usable(m) && m.ep.Priority == r.inUse
	if is == m.suspect {
		return
	}
	m.suspect = is
	if is {
		r.suspects++
	} else {
		r.suspects--
	}
}

// grow lets the shares of slow starts grow. Call it when next says so.
func (r *roster) grow(now time.Duration) {
	for _, m := range r.order {
		if m.slow && m.began {
			m.refreshShare(now, r.cfg)
			if now-m.beganAt >= r.cfg.SlowStart {
				r.changed = true
			}
		}
	}
}

// failbackDue reports whether a failback is due.
func (r *roster) failbackDue(now time.Duration) bool {
	return r.chosen && slices.ContainsFunc(r.levels, func(l level) bool {
		return l.priority < r.inUse && l.healthy && now >= r.failBackAt(l)
	})
}

// slowSteps is in how many steps a share grows.
const slowSteps = 50

// next returns when something is due.
func (r *roster) next(now time.Duration) time.Duration {
	at := r.sweepAt
	r.soonest = math.MaxInt64
	for _, m := range r.order {
		if m.awaited && !m.probing {
			r.soonest = min(r.soonest, m.probeAt)
		}
		if m.slow && m.began {
			at = min(at, now+max(r.cfg.SlowStart/slowSteps, time.Millisecond), m.beganAt+r.cfg.SlowStart)
		}
	}
	at = min(at, r.soonest)
	if r.chosen {
		for _, l := range r.levels {
			if l.priority < r.inUse && l.healthy {
				at = min(at, r.failBackAt(l))
			}
		}
	}
	return at
}
