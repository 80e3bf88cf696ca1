package endpoints

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/endpoint"
	"pgregory.net/rapid"
)

const names = "abcdefghijkl"

// op is one step of a history.
type op struct {
	kind     string
	list     []endpoint.Endpoint // of "update"
	complete bool
	addr     string
	evidence endpoint.Evidence
	n        int
	d        time.Duration
}

func (o op) String() string {
	switch o.kind {
	case "update":
		var s []string
		for _, e := range o.list {
			s = append(s, fmt.Sprintf("%s/%d", e.Addr, e.Priority))
		}
		return fmt.Sprintf("update %s complete=%v", strings.Join(s, " "), o.complete)
	case "pass":
		return fmt.Sprint("pass ", o.d)
	case "observe":
		return fmt.Sprintf("observe %s %v status=%d code=%d × %d", o.addr, o.evidence.Kind, o.evidence.Status, o.evidence.Code, o.n)
	}
	return o.kind + " " + o.addr
}

// history is a configuration and what happens.
type history struct {
	cfg   endpoint.SetConfig
	drain time.Duration // how long OnLeave takes
	ops   []op
}

func (h history) String() string {
	s := fmt.Sprintf("MaxEjected %v PanicBelow %v SlowStart %v FailbackAfter %v FailoverBelow %v balancer %T drain %v",
		h.cfg.MaxEjected, h.cfg.PanicBelow, h.cfg.SlowStart, h.cfg.FailbackAfter, h.cfg.FailoverBelow, h.cfg.Balancer, h.drain)
	for i, o := range h.ops {
		s += fmt.Sprintf("\n%3d %v", i, o)
	}
	return s
}

func drawHistory(t *rapid.T) history {
	balancers := []endpoint.Balancer{
		endpoint.P2C(), endpoint.LeastLoaded(), endpoint.RoundRobin(), endpoint.PeakEWMA(endpoint.PeakEWMAConfig{}),
		endpoint.Rendezvous(), endpoint.Zone("z", 1.5, endpoint.RoundRobin()),
	}
	h := history{
		cfg: endpoint.SetConfig{
			Balancer:      rapid.SampledFrom(balancers).Draw(t, "balancer"),
			MaxEjected:    rapid.SampledFrom([]float64{0, 0, 0.1, 0.5, 1, -1}).Draw(t, "MaxEjected"),
			PanicBelow:    rapid.SampledFrom([]float64{0, 0, 0.9, 1, -1}).Draw(t, "PanicBelow"),
			SlowStart:     rapid.SampledFrom([]time.Duration{0, 30 * time.Second}).Draw(t, "SlowStart"),
			FailbackAfter: rapid.SampledFrom([]time.Duration{0, -1, 10 * time.Second}).Draw(t, "FailbackAfter"),
			FailoverBelow: rapid.SampledFrom([]float64{0, 0, 0.5, 1}).Draw(t, "FailoverBelow"),
			Choices:       rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "Choices"),
		},
		drain: rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(t, "drain"),
	}
	addr := rapid.Custom(func(t *rapid.T) string { return string(names[rapid.IntRange(0, len(names)-1).Draw(t, "i")]) })
	h.ops = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) (o op) {
		o.kind = rapid.SampledFrom([]string{"update", "observe", "observe", "observe", "observe", "down", "down", "up", "begin", "end", "pass", "pass"}).Draw(t, "kind")
		switch o.kind {
		case "update":
			o.complete = rapid.IntRange(0, 3).Draw(t, "complete") > 0
			for _, c := range names {
				if rapid.IntRange(0, 2).Draw(t, "listed") > 0 {
					o.list = append(o.list, endpoint.Endpoint{
						Addr: string(c), Priority: rapid.IntRange(0, 2).Draw(t, "priority") / 2,
						Weight: float64(rapid.IntRange(0, 2).Draw(t, "weight")), Zone: rapid.SampledFrom([]string{"", "z"}).Draw(t, "zone"),
					})
				}
			}
		case "observe":
			o.addr = addr.Draw(t, "addr")
			o.n = rapid.IntRange(1, 6).Draw(t, "n")
			o.evidence = endpoint.Evidence{
				Kind:   endpoint.Kind(rapid.IntRange(0, 8).Draw(t, "evidence")),
				Status: rapid.SampledFrom([]int{0, 401, 503}).Draw(t, "status"),
				Code:   rapid.SampledFrom([]int{0, 1001, 1006, 1008, 1011}).Draw(t, "code"),
			}
		case "pass":
			o.d = rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 10 * time.Second, time.Minute}).Draw(t, "d")
		default:
			o.addr = addr.Draw(t, "addr")
		}
		return o
	}), 1, 60).Draw(t, "ops")
	return h
}

