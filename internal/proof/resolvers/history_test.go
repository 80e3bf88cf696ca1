package resolvers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/endpoint"
	"pgregory.net/rapid"
)

// A kind is what a lookup does.
type kind string

const (
	full    kind = "full"    // all endpoints there are
	capped  kind = "capped"  // limit of them
	part    kind = "part"    // some, and an error
	empty   kind = "empty"   // none, without an error
	invalid kind = "invalid" // an endpoint twice
	fails   kind = "fails"
	panics  kind = "panics"
	goexits kind = "goexits"
	expires kind = "expires" // waits for the end of its context
	hangs   kind = "hangs"   // ignores its context, for longer than the interval
)

var kinds = []kind{full, full, full, capped, part, empty, invalid, fails, panics, goexits, expires, hangs}

// limit is the MaxAnswers of every source, and servers how many addresses one can have.
const (
	limit   = 4
	servers = 6
)

// step is one answer of a source: what it does, and with which servers, a bit for each.
type step struct {
	kind kind
	set  int
}

// history is the answers of each source; the last one is repeated.
type history [][]step

func drawHistory(sources int) *rapid.Generator[history] {
	one := rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.IntRange(1, 1<<servers-1).Draw(t, "servers")}
	})
	return rapid.Custom(func(t *rapid.T) history {
		h := make(history, sources)
		for i := range h {
			h[i] = rapid.SliceOfN(one, 1, 25).Draw(t, "answers")
		}
		return h
	})
}

// endpointsOf returns the servers of a set.
func endpointsOf(set int) (all []endpoint.Endpoint) {
	for i := range servers {
		if set>>i&1 == 1 {
			all = append(all, endpoint.Endpoint{Addr: fmt.Sprint("s", i)})
		}
	}
	return all
}

// world is the sources of one run, and what the models of all have been through.
type world struct {
	sources []*source

	mu          sync.Mutex
	allComplete bool // at some instant since it was reset
}

// source is the lookup of one resolver, and the model of what is known of it. Its fields are
// guarded by world.mu.
type source struct {
	world *world
	steps []step
	n     int

	known    map[string]bool
	complete bool // the last good answer was
	failing  bool // the last lookup has failed
	hung     bool // a lookup has hung: whether an answer was still used is not modeled
}

var errDown = errors.New("the registry is down")

// Lookup is one lookup. The model changes when it returns.
func (s *source) Lookup(ctx context.Context) ([]endpoint.Endpoint, error) {
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	st := s.steps[min(s.n, len(s.steps)-1)]
	s.n++
	now := endpointsOf(st.set)
	s.hung = s.hung || st.kind == hangs
	wait := func(c <-chan struct{}, d time.Duration) {
		w.mu.Unlock()
		defer w.mu.Lock()
		select {
		case <-c:
		case <-time.After(d):
		}
	}
	switch st.kind {
	case capped:
		for i := 0; len(now) < limit; i++ {
			now = append(now, endpoint.Endpoint{Addr: fmt.Sprint("more", i)})
		}
		now = now[:limit]
		fallthrough
	case full:
		s.failing = false
		if s.complete = len(now) < limit; s.complete {
			s.known = nil
		}
		s.learn(now)
		w.allComplete = w.allComplete || !slices.ContainsFunc(w.sources, func(s *source) bool { return !s.complete })
		return now, nil
	case part:
		if s.failing = true; s.learn(now) {
			s.complete = false
		}
		return now, errDown
	case expires:
		wait(ctx.Done(), time.Hour)
	case hangs:
		wait(nil, time.Minute)
		return nil, errDown
	}
	s.failing = true
	switch st.kind {
	case empty:
		return nil, nil
	case invalid:
		return append(now, now[0]), nil
	case panics:
		panic("the client of the registry is broken")
	case goexits:
		runtime.Goexit()
	}
	return nil, errDown
}

// learn adds endpoints to the model, and reports whether one is new.
func (s *source) learn(now []endpoint.Endpoint) (news bool) {
	if s.known == nil {
		s.known = make(map[string]bool)
	}
	before := len(s.known)
	for _, e := range now {
		s.known[e.Addr] = true
	}
	return len(s.known) != before
}

// receiver notes the updates of a resolver, and passes them on.
type receiver struct {
	of    endpoint.Resolver
	apply func(u endpoint.Update, last []endpoint.Endpoint) []endpoint.Endpoint

	mu   sync.Mutex
	all  []endpoint.Endpoint
	last endpoint.Update
	n    int
}

