package endpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/random"
)

// Set says which endpoint to use. Make one with [NewSet], and close it. All methods may be
// called by any number of goroutines at once.
type Set struct {
	cfg     SetConfig // constant, without zero values
	start   time.Time // constant; times of the roster are since then
	ewma    PeakEWMAConfig
	follows bool // the Balancer uses latencies, by ewma
	view    atomic.Pointer[view]
	fading  atomic.Bool // some latency may be above 0
	panics  atomic.Int64

	ctx     context.Context // ends when Close is called
	stop    context.CancelFunc
	updates chan Update   // unbuffered: an answer is taken when the one before is applied
	rejoin  chan struct{} // an endpoint whose OnLeave has returned is to join again
	refresh chan struct{} // the resolver is to look up again
	wake    chan struct{} // something may be due earlier than clock knows

	mu        sync.Mutex // a leaf: nothing is called with it but the roster
	roster    *roster
	joined    chan struct{} // closed when there is something to rank
	suspects  atomic.Int64  // of the roster
	probes    map[*member]runningProbe
	leaves    map[*member]context.CancelCauseFunc
	planned   time.Duration // when the clock will look again
	updated   int64
	failed    int64
	updateErr error
	watchErr  error
	closed    bool
	running   map[string]int // functions of the user, by their names, and goroutines
	idle      chan struct{}  // closed when running is empty; nil: Close was not called
	tracing   bool           // a goroutine calls Trace
}

// view is what Rank and Begin need. It is constant but for the values behind the candidates.
type view struct {
	ranked  []Candidate // of the Priority in use
	next    []Candidate // of the one that follows
	members map[string]*member
	version int64 // of members
}

// NewSet returns a Set that follows the resolver until Close is called. It does not wait for
// the first answer, see [Set.Ready]. The error wraps [ErrConfig] and names every invalid field.
func NewSet(cfg SetConfig) (*Set, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Set{
		cfg: cfg.withDefaults(), start: time.Now(),
		updates: make(chan Update), rejoin: make(chan struct{}, 1), refresh: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		joined: make(chan struct{}),
		probes: make(map[*member]runningProbe), leaves: make(map[*member]context.CancelCauseFunc),
		running: make(map[string]int),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.roster = newRoster(&s.cfg, random.Float64)
	s.view.Store(&view{})
	if f, ok := s.cfg.Balancer.(LatencyFollower); ok {
		if s.call("FollowsLatency", func() { s.ewma, s.follows = f.FollowsLatency() }) != nil || s.ewma.Decay <= 0 {
			s.follows = false
		}
	}
	for name, f := range map[string]func(){"the resolver": s.watch, "its Refresh": s.refreshes, "hooks": s.apply, "the clock": s.clock} {
		s.begin(name)
		go func() {
			defer s.end(name)
			f()
		}()
	}
	return s, nil
}

func (s *Set) now() time.Duration { return time.Since(s.start) }

// begin counts a goroutine that Close waits for. It reports whether the Set is open.
func (s *Set) begin(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beginLocked(name)
}

func (s *Set) beginLocked(name string) bool {
	if s.closed {
		return false
	}
	s.running[name]++
	return true
}

func (s *Set) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(name)
}

func (s *Set) endLocked(name string) {
	if s.running[name]--; s.running[name] == 0 {
		delete(s.running, name)
	}
	if len(s.running) == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// change runs f, which changes the roster, under the lock, and carries out what the roster
// decides then.
func (s *Set) change(f func(r *roster, now time.Duration)) {
	s.mu.Lock()
	f(s.roster, s.now())
	s.settleLocked()
	if s.cfg.Trace == nil {
		s.roster.events = nil
	}
	s.mu.Unlock()
	s.trace()
}

// settleLocked publishes what has changed.
func (s *Set) settleLocked() {
	r := s.roster
	if r.changed {
		r.changed = false
		ranked, next := r.decide(s.now())
		v := &view{ranked: toCandidates(ranked), next: toCandidates(next)}
		if old := s.view.Load(); old.version == r.version && old.members != nil {
			v.members, v.version = old.members, old.version
		} else {
			v.members, v.version = maps.Clone(r.members), r.version
		}
		if s.closed {
			v.ranked, v.next = nil, nil
		}
		s.view.Store(v)
		s.signalLocked(len(v.ranked) > 0)
		s.wakeLocked()
	}
	if r.soonest < s.planned {
		s.planned = r.soonest
		s.wakeLocked()
	}
	s.suspects.Store(int64(r.suspects))
}

// wakeLocked lets the clock look again at what is due.
func (s *Set) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default: // it has not looked yet since the last time
	}
}

