package endpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// The least and the longest delay before Watch is called again.
const (
	minRewatch = time.Second
	maxRewatch = 30 * time.Second
)

var errWatch = errors.New("endpoint: Watch of the resolver returned")

// counts lists names with their numbers.
func counts(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, m[name]))
	}
	return strings.Join(parts, ", ")
}

// watch follows the resolver.
func (s *Set) watch() {
	for delay := minRewatch; s.ctx.Err() == nil; delay = min(2*delay, maxRewatch) {
		var answered atomic.Bool
		err := s.isolated("Watch", func() error {
			return s.cfg.Resolver.Watch(s.ctx, func(u Update) {
				answered.Store(true)
				select {
				case s.updates <- u:
				case <-s.ctx.Done():
				}
			})
		})
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errWatch
		} else {
			err = fmt.Errorf("%w: %w", errWatch, err)
		}
		s.change(func(r *roster, _ time.Duration) {
			s.watchErr = err
			r.event(ResolverFailed, nil, err)
		})
		if answered.Load() {
			delay = minRewatch
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
		}
	}
}

// refreshes passes calls of Refresh on to the resolver, apart from the caller and the clock: it
// might block.
func (s *Set) refreshes() {
	r, ok := s.cfg.Resolver.(Refresher)
	for {
		select {
		case <-s.refresh:
			if ok {
				_ = s.isolated("Refresh", func() error { r.Refresh(); return nil })
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// apply applies the answers of the resolver, one after the other, and calls the hooks.
func (s *Set) apply() {
	for {
		select {
		case u := <-s.updates:
			s.update(u)
		case <-s.rejoin:
		case <-s.ctx.Done():
			return
		}
		s.join()
	}
}

// update applies one answer. An error beside valid endpoints does not make them invalid, see
// Update.Err.
func (s *Set) update(u Update) {
	err := u.Err
	usable := err == nil || len(u.Endpoints) > 0
	if invalid := Validate(u.Endpoints); invalid != nil {
		err, usable = errors.Join(err, invalid), false
	}
	if err == nil && len(u.Endpoints) == 0 && u.Complete {
		err, usable = ErrEmpty, false
	}
	var did updated
	s.change(func(r *roster, now time.Duration) {
		s.updateErr = err
		s.watchErr = nil
		if err != nil {
			s.failed++
			r.event(UpdateFailed, nil, err)
		}
		if !usable {
			return
		}
		s.updated++
		did = r.update(u, now)
		for _, m := range did.returns {
			if cancel := s.leaves[m]; cancel != nil {
				cancel(ErrReturned)
			}
		}
	})
	if s.cfg.OnChange != nil {
		for _, e := range did.changes {
			_ = s.isolated("OnChange", func() error { s.cfg.OnChange(e); return nil })
		}
	}
}

// join calls OnJoin for the endpoints that have not joined, and then OnLeave for those that
// leave.
func (s *Set) join() {
	s.mu.Lock()
	pending := s.roster.pending()
	s.mu.Unlock()
	errs := make([]error, len(pending))
	if s.cfg.OnJoin != nil {
		for i, m := range pending {
			if s.ctx.Err() != nil {
				return
			}
			e := m.ep // only this goroutine changes it
			if errs[i] = s.isolated("OnJoin", func() error { return s.cfg.OnJoin(e) }); errs[i] != nil {
				errs[i] = fmt.Errorf("endpoint: %q was refused: %w", shown(e.Addr), errs[i])
			}
		}
	}
	var leaves []func()
	s.change(func(r *roster, _ time.Duration) {
		for i, m := range pending {
			r.admit(m, errs[i])
			if errs[i] != nil {
				s.updateErr = errs[i]
			}
		}
		for _, m := range r.retire() {
			probe, probing := s.probes[m]
			if probing {
				probe.cancel()
			}
			if !s.beginLocked("OnLeave") {
				continue
			}
			ctx, cancel := context.WithCancelCause(s.ctx)
			s.leaves[m] = cancel
			leaves = append(leaves, func() { s.leave(ctx, cancel, m, probe.done) })
		}
	})
	for _, f := range leaves {
		go f()
	}
}

// leave calls OnLeave. probed is closed when the probe of m that was canceled has returned; nil:
// there was none.
func (s *Set) leave(ctx context.Context, cancel context.CancelCauseFunc, m *member, probed <-chan struct{}) {
	defer s.end("OnLeave")
	defer cancel(nil)
	if s.cfg.OnLeave != nil {
		_ = s.isolated("OnLeave", func() error { s.cfg.OnLeave(ctx, m.addr); return nil })
	}
	hurried := context.Cause(ctx) == ErrReturned
	if probed != nil { // once it is forgotten, and listed again, it would be probed twice at once
		select {
		case <-probed:
		case <-ctx.Done(): // it is listed again, and stays
		}
	}
	s.change(func(r *roster, now time.Duration) {
		delete(s.leaves, m)
		if r.left(m, hurried, now) {
			select {
			case s.rejoin <- struct{}{}:
			default:
			}
		}
	})
}

// clock does what is due.
func (s *Set) clock() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		timer.Reset(s.due())
	}
}

// due does what is due, and returns how long to wait.
func (s *Set) due() time.Duration {
	var clues []clue
	var probes []func()
	s.change(func(r *roster, now time.Duration) {
		r.grow(now)
		if now >= r.sweepAt {
			clues = r.sweep(now)
		}
		for _, m := range r.probeDue(now) {
			if !s.beginLocked("Probe") {
				continue
			}
			ctx, cancel := context.WithTimeout(s.ctx, s.cfg.ProbeTimeout)
			done := make(chan struct{})
			s.probes[m] = runningProbe{cancel, done}
			addr, number := m.addr, m.probe
			probes = append(probes, func() {
				defer close(done)
				s.probe(ctx, cancel, m, addr, number)
			})
		}
		// Stored first: an observation from now on sets it again.
		if s.fading.Swap(false) {
			some := false
			for _, m := range r.order {
				some = m.fade(now, s.ewma) || some
			}
			if some {
				s.fading.Store(true)
			}
		}
		// A failback needs a decision although nothing has happened.
		r.changed = r.changed || r.failbackDue(now)
	})
	for _, f := range probes {
		go f()
	}
	if len(clues) > 0 {
		s.judge(clues)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	at := s.roster.next(now)
	if s.fading.Load() {
		at = min(at, now+s.ewma.Decay/8)
	}
	s.planned = at
	return max(at-now, time.Millisecond) // several things are often due together
}

// judge asks the Ejector at the end of an interval.
func (s *Set) judge(clues []clue) {
	records, causes := make([]Record, len(clues)), make([]error, len(clues))
	for i := range clues {
		records[i] = clues[i].record
	}
	if s.isolated("Sweep", func() error { s.cfg.Ejector.Sweep(records, causes); return nil }) != nil {
		return
	}
	some := false
	s.change(func(r *roster, now time.Duration) {
		for i, c := range clues {
			if causes[i] != nil {
				some = true
				r.condemn(c, causes[i], now)
			}
		}
	})
	if some {
		s.Refresh()
	}
}

// runningProbe is a probe that runs.
type runningProbe struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it has returned
}

// probe runs one probe.
func (s *Set) probe(ctx context.Context, cancel context.CancelFunc, m *member, addr string, number uint64) {
	defer s.end("Probe")
	defer cancel()
	err := s.isolated("Probe", func() error { return s.cfg.Probe(ctx, addr) })
	if err != nil {
		err = fmt.Errorf("endpoint: probe failed: %w", err)
	}
	var c clue
	var ask bool
	s.change(func(r *roster, now time.Duration) {
		delete(s.probes, m)
		c, ask = r.probed(m, number, err, now)
	})
	if ask && s.convict(c, Evidence{Kind: DialFailed, Err: err}) {
		s.Refresh()
	}
}