// subject is what is checked: a Set, or one with a fault.
type subject interface {
	Rank(dst []string, key string) []string
	Snapshot() endpoint.Snapshot
}

var errDown = errors.New("down")

// world runs a history.
type world struct {
	h       history
	set     *endpoint.Set
	subject subject
	answers chan endpoint.Update

	mu      sync.Mutex
	listed  map[string]bool // as the answers say
	there   map[string]bool // OnJoin was called, OnLeave was not
	leaving map[string]bool // OnLeave runs
	down    map[string]bool
	probing map[string]bool
	passed  map[string]int // probes that have succeeded
	backs   []time.Time
	faults  []string

	uses map[string][]endpoint.Use
	load map[string]int
	last map[string]endpoint.State
	held int // the limit of ejections after the last step
	ok   map[string]int
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *world) Watch(ctx context.Context, f func(endpoint.Update)) error {
	for {
		select {
		case u := <-w.answers:
			f(u)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// prove runs h and returns what does not hold.
func prove(t *testing.T, h history, wrap func(*endpoint.Set) subject) (err error) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			h: h, answers: make(chan endpoint.Update), listed: map[string]bool{}, there: map[string]bool{}, leaving: map[string]bool{},
			down: map[string]bool{}, probing: map[string]bool{}, passed: map[string]int{}, uses: map[string][]endpoint.Use{},
			load: map[string]int{}, last: map[string]endpoint.State{}, ok: map[string]int{},
		}
		cfg := h.cfg
		cfg.Resolver, cfg.Probe, cfg.OnJoin, cfg.OnLeave, cfg.Trace = w, w.probe, w.join, w.leave, w.trace
		set, broken := endpoint.NewSet(cfg)
		if broken != nil {
			t.Fatal(broken)
		}
		w.set, w.subject = set, wrap(set)
		for i, o := range h.ops {
			w.step(o)
			synctest.Wait()
			w.check(o)
			if len(w.faults) > 0 {
				err = fmt.Errorf("after step %d (%v): %s", i, o, strings.Join(w.faults, "; "))
				break
			}
		}
		if err == nil {
			w.recover()
			if len(w.faults) > 0 {
				err = fmt.Errorf("when all is well again: %s", strings.Join(w.faults, "; "))
			}
		}
		if broken := set.Close(context.Background()); broken != nil {
			t.Fatal(broken)
		}
	})
	return err
}

func (w *world) probe(ctx context.Context, addr string) error {
	w.mu.Lock()
	if w.probing[addr] {
		w.fault("two probes of %s at once", addr)
	}
	w.probing[addr] = true
	down := w.down[addr]
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.probing[addr] = false
		w.mu.Unlock()
	}()
	select {
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	if down {
		return errDown
	}
	w.mu.Lock()
	w.passed[addr]++
	w.mu.Unlock()
	return nil
}

func (w *world) join(e endpoint.Endpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.there[e.Addr] || w.leaving[e.Addr] {
		w.fault("%s joins while it is there", e.Addr)
	}
	w.there[e.Addr] = true
	return nil
}

func (w *world) leave(ctx context.Context, addr string) {
	w.mu.Lock()
	if !w.there[addr] || w.leaving[addr] {
		w.fault("%s leaves, but is not there", addr)
	}
	w.there[addr], w.leaving[addr] = false, true
	w.mu.Unlock()
	select {
	case <-time.After(w.h.drain):
	case <-ctx.Done():
	}
	w.mu.Lock()
	w.leaving[addr] = false
	w.mu.Unlock()
}