// signalLocked wakes the callers of Ready.
func (s *Set) signalLocked(some bool) {
	select {
	case <-s.joined:
		if !some && !s.closed {
			s.joined = make(chan struct{})
		}
	default:
		if some || s.closed {
			close(s.joined)
		}
	}
}

func toCandidates(m []*member) []Candidate {
	c := make([]Candidate, len(m))
	for i, m := range m {
		c[i] = Candidate{Endpoint: m.ep, Hash: m.hash, live: &m.live}
	}
	return c
}

// trace calls Trace with the events of the roster. If another goroutine does so already, that
// one calls it with all of them, so that they stay in order.
func (s *Set) trace() {
	if s.cfg.Trace == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tracing || len(s.roster.events) == 0 || !s.beginLocked("Trace") {
		return
	}
	s.tracing = true
	for len(s.roster.events) > 0 && !s.closed {
		events := s.roster.events
		s.roster.events = nil
		at := time.Now()
		s.mu.Unlock()
		for len(events) > 0 {
			events = s.deliver(events, at)
		}
		s.mu.Lock()
	}
	s.tracing = false
	s.endLocked("Trace")
}

// deliver calls Trace with events, in order, and returns those that are left if Trace has ended its
// goroutine. That is not the caller's, which may be one that the Set needs.
func (s *Set) deliver(events []Event, at time.Time) (rest []Event) {
	rest = events
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(rest) > 0 {
			e := rest[0]
			rest = rest[1:]
			e.At = at
			_ = s.contain("Trace", func() { s.cfg.Trace(e) })
		}
	}()
	<-done
	return rest
}

// contain calls f and contains a panic. It returns what went wrong.
func (s *Set) contain(where string, f func()) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		s.panics.Add(1)
		if v := recover(); v != nil {
			err = fmt.Errorf("%w in %s: %v", ErrPanic, where, v)
		}
	}()
	f()
	returned = true
	return nil
}

// call is contain, and reports a panic as an event.
func (s *Set) call(where string, f func()) error {
	err := s.contain(where, f)
	if err != nil {
		s.report(err)
	}
	return err
}

func (s *Set) report(err error) {
	s.change(func(r *roster, _ time.Duration) { r.event(Panicked, nil, err) })
}

// isolated runs f on a goroutine of its own and returns its error. A panic is an error, and so
// is the end of the goroutine by runtime.Goexit.
func (s *Set) isolated(where string, f func() error) (err error) {
	returned, panicked := false, false
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = fmt.Errorf("%w in %s: it ended its goroutine", ErrPanic, where)
		var result error
		if p := s.call(where, func() { result = f() }); p != nil {
			err, panicked = p, true
			return
		}
		err = result
		returned = true
	}()
	<-done
	if !returned && !panicked {
		s.report(err)
	}
	return err
}

// Ready blocks until there is an endpoint to rank. It fails when ctx ends, with an error that
// wraps that of ctx, [ErrNoEndpoints] and why the last answer of the resolver was not applied;
// and with [ErrClosed].
func (s *Set) Ready(ctx context.Context) error {
	for {
		s.mu.Lock()
		joined, closed := s.joined, s.closed
		s.mu.Unlock()
		if closed {
			return ErrClosed
		}
		if len(s.view.Load().ranked) > 0 {
			return nil
		}
		select {
		case <-joined:
		case <-ctx.Done():
			s.mu.Lock()
			why := errors.Join(s.updateErr, s.watchErr)
			s.mu.Unlock()
			if why == nil {
				return fmt.Errorf("%w: %w", ErrNoEndpoints, ctx.Err())
			}
			return fmt.Errorf("%w: %w: %w", ErrNoEndpoints, ctx.Err(), why)
		}
	}
}

// Pick returns the address that Rank would put first, without those after it. It returns "" if
// there is no endpoint. It takes no lock, reads no clock, and allocates nothing.
func (s *Set) Pick(key string) string {
	c := s.view.Load().ranked
	if len(c) == 0 {
		return ""
	}
	return c[s.pick(c, key)].Addr
}

