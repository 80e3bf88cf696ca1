package endpoint

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/resource"
)

const (
	// mergeDelay is how long the first update of a Merge waits for resolvers that have not
	// answered. Otherwise a fallback that answers first would be in use until its primary has
	// been healthy for SetConfig.FailbackAfter.
	mergeDelay = time.Second

	// rewatchFirst and rewatchMost bound the time before Watch is called again.
	rewatchFirst = time.Second
	rewatchMost  = 30 * time.Second
)

// Merge returns a [Resolver], which is also a [Refresher], of the endpoints of all the others,
// those of the first one first. An endpoint that several list has the attributes of the
// first of these.
//
// Each keeps its own last answer: if one fails or hangs its endpoints stay, what the others say
// is still applied, and [Update.Err] joins the errors of those that fail. An update is Complete
// if the last answer of each was, failed lookups aside; so a resolver whose answers are not
// complete keeps endpoints of the others too, since it may know them without having listed them
// ([Polling.ForgetAfter] avoids that). The first update waits up to a second until all have
// answered.
//
// A Watch that panics or returns before its context ends, which is a fault of a resolver of the
// program, is reported as a failure and begun again after 1 s, then 2 s, and so on up to 30 s.
// Without resolvers, or with one that can never answer, Watch returns an error at once that wraps
// [ErrConfig], as [Check] does.
func Merge(resolvers ...Resolver) Resolver { return merge(append([]Resolver(nil), resolvers...)) }

type merge []Resolver

// Refresh implements [Refresher].
func (m merge) Refresh() {
	for _, r := range m {
		refresh(r)
	}
}

// check implements checker.
func (m merge) check() error {
	if len(m) == 0 {
		return fmt.Errorf("%w: Merge has no resolvers", ErrConfig)
	}
	var all []error
	for i, r := range m {
		if err := Check(r); err != nil {
			all = append(all, fmt.Errorf("resolver %d of Merge: %w", i, err))
		}
	}
	return errors.Join(all...)
}

// Watch implements [Resolver].
func (m merge) Watch(ctx context.Context, f func(Update)) error {
	if err := m.check(); err != nil {
		return err
	}
	// If f panics or ends the goroutine the watches end with it.
	ctx, cancel := context.WithCancel(ctx)
	var watches sync.WaitGroup
	defer watches.Wait()
	defer cancel()

	type event struct {
		from   int
		update Update
	}
	events := make(chan event)
	for i, r := range m {
		watches.Go(func() {
			follow(ctx, r, func(u Update) {
				select {
				case events <- event{i, u}:
				case <-ctx.Done():
				}
			})
		})
	}

	state := merged{sources: make([]mergedSource, len(m))}
	var current Update
	first := time.NewTimer(mergeDelay)
	defer first.Stop()
	for held := true; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-events:
			current = state.learn(e.from, e.update)
			if held && state.silent() > 0 {
				continue
			}
		case <-first.C:
			if !held || state.silent() == len(m) {
				held = false
				continue
			}
		}
		held = false
		f(current)
	}
}

// merged is a component: what is known of each resolver of a Merge.
type merged struct{ sources []mergedSource }

type mergedSource struct {
	all      []Endpoint
	complete bool // all was complete
	heard    bool // there was an update
	err      error
}

// learn takes an update of one resolver, and returns the update of all.
func (m *merged) learn(from int, u Update) Update {
	s := &m.sources[from]
	s.heard = true
	s.err = u.Err
	switch all, err := u.Apply(s.all); {
	case err == nil:
		// A failed lookup that lists what is known says nothing about completeness.
		if u.Err == nil || !same(s.all, all) {
			s.complete = u.Complete
		}
		s.all = all
	case u.Err == nil:
		s.err = err
	case len(u.Endpoints) > 0:
		s.err = errors.Join(u.Err, err)
	}

	out := Update{Complete: true}
	var errs []error
	listed := make(map[string]bool)
	for i := range m.sources {
		s := &m.sources[i]
		out.Complete = out.Complete && s.complete
		errs = append(errs, s.err)
		for _, e := range s.all {
			if !listed[e.Addr] {
				listed[e.Addr] = true
				out.Endpoints = append(out.Endpoints, e)
			}
		}
	}
	out.Err = errors.Join(errs...)
	return out
}

// silent returns how many resolvers have not given an update.
func (m *merged) silent() (n int) {
	for i := range m.sources {
		if !m.sources[i].heard {
			n++
		}
	}
	return n
}

// follow watches r until ctx ends. If Watch panics or returns before that, f is called with an
// error, and Watch is called again after a while.
func follow(ctx context.Context, r Resolver, f func(Update)) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := watchGuarded(ctx, r, func(u Update) {
			if len(u.Endpoints) > 0 {
				failures = 0
			}
			f(u)
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = ErrEnded
		}
		f(Update{Err: err})
		d := doubled(rewatchFirst, failures, rewatchMost)
		select {
		case <-ctx.Done():
		case <-time.After(d + time.Duration(random.Float64()*DefaultPollJitter*float64(d))):
		}
	}
}

// watchGuarded calls r.Watch on a goroutine of its own, so that a Goexit in it does not end the
// caller.
func watchGuarded(ctx context.Context, r Resolver, f func(Update)) error {
	result := make(chan error, 1)
	go func() {
		err := resource.ErrGoexit // unless Watch returns
		defer func() { result <- err }()
		defer func() {
			if v := recover(); v != nil {
				err = &resource.PanicError{Where: "Watch", Value: v, Stack: debug.Stack()}
			}
		}()
		err = r.Watch(ctx, f)
	}()
	return <-result
}