func (w *world) trace(e endpoint.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Kind {
	case endpoint.FailedBack:
		if n := len(w.backs); n > 0 && e.At.Sub(w.backs[n-1]) < endpoint.FailbackInterval {
			w.fault("failbacks %v apart", e.At.Sub(w.backs[n-1]))
		}
		w.backs = append(w.backs, e.At)
	case endpoint.Panicked:
		w.fault("panic: %v", e.Err)
	}
}

func (w *world) step(o op) {
	switch o.kind {
	case "update":
		if o.complete && len(o.list) > 0 {
			clear(w.listed)
		}
		for _, e := range o.list {
			w.listed[e.Addr] = true
		}
		w.answers <- endpoint.Update{Endpoints: o.list, Complete: o.complete}
	case "observe":
		for range o.n {
			w.set.Observe(o.addr, o.evidence)
		}
	case "down", "up":
		w.mu.Lock()
		w.down[o.addr] = o.kind == "down"
		w.mu.Unlock()
		if o.kind == "down" {
			for range 5 {
				w.set.Observe(o.addr, endpoint.Evidence{Kind: endpoint.DialFailed, Err: errDown})
			}
		}
	case "begin":
		w.uses[o.addr] = append(w.uses[o.addr], w.set.Begin(o.addr))
		if _, known := w.last[o.addr]; known {
			w.load[o.addr]++
		}
	case "end":
		if n := len(w.uses[o.addr]); n > 0 {
			w.uses[o.addr][n-1].End(endpoint.Evidence{Kind: endpoint.Success, Latency: time.Millisecond})
			w.uses[o.addr] = w.uses[o.addr][:n-1]
			w.load[o.addr] = max(0, w.load[o.addr]-1)
		}
	case "pass":
		time.Sleep(o.d)
	}
}

// limit returns how many of n may be ejected.
func (w *world) limit(n int) int {
	part := w.h.cfg.MaxEjected
	switch {
	case part < 0:
		return 0
	case part == 0:
		part = endpoint.DefaultMaxEjected
	}
	return max(0, min(n-1, max(1, int(math.Floor(part*float64(n)+1e-9)))))
}

// check checks what must always hold.
func (w *world) check(o op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	snap := w.subject.Snapshot()
	n, healthy, ejected := 0, 0, 0
	some, kept := false, []string(nil) // some is listed, and these are not
	ranked := make(map[string]endpoint.State)
	now := make(map[string]endpoint.State)
	for _, s := range snap.Endpoints {
		a := s.Endpoint.Addr
		now[a] = s
		if (s.Status == endpoint.Draining) != w.leaving[a] {
			w.fault("%s is %v, OnLeave runs: %v", a, s.Status, w.leaving[a])
		}
		if !(s.Share > 0) {
			w.fault("%s has the share %v", a, s.Share)
		}
		if s.Status == endpoint.Draining || s.Status == endpoint.Joining {
			if s.Ranked {
				w.fault("%s is ranked and %v", a, s.Status)
			}
			continue
		}
		if w.listed[a] {
			some = true
		} else {
			kept = append(kept, a)
		}
		n++
		if !s.Failing {
			healthy++
		}
		if s.Failing != (s.Cause != nil) {
			w.fault("%s: failing %v, cause %v", a, s.Failing, s.Cause)
		}
		out := s.Status == endpoint.Ejected || s.Status == endpoint.Probing
		if out {
			ejected++
			if !s.Failing {
				w.fault("%s is ejected and does not fail", a)
			}
			if s.Ranked && !snap.Panic {
				w.fault("%s is ejected and ranked", a)
			}
		}
		if s.Ranked {
			ranked[a] = s
			if s.Endpoint.Priority != snap.Priority {
				w.fault("%s is ranked, but the Priority in use is %d", a, snap.Priority)
			}
		}
	}
	// Those before stay only until one of the new ones has joined.
	if some && len(kept) > 0 {
		w.fault("%v are not listed, and have not left", kept)
	}
	for a := range w.listed {
		if _, known := now[a]; !known {
			w.fault("%s is listed and unknown", a)
		}
	}
	if limit := w.limit(n); ejected > limit {
		w.fault("%d of %d are ejected, the limit is %d", ejected, n, limit)
	}
	below := w.h.cfg.PanicBelow
	if below == 0 {
		below = endpoint.DefaultPanicBelow
	}
	if want := n > 0 && below > 0 && float64(healthy) < below*float64(n)-1e-9; snap.Panic != want {
		w.fault("%d of %d are healthy, panic is %v", healthy, n, snap.Panic)
	}
	w.checkRank(snap, now, n, len(ranked))
	w.checkReadmission(now, n)
	w.last, w.held = now, w.limit(n)
	for a, k := range w.passed {
		w.ok[a] = k
	}
	w.checkLoad(now, o)
}

