package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// A soak is one run. It is the coordinator: it stops the load and lets it go on.
type soak struct {
	*load
	clock    *clock
	sections []section
	viewer   *viewer
	points   []point
	began    time.Time
	opsTotal int64
	lastLine time.Time
	stuck    bool // an operation does not end: nothing can be closed
}

// run returns whether there was no violation. It ends when the time is over, ctx ends, or at the
// first violation.
func run(ctx context.Context, s settings, out io.Writer) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before := measure(0)
	r := &soak{load: newLoad(s, out, cancel), began: time.Now()}
	r.clock = &clock{began: r.began}
	r.print("soak: -for %v -seed %d, a checkpoint each %v, %d callers of each section, %d processors", s.length, s.seed, s.check, s.callers, runtime.GOMAXPROCS(0))
	var clocked sync.WaitGroup
	clocked.Go(func() { r.clock.run(r.stop) })
	if err := r.build(); err != nil {
		r.violation("soak", "it cannot begin: %v", err)
	} else {
		r.checkpoint(ctx)
		if ctx.Err() == nil {
			r.begin()
			r.wait(ctx)
		}
	}
	close(r.stop)
	r.end(ctx)
	clocked.Wait()
	if !r.stuck {
		r.settled(before)
	}
	return r.verdict()
}

func newLoad(s settings, out io.Writer, end func()) *load {
	return &load{
		settings: s, journal: &journal{began: time.Now(), out: out, end: end},
		stop: make(chan struct{}),
	}
}

// A part is a section that can be built.
type part struct {
	name  string
	build func(b *builder) (section, error)
}

// parts are all sections.
var parts = []part{
	{"sessions", func(b *builder) (section, error) {
		t, err := b.lines("sessions", b.server, true)
		if err != nil {
			return nil, err
		}
		s := &sessions{name: "sessions", load: b.load, target: t, secure: b.client, most: 8, resets: true}
		compositions := b.source()
		s.config = func(g *generation, c *resource.Config[*session]) error { return composed(compositions, g, c, b.plant) }
		_, err = s.open()
		return s, err
	}},
	{"plain", func(b *builder) (section, error) {
		t, err := b.lines("plain", nil, false)
		if err != nil {
			return nil, err
		}
		s := &sessions{name: "plain", load: b.load, target: t, most: 10, floor: 2}
		s.config = func(*generation, *resource.Config[*session]) error { return nil }
		_, err = s.open()
		return s, err
	}},
	{"keyed", func(b *builder) (section, error) {
		k := &keyed{load: b.load, total: 12, secure: b.client}
		for i := range 3 {
			secure := b.server
			if i > 0 {
				secure = nil
			}
			t, err := b.lines(fmt.Sprint("keyed ", i), secure, false)
			if err != nil {
				return nil, err
			}
			k.servers = append(k.servers, t)
		}
		return k, k.open()
	}},
	{"quota", func(b *builder) (section, error) {
		q := &quotas{load: b.load, ledger: &ledger{Memory: fleet.NewMemory(), rand: b.source()}}
		q.ledger.Begin(quotaName)
		shared := &allotment{most: quotaLimit, excused: b.clock.excused}
		for i := range 3 {
			name := fmt.Sprint("quota ", i)
			t, err := b.lines(name, nil, false)
			if err != nil {
				return nil, err
			}
			s := &sessions{name: name, load: b.load, target: t, most: quotaLimit - 2, config: q.config, shared: shared}
			if _, err := s.open(); err != nil {
				return nil, err
			}
			q.pools = append(q.pools, s)
		}
		return q, nil
	}},
	{"exchange", func(b *builder) (section, error) {
		t, err := b.messages("exchange", b.server, false, func(*wsServer) {})
		if err != nil {
			return nil, err
		}
		s := &sockets{name: "exchange", load: b.load, target: t, secure: b.client, most: 8}
		return s, s.open()
	}},
	{"hand", func(b *builder) (section, error) {
		t, err := b.messages("hand", nil, true, func(s *wsServer) { s.pushes = true })
		if err != nil {
			return nil, err
		}
		s := &sockets{name: "hand", load: b.load, target: t, most: 8, byHand: true}
		return s, s.open()
	}},
	{"mux", func(b *builder) (section, error) {
		ran := newRuns()
		t, err := b.messages("mux", b.server, true, func(s *wsServer) { s.pushes, s.calls, s.runs = true, true, ran })
		if err != nil {
			return nil, err
		}
		c := &calls{load: b.load, target: t, secure: b.client, most: 4, caller: caller{name: "mux", runs: ran, repeats: true}}
		return c, c.open()
	}},
	{"cluster", func(b *builder) (section, error) {
		c := &clusters{load: b.load, total: 12, caller: caller{name: "cluster"}}
		for i := range 4 {
			t, err := b.messages(fmt.Sprint("endpoint-", i), nil, true, func(*wsServer) {})
			if err != nil {
				return nil, err
			}
			c.servers = append(c.servers, t)
		}
		return c, c.open()
	}},
}