func (r *receiver) Watch(ctx context.Context, f func(endpoint.Update)) error {
	return r.of.Watch(ctx, func(u endpoint.Update) {
		r.mu.Lock()
		r.all, r.last, r.n = r.apply(u, r.all), u, r.n+1
		r.mu.Unlock()
		f(u)
	})
}

// sorted returns the addresses of a map or list in order.
func sorted(all []endpoint.Endpoint) (addrs []string) {
	for _, e := range all {
		addrs = append(addrs, e.Addr)
	}
	slices.Sort(addrs)
	return addrs
}

// subject is what runs through a history.
type subject struct {
	// build makes a resolver of the sources, which have intervals that differ.
	build func(sources []*source) (endpoint.Resolver, error)
	// apply is what a receiver makes of an update.
	apply func(u endpoint.Update, last []endpoint.Endpoint) []endpoint.Endpoint
}

func polling(i int) endpoint.Polling {
	return endpoint.Polling{
		Interval: 10*time.Second + time.Duration(i)*1_003*time.Millisecond, MinInterval: time.Second, Timeout: 2 * time.Second,
		Jitter: -1, MaxAnswers: limit,
	}
}

func funcOf(s *source, p endpoint.Polling) (endpoint.Resolver, error) {
	return endpoint.Func(endpoint.FuncConfig{Lookup: s.Lookup, Polling: p})
}

// genuine is the subject of the tests that must pass: one source alone, several in a Merge.
var genuine = subject{
	build: func(sources []*source) (endpoint.Resolver, error) {
		var all []endpoint.Resolver
		for i, s := range sources {
			r, err := funcOf(s, polling(i))
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
		if len(all) == 1 {
			return all[0], nil
		}
		return endpoint.Merge(all...), nil
	},
	apply: func(u endpoint.Update, last []endpoint.Endpoint) []endpoint.Endpoint {
		all, _ := u.Apply(last)
		return all
	},
}

// coverage counts what happened in the histories.
type coverage struct{ updates, removed, failures, kept int }

// run takes the subject through the history and returns the first violation.
func run(t *testing.T, s subject, h history, c *coverage) (violation error) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		steps := 0
		for _, answers := range h {
			w.sources = append(w.sources, &source{world: w, steps: answers})
			steps = max(steps, len(answers))
		}
		r, err := s.build(w.sources)
		if err != nil {
			violation = err
			return
		}
		rec := &receiver{of: r, apply: s.apply}
		set, err := endpoint.NewSet(endpoint.SetConfig{Resolver: rec, Ejector: endpoint.Never()})
		if err != nil {
			violation = err
			return
		}
		var before []string
		for range 15*steps + 30 { // longer than an interval and a timeout for each answer
			time.Sleep(time.Second + 7*time.Microsecond)
			synctest.Wait()
			if before, violation = w.check(rec, set, before, c); violation != nil {
				break
			}
		}
		w.mu.Lock()
		for _, s := range w.sources {
			if !s.hung && s.n < len(s.steps) && violation == nil {
				violation = fmt.Errorf("only %d of %d answers were asked for", s.n, len(s.steps))
			}
		}
		w.mu.Unlock()
		if err := set.Close(context.Background()); err != nil && violation == nil {
			violation = err
		}
		time.Sleep(2 * time.Minute) // lookups that hang end
	})
	return violation
}

// check compares the receiver and the Set with the models.
func (w *world) check(rec *receiver, set *endpoint.Set, before []string, c *coverage) (now []string, violation error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	known := make(map[string]bool)
	complete, failing, hung := true, false, false
	for _, s := range w.sources {
		for addr := range s.known {
			known[addr] = true
		}
		complete, failing, hung = complete && s.complete, failing || s.failing, hung || s.hung
	}
	now = sorted(rec.all)
	wasComplete := w.allComplete
	w.allComplete = complete
	var removed []string
	for _, addr := range before {
		if !slices.Contains(now, addr) {
			removed = append(removed, addr)
		}
	}
	c.updates += rec.n
	rec.n = 0
	c.removed += len(removed)
	if rec.last.Err != nil {
		c.failures++
		c.kept += len(now)
	}
	wrong := func(format string, args ...any) {
		var models []string
		for _, s := range w.sources {
			models = append(models, fmt.Sprintf("%v complete=%v failing=%v", s.known, s.complete, s.failing))
		}
		violation = errors.Join(violation, fmt.Errorf(format+"; the sources are %s", append(args, strings.Join(models, ", "))...))
	}
	if len(before) > 0 && len(now) == 0 {
		wrong("the endpoints %v became none", before)
	}
	if len(removed) > 0 && !wasComplete {
		wrong("%v were removed without a complete answer", removed)
	}
	for addr := range known {
		if !slices.Contains(now, addr) {
			wrong("%s is missing from %v", addr, now)
		}
	}
	if (complete || len(w.sources) == 1) && len(now) != len(known) && len(known) > 0 {
		wrong("the endpoints are %v, want exactly %v", now, known)
	}
	if !hung && (rec.last.Err != nil) != failing {
		wrong("the error is %v", rec.last.Err)
	}
	if rec.last.Complete && len(rec.last.Endpoints) == 0 {
		wrong("an empty update is called complete")
	}
	var members []endpoint.Endpoint
	for _, state := range set.Snapshot().Endpoints {
		members = append(members, state.Endpoint)
	}
	if got := sorted(members); !slices.Equal(got, now) {
		wrong("the Set has %v, the receiver %v", got, now)
	}
	return now, violation
}