// Rank appends to dst the addresses of endpoints worth trying for one acquire, the best first:
// first the pick of the Balancer, then others of the same Priority. If one of these has failed
// lately, endpoints of the next Priority follow. At most [SetConfig.Choices] are appended,
// without duplicates. key is for balancers such as [Rendezvous]; it may be empty.
//
// It appends at least one address while any endpoint has joined and is not draining. It takes
// no lock, reads no clock, and allocates only if dst has no room.
//
// If the caller has tried all of them in vain, and has reported the evidence, it may rank
// again: the result reflects the evidence.
func (s *Set) Rank(dst []string, key string) []string {
	v := s.view.Load()
	if len(v.ranked) == 0 {
		return dst
	}
	start := len(dst)
	dst = s.rank(dst, v.ranked, key, s.cfg.Choices)
	if room := s.cfg.Choices - (len(dst) - start); room > 0 && len(v.next) > 0 && s.suspects.Load() > 0 {
		dst = s.rank(dst, v.next, key, room)
	}
	return dst
}

// rank appends up to n addresses of c.
func (s *Set) rank(dst []string, c []Candidate, key string, n int) []string {
	ranker, ok := s.cfg.Balancer.(Ranker)
	if !ok {
		first := s.pick(c, key)
		return appendRest(append(dst, c[first].Addr), c, first, n-1)
	}
	ranked, broken := s.askRanker(ranker, dst, c, key, n)
	if broken || len(ranked) <= len(dst) || len(ranked) > len(dst)+n {
		return appendRest(append(dst, c[0].Addr), c, 0, n-1)
	}
	return ranked
}

func (s *Set) askRanker(r Ranker, dst []string, c []Candidate, key string, n int) (ranked []string, broken bool) {
	broken = true
	defer func() {
		if broken {
			s.panics.Add(1)
			_ = recover()
		}
	}()
	ranked = r.Rank(dst, c, key, n)
	broken = false
	return ranked, broken
}

// pick asks the Balancer, and contains its faults.
func (s *Set) pick(c []Candidate, key string) (i int) {
	returned := false
	defer func() {
		if !returned {
			s.panics.Add(1)
			_ = recover()
			i = 0
		}
	}()
	i = s.cfg.Balancer.Pick(c, key)
	returned = true
	if i < 0 || i >= len(c) {
		i = 0
	}
	return i
}

// Use is one use of an endpoint, from [Set.Begin] to [Use.End]. The zero Use is of no endpoint;
// its methods do nothing.
type Use struct {
	set *Set
	m   *member
}

// Begin counts a use of the endpoint, which must end with exactly one call of [Use.End]. To let
// the load include callers that wait, begin before acquiring a connection, with the address
// that Rank put first, and use [Use.Move] if the connection turns out to be another endpoint's.
// It takes no lock. If the endpoint is unknown it returns a Use of no endpoint, whose Move
// works.
func (s *Set) Begin(addr string) Use {
	m := s.view.Load().members[addr]
	if m != nil {
		m.load.Add(1)
		m.begun.Add(1)
	}
	return Use{s, m}
}

// Move moves the use to another endpoint. It returns the Use that replaces u, of which End is
// to be called.
func (u Use) Move(addr string) Use {
	if u.set == nil {
		return u
	}
	if u.m != nil {
		if u.m.addr == addr {
			return u
		}
		u.m.load.Add(-1)
	}
	return u.set.Begin(addr)
}

// End ends the use, with what it has shown about the endpoint. With [Success] for an endpoint
// without failures it takes no lock, and reads no clock unless the balancer is [PeakEWMA].
func (u Use) End(e Evidence) {
	if u.m == nil {
		return
	}
	u.m.load.Add(-1)
	u.set.observe(u.m, e)
}

// Observe reports evidence apart from a use, such as the failure of a dial. It does nothing if the
// endpoint is unknown or drains. It may call the Ejector and SetConfig.Trace, and blocks for
// nothing else.
func (s *Set) Observe(addr string, e Evidence) {
	if m := s.view.Load().members[addr]; m != nil {
		s.observe(m, e)
	}
}