// partNames returns the names of all sections.
func partNames() (all []string) {
	for _, p := range parts {
		all = append(all, p.name)
	}
	return all
}

// A builder makes what sections consist of.
type builder struct {
	*load
	clock          *clock
	server, client *tls.Config
	sources        uint64 // generators of random numbers so far
}

// source returns a generator of random numbers, which follows from the seed and from how many there
// were before.
func (b *builder) source() *rand.Rand {
	b.sources++
	return rand.New(rand.NewPCG(b.seed, 1<<32+b.sources))
}

func (b *builder) lines(name string, secure *tls.Config, resets bool) (*target, error) {
	s, err := newTCPServer(name, b.journal, secure, resets, b.plant)
	if err != nil {
		return nil, err
	}
	return newTarget(name, b.journal, s, true, b.source())
}

func (b *builder) messages(name string, secure *tls.Config, splits bool, set func(*wsServer)) (*target, error) {
	s, err := newWSServer(name, b.journal, secure, b.plant)
	if err != nil {
		return nil, err
	}
	set(s)
	return newTarget(name, b.journal, s, splits, b.source())
}

// build makes the sections, without load.
func (r *soak) build() error {
	b := &builder{load: r.load, clock: r.clock}
	var err error
	if b.server, b.client, err = testkit.NewCertificate(); err != nil {
		return err
	}
	b.client.ServerName = "127.0.0.1"
	for _, p := range parts {
		if !slices.Contains(r.only, p.name) {
			continue
		}
		s, err := p.build(b)
		if err != nil {
			return fmt.Errorf("section %s: %w", p.name, err)
		}
		r.sections = append(r.sections, s)
	}
	r.viewer, err = newViewer(r.load)
	return err
}

// targets returns those of all sections.
func (r *soak) targets() (all []*target) {
	for _, s := range r.sections {
		all = append(all, s.targets()...)
	}
	return all
}

// begin starts the load.
func (r *soak) begin() {
	for _, s := range r.sections {
		s.start(r.load)
	}
	for _, t := range r.targets() {
		r.hire(func() { t.script(r.stop, &r.gate) })
	}
	r.viewer.start(r.load)
}

// wait has the load run until the end, with checkpoints and lines of progress.
func (r *soak) wait(ctx context.Context) {
	r.lastLine = time.Now()
	over := time.NewTimer(r.length)
	check, line := time.NewTicker(r.check), time.NewTicker(r.progress)
	defer over.Stop()
	defer check.Stop()
	defer line.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			select {
			case <-check.C: // both were due, which happens where the processors are busy
				r.checkpoint(ctx)
			default:
			}
			return
		case <-check.C:
			r.checkpoint(ctx)
		case <-line.C:
			r.line()
		}
	}
}