func (w *world) checkRank(snap endpoint.Snapshot, now map[string]endpoint.State, n, ranked int) {
	choices := w.h.cfg.Choices
	if choices == 0 {
		choices = endpoint.DefaultChoices
	}
	rank := w.subject.Rank(nil, "key")
	if len(rank) > choices {
		w.fault("%d are ranked, at most %d should be", len(rank), choices)
	}
	if n > 0 && len(rank) == 0 {
		w.fault("nothing is ranked of %d", n)
	}
	if want := min(ranked, choices); len(rank) < want {
		w.fault("%d are ranked, %d may be", len(rank), want)
	}
	for i, a := range rank {
		s, known := now[a]
		switch {
		case slices.Contains(rank[:i], a):
			w.fault("%s is ranked twice", a)
		case !known || s.Status == endpoint.Draining || s.Status == endpoint.Joining:
			w.fault("%s is ranked, and is %v", a, s.Status)
		case (s.Status == endpoint.Ejected || s.Status == endpoint.Probing) && !snap.Panic:
			w.fault("%s is ranked and ejected", a)
		case i < min(ranked, choices) && !s.Ranked:
			w.fault("%s is ranked before those in use", a)
		}
	}
}

// checkReadmission: an ejection ends by a probe, by leaving, or because fewer may be ejected or
// others that are ejected have returned.
func (w *world) checkReadmission(now map[string]endpoint.State, n int) {
	out := func(s endpoint.State) bool { return s.Status == endpoint.Ejected || s.Status == endpoint.Probing }
	// One that returned while it drained had not joined yet when others left. It may still be
	// ejected, and does not count for the limit while it drains.
	lowest, returned := n, 0
	for a, before := range w.last {
		if after, known := now[a]; known && before.Status == endpoint.Draining && after.Status != endpoint.Draining {
			lowest--
			if out(after) {
				returned++
			}
		}
	}
	for a, before := range w.last {
		after, known := now[a]
		if !out(before) || !known || out(after) || after.Status == endpoint.Draining || after.Status == endpoint.Joining {
			continue
		}
		if w.passed[a] > w.ok[a] || w.limit(lowest)-returned < w.held || after.Begun < before.Begun || after.Ejections < before.Ejections {
			continue
		}
		if before.Since.Before(after.Since) && after.Probes < before.Probes {
			continue // it is another one that has the same address
		}
		w.fault("%s was readmitted without a probe: %+v, then %+v", a, before, after)
	}
}

// checkLoad compares the loads with the uses that have not ended. An endpoint that has left and returned begins anew.
func (w *world) checkLoad(now map[string]endpoint.State, o op) {
	for a := range w.load {
		if s, known := now[a]; !known || s.Begun == 0 {
			w.load[a] = 0
			w.uses[a] = nil
		}
	}
	for a, s := range now {
		if s.Load != w.load[a] && !(w.h.drain > 0 && s.Load < w.load[a]) {
			w.fault("the load of %s is %d, %d uses have not ended (%v)", a, s.Load, w.load[a], o)
		}
	}
}