func (s *Set) observe(m *member, e Evidence) {
	if e.Kind == Nothing || e.Kind >= kinds {
		return
	}
	good := e.Kind == Success || e.Kind == Connected
	if !good && e.Kind != Unanswered {
		m.noted.Add(1)
	}
	failures, _ := weigh(e)
	if s.follows {
		s.measure(m, e, e.Kind == Success, failures > 0 || e.Kind == Unanswered)
	}
	if good && !m.attention.Load() {
		m.good.Add(1)
		return
	}
	if !good && failures == 0 && e.Kind != Unanswered {
		return
	}
	var c clue
	var ask, refresh bool
	s.change(func(r *roster, now time.Duration) { c, ask, refresh = r.observe(m, e, now) })
	if ask && s.convict(c, e) || refresh {
		s.Refresh()
	}
}

// convict asks the Ejector about an endpoint that has failed, e being the last evidence. It
// reports whether the endpoint counts as failing now.
func (s *Set) convict(c clue, e Evidence) bool {
	var cause error
	failed := func() error { cause = s.cfg.Ejector.Failed(c.record); return nil }
	if s.isolated("Failed", failed) != nil || cause == nil {
		return false
	}
	cause = fmt.Errorf("%w; the last: %w", cause, e.last())
	s.change(func(r *roster, now time.Duration) { r.condemn(c, cause, now) })
	return true
}

// measure adds a latency to the moving average.
func (s *Set) measure(m *member, e Evidence, success, failure bool) {
	latency := e.Latency
	switch {
	case failure:
		latency = max(latency, s.ewma.Penalty)
	case !success || latency <= 0:
		return
	}
	m.observe(latency, s.now(), s.ewma)
	if !s.fading.Load() {
		// Without further uses only the clock lets the latency decay.
		s.mu.Lock()
		s.fading.Store(true)
		s.wakeLocked()
		s.mu.Unlock()
	}
}

// Refresh asks the resolver to look up again, if it is a [Refresher]. A Set does so itself when
// a dial fails or an endpoint is ejected. It does not block: a goroutine of the Set calls the
// resolver.
func (s *Set) Refresh() {
	select {
	case s.refresh <- struct{}{}:
	default: // it has not been asked yet for the last time
	}
}

// Snapshot returns the state of all endpoints. The caller owns it. It does not wait for functions
// of the user, and also works after Close.
func (s *Set) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.roster
	now := s.now()
	snap := Snapshot{
		Endpoints: make([]State, 0, len(r.members)),
		Priority:  r.inUse, Panic: r.panicking, Failovers: r.failovers, Failbacks: r.failbacks,
		Updates: s.updated, Failed: s.failed, UpdateErr: s.updateErr, ResolverErr: s.watchErr,
		Panics: s.panics.Load(),
	}
	for _, m := range r.sort() {
		m.refreshShare(now, &s.cfg)
		st := State{
			Endpoint: m.ep, Status: m.status, Cause: m.failing, Since: s.start.Add(m.since),
			Failing: m.failing != nil, Ignored: m.ejected && r.panicking && m.listed(),
			Ranked: !s.closed && r.usable(m) && m.ep.Priority == r.inUse,
			Load:   int(m.load.Load()), Latency: time.Duration(m.latency.Load()), Share: (&Candidate{live: &m.live}).Share(),
			Begun: m.begun.Load(), Good: m.good.Load(), Bad: m.bad, Refused: m.refused,
			Failures: m.row(), Ejections: m.ejections, Probes: m.probes,
		}
		if m.awaited && !m.probing {
			st.NextProbe = s.start.Add(m.probeAt)
		}
		snap.Endpoints = append(snap.Endpoints, st)
	}
	return snap
}

// Close stops following the resolver and cancels probes and the contexts of OnLeave, which is
// not called for the endpoints that remain: they stay the owner's. It blocks until all
// functions of the user have returned or ctx ends; its error then wraps that of ctx and says
// what still runs. It must not be called by such a function. It may be called again. Rank
// returns nothing afterwards; uses still end as usual.
func (s *Set) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.roster.changed = true
		s.settleLocked()
		s.signalLocked(true)
	}
	if len(s.running) == 0 {
		s.mu.Unlock()
		s.stop()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	s.stop()
	select {
	case <-idle:
		return nil
	default:
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		running := counts(s.running)
		s.mu.Unlock()
		return fmt.Errorf("endpoint: close: %w: still running: %s", ctx.Err(), running)
	}
}