// TestHistories runs random histories of one source, and of several in a Merge.
func TestHistories(t *testing.T) {
	for sources := 1; sources <= 3; sources++ {
		t.Run(fmt.Sprintf("%d sources", sources), func(t *testing.T) {
			var c coverage
			gen := drawHistory(sources)
			rapid.Check(t, func(rt *rapid.T) {
				h := gen.Draw(rt, "history")
				if err := run(t, genuine, h, &c); err != nil {
					rt.Fatal(err)
				}
			})
			t.Logf("%+v", c)
			if c.removed == 0 || c.failures == 0 || c.kept == 0 {
				t.Errorf("the histories cover only %+v", c)
			}
		})
	}
}

// TestPlantedFaults checks that the harness detects resolvers and receivers with the faults of
// others.
func TestPlantedFaults(t *testing.T) {
	replace := func(change func(*source, endpoint.Polling) (endpoint.Resolver, error)) subject {
		s := genuine
		s.build = func(sources []*source) (endpoint.Resolver, error) { return change(sources[0], polling(0)) }
		return s
	}
	lookup := func(change func([]endpoint.Endpoint, error) ([]endpoint.Endpoint, error)) subject {
		return replace(func(s *source, p endpoint.Polling) (endpoint.Resolver, error) {
			return endpoint.Func(endpoint.FuncConfig{Polling: p, Lookup: func(ctx context.Context) ([]endpoint.Endpoint, error) {
				return change(s.Lookup(ctx))
			}})
		})
	}
	received := func(apply func(u endpoint.Update, last []endpoint.Endpoint) []endpoint.Endpoint) subject {
		return subject{build: genuine.build, apply: apply}
	}
	for name, s := range map[string]subject{
		// resilient-httpclient #85
		"capped answers are complete": replace(func(s *source, p endpoint.Polling) (endpoint.Resolver, error) {
			p.MaxAnswers = 0
			return funcOf(s, p)
		}),
		// Envoy #41771
		"no answer is complete": replace(func(s *source, p endpoint.Polling) (endpoint.Resolver, error) {
			p.MaxAnswers = 1
			return funcOf(s, p)
		}),
		"a part is complete": lookup(func(all []endpoint.Endpoint, err error) ([]endpoint.Endpoint, error) {
			if len(all) > 0 {
				err = nil
			}
			return all, err
		}),
		"a part is lost": lookup(func(all []endpoint.Endpoint, err error) ([]endpoint.Endpoint, error) {
			if err != nil {
				all = nil
			}
			return all, err
		}),
		// Envoy #9927, grpc-go #3252
		"a failure empties": received(func(u endpoint.Update, last []endpoint.Endpoint) []endpoint.Endpoint {
			if u.Err != nil {
				return nil
			}
			return genuine.apply(u, last)
		}),
		"the last answer replaces": received(func(u endpoint.Update, _ []endpoint.Endpoint) []endpoint.Endpoint {
			return u.Endpoints[:len(u.Endpoints)/2]
		}),
		// grpc-go #3353
		"looked up again only after a failure": replace(func(s *source, p endpoint.Polling) (endpoint.Resolver, error) {
			p.Interval = 24 * time.Hour
			return funcOf(s, p)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			gen := drawHistory(1)
			for seed := range 200 {
				var c coverage
				if err := run(t, s, gen.Example(seed), &c); err != nil {
					t.Logf("detected by history %d: %v", seed, err)
					return
				}
			}
			t.Error("the fault was not detected")
		})
	}
}