// recover lets everything work for an hour.
func (w *world) recover() {
	w.mu.Lock()
	clear(w.down)
	w.mu.Unlock()
	time.Sleep(time.Hour)
	synctest.Wait()
	w.check(op{kind: "recover"})
	// Failing endpoints in use that the limit or panic keeps need a caller or a probe.
	for range 3 {
		for _, s := range w.subject.Snapshot().Endpoints {
			if s.Ranked {
				w.set.Observe(s.Endpoint.Addr, endpoint.Evidence{Kind: endpoint.Success})
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
	}
	snap := w.subject.Snapshot()
	best := math.MaxInt
	for _, s := range snap.Endpoints {
		best = min(best, s.Endpoint.Priority)
		if s.Failing || s.Status == endpoint.Ejected || s.Status == endpoint.Probing || s.Status == endpoint.Draining {
			w.fault("%s is %v: %v", s.Endpoint.Addr, s.Status, s.Cause)
		}
		if s.Ranked && s.Share < 1 && s.Status != endpoint.SlowStart {
			w.fault("%s has the share %v", s.Endpoint.Addr, s.Share)
		}
	}
	if len(snap.Endpoints) > 0 && (snap.Priority != best || snap.Panic) {
		w.fault("the Priority in use is %d, the best is %d; panic %v", snap.Priority, best, snap.Panic)
	}
}

func TestHistories(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := drawHistory(r)
		if err := prove(t, h, func(s *endpoint.Set) subject { return s }); err != nil {
			r.Fatalf("%v\nin the history\n%v", err, h)
		}
	})
}

// faulty changes what a Set says.
type faulty struct {
	*endpoint.Set
	rank     func(*endpoint.Set, []string) []string
	snapshot func(endpoint.Snapshot) endpoint.Snapshot
}

func (f *faulty) Rank(dst []string, key string) []string {
	dst = f.Set.Rank(dst, key)
	if f.rank != nil {
		dst = f.rank(f.Set, dst)
	}
	return dst
}

func (f *faulty) Snapshot() endpoint.Snapshot {
	s := f.Set.Snapshot()
	if f.snapshot != nil {
		s = f.snapshot(s)
	}
	return s
}

// TestHistoriesNoticeFaults plants faults, each of which some history must show.
func TestHistoriesNoticeFaults(t *testing.T) {
	first := func(s *endpoint.Set, status endpoint.Status) (addr string) {
		for _, e := range s.Snapshot().Endpoints {
			if e.Status == status {
				return e.Endpoint.Addr
			}
		}
		return ""
	}
	for name, f := range map[string]faulty{
		"nothing is ranked": {rank: func(_ *endpoint.Set, r []string) []string { return nil }},
		"one is ranked twice": {rank: func(_ *endpoint.Set, r []string) []string {
			if len(r) > 0 {
				r[len(r)-1] = r[0]
			}
			return r
		}},
		"a draining one is ranked": {rank: func(s *endpoint.Set, r []string) []string {
			if a := first(s, endpoint.Draining); a != "" && len(r) > 0 {
				r[0] = a
			}
			return r
		}},
		"an ejected one is ranked": {rank: func(s *endpoint.Set, r []string) []string {
			if a := first(s, endpoint.Ejected); a != "" && len(r) > 0 {
				r[0] = a
			}
			return r
		}},
		"the limit is exceeded": {snapshot: func(s endpoint.Snapshot) endpoint.Snapshot {
			for i := range s.Endpoints {
				if e := &s.Endpoints[i]; e.Failing && e.Status != endpoint.Draining {
					e.Status = endpoint.Ejected
				}
			}
			return s
		}},
		"a success readmits": {snapshot: func(s endpoint.Snapshot) endpoint.Snapshot {
			for i := range s.Endpoints {
				if e := &s.Endpoints[i]; e.Status == endpoint.Ejected && e.Failures == 0 {
					e.Status, e.Failing, e.Cause = endpoint.Healthy, false, nil
				}
			}
			return s
		}},
		"no panic": {snapshot: func(s endpoint.Snapshot) endpoint.Snapshot { s.Panic = false; return s }},
		"load is lost": {snapshot: func(s endpoint.Snapshot) endpoint.Snapshot {
			for i := range s.Endpoints {
				s.Endpoints[i].Load = 0
			}
			return s
		}},
	} {
		t.Run(name, func(t *testing.T) {
			draw := rapid.Custom(drawHistory)
			for seed := range 300 {
				err := prove(t, draw.Example(seed), func(s *endpoint.Set) subject {
					g := f
					g.Set = s
					return &g
				})
				if err != nil {
					return
				}
			}
			t.Error("no history shows the fault")
		})
	}
}