// line prints a line of progress.
func (r *soak) line() {
	now := time.Now()
	_, p99 := r.took.take(0.99)
	done := r.done.Load()
	rate := float64(done-r.opsTotal) / now.Sub(r.lastLine).Seconds()
	r.opsTotal, r.lastLine = done, now
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.print("%9s  %6.0f ops/s  p99 %-8v %8d failed %4d outages survived %7d dials  %d violations  %4d goroutines  %6.1f MiB  %4d fds",
		now.Sub(r.began).Round(time.Second), rate, p99.Round(10*time.Microsecond), r.failed.Load(), r.outages(), r.dials(), r.broken(),
		runtime.NumGoroutine(), float64(m.HeapAlloc)/(1<<20), descriptors())
}

func (r *soak) outages() (n int64) {
	for _, t := range r.targets() {
		n += t.outages()
	}
	return n
}

func (r *soak) dials() (n int64) {
	for _, s := range r.sections {
		n += s.dials()
	}
	return n
}

// The bounds of a checkpoint. To come to rest may take defaultLooks, each after lookEvery: time in
// which the process stands still does not count.
const (
	lookEvery    = 10 * time.Millisecond
	defaultLooks = 3000
	probeWait    = 30 * time.Second
	gateWait     = time.Minute // longer than closeWait
)

// closeGate waits for the operations that run. It returns false if one does not end.
func (r *soak) closeGate() bool {
	closed := make(chan struct{})
	go func() {
		r.gate.Lock()
		close(closed)
	}()
	for limit := time.After(gateWait); ; {
		select {
		case <-closed:
			return true
		case <-limit:
		}
		if r.clock.excused() {
			limit = time.After(gateWait)
			continue
		}
		stacks := make([]byte, 256<<10)
		stacks = stacks[:runtime.Stack(stacks, true)]
		r.violation("soak", "an operation has not ended in %v; the goroutines:\n%s", gateWait, stacks)
		r.stuck = true
		return false
	}
}

// checkpoint stops the load, checks everything, and lets the load go on.
func (r *soak) checkpoint(ctx context.Context) {
	if r.stuck || !r.closeGate() {
		return
	}
	defer r.gate.Unlock()
	for _, t := range r.targets() {
		t.heal()
	}
	for _, s := range r.sections {
		s.calm()
	}
	r.probe()
	if r.broken() > 0 {
		return
	}
	for _, s := range r.sections {
		for _, text := range s.always() {
			r.violation(s.label(), "%s", text)
		}
	}
	if s, text := r.await(section.rest, nil); text != "" {
		r.violation(s.label(), "it does not come to rest: %s", text)
		return
	}
	for _, s := range r.sections {
		for _, text := range s.once() {
			r.violation(s.label(), "%s", text)
		}
	}
	if s, text := r.await(section.bare, section.empty); text != "" {
		r.violation(s.label(), "it does not become empty after a reset: %s", text)
		return
	}
	r.take()
}

// probe checks that each section serves a caller.
func (r *soak) probe() {
	var all sync.WaitGroup
	for _, s := range r.sections {
		all.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), probeWait)
				err := s.probe(ctx)
				cancel()
				if err == nil {
					return
				}
				if !r.clock.excused() {
					r.violation(s.label(), "no caller is served within %v after the faults have ended: %+v", probeWait, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// await looks at all sections until what returns "" for each of them in one round, and calls begin, if
// it is not nil, before the first round and again from time to time. It returns a section that is
// late, and why.
func (r *soak) await(what func(section) string, begin func(section)) (late section, text string) {
	for i := range r.looks {
		if begin != nil && i%50 == 0 {
			for _, s := range r.sections {
				if what(s) != "" || i == 0 {
					begin(s)
				}
			}
		}
		late, text = nil, ""
		for _, s := range r.sections {
			if why := what(s); why != "" {
				late, text = s, why
				break
			}
		}
		if text == "" {
			return nil, ""
		}
		time.Sleep(lookEvery) // between two looks at what other goroutines do
	}
	return late, text
}

// counts returns the point of now without the heap and without the goroutines of the load.
func (r *soak) counts() point {
	return point{goroutines: runtime.NumGoroutine() - int(r.crew.Load()), descriptors: descriptors()}
}

// take notes what the process uses, and compares it with the first checkpoint.
func (r *soak) take() {
	p := measure(time.Since(r.began))
	for i := 0; ; i++ { // goroutines that are about to end, and those of timers
		now := r.counts()
		p.goroutines, p.descriptors = now.goroutines, now.descriptors
		if len(r.points) == 0 || i >= r.looks/10 || leftover(r.points[0], p) == "" {
			break
		}
		time.Sleep(lookEvery) // between two looks at what other goroutines do
	}
	if len(r.points) > 0 {
		if text := leftover(r.points[0], p); text != "" {
			stacks := make([]byte, 256<<10)
			stacks = stacks[:runtime.Stack(stacks, true)]
			r.violation("soak", "drift at rest: %s; the goroutines:\n%s", text, stacks)
		}
	}
	r.points = append(r.points, p)
	if d := heapDrift(r.points, warmUp); d.grows() {
		r.violation("soak", "drift: %v", d)
	}
}

// end ends the load and all sections, and checks what they leave.
func (r *soak) end(ctx context.Context) {
	if r.broken() == 0 {
		r.checkpoint(ctx)
	}
	if r.stuck {
		return
	}
	r.workers.Wait()
	for _, f := range r.planted {
		f()
	}
	if r.viewer != nil {
		r.viewer.close()
	}
	var all sync.WaitGroup
	for _, s := range r.sections {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), closeWait)
			defer cancel()
			for _, text := range s.close(ctx) {
				r.violation(s.label(), "%s", text)
			}
		})
	}
	all.Wait()
	for _, t := range r.targets() {
		t.close()
	}
}

// settled checks that everything has ended.
func (r *soak) settled(before point) {
	if r.broken() > 0 {
		return
	}
	for range r.looks / 10 {
		if leftover(before, r.counts()) == "" {
			return
		}
		time.Sleep(lookEvery) // goroutines that are about to end
	}
	now := r.counts()
	stacks := make([]byte, 256<<10)
	stacks = stacks[:runtime.Stack(stacks, true)]
	r.violation("soak", "I6: after everything was closed there are %s; the goroutines:\n%s", leftover(before, now), stacks)
}

// verdict prints the last line.
func (r *soak) verdict() bool {
	word := "PASS"
	if r.broken() > 0 {
		word = "FAIL"
	}
	var first, last point
	if len(r.points) > 0 {
		first, last = r.points[0], r.points[len(r.points)-1]
	}
	r.print("%s: %v, seed %d: %d operations, %d failed, %d dials, %d faults, %d outages survived, %d checkpoints, %d violations; at rest %d goroutines (%d at first), %d fds (%d), %.2f MiB (%.2f); %v; stood still %d times",
		word, time.Since(r.began).Round(100*time.Millisecond), r.seed, r.done.Load(), r.failed.Load(), r.dials(), r.faults.Load(), r.outages(), len(r.points), r.broken(),
		last.goroutines, first.goroutines, last.descriptors, first.descriptors, float64(last.heap)/(1<<20), float64(first.heap)/(1<<20),
		heapDrift(r.points, warmUp), r.clock.times.Load())
	for _, t := range r.tallies {
		r.print("  %-12s %9d operations, %9d failed", t.name, t.done.Load(), t.failed.Load())
	}
	if word == "FAIL" {
		r.print("the faults and choices again: go run ./internal/proof/soak -for %v -check %v -callers %d -only %s -seed %d", r.length, r.check, r.callers, strings.Join(r.only, ","), r.seed)
	}
	return word == "PASS"
}
