package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// names of the processes: the first ones start at once, the last is added.
var names = []string{"a", "b", "c", "d", "e"}

// stopFor is how long a process is stopped, if the run is long enough.
const stopFor = 15 * time.Second

// step is one thing that the script does. It waits for the outcome of the events before it, so
// that a slow machine makes the run longer and nothing else.
type step struct {
	at     time.Duration // at the earliest, since the start of the server
	atOnce bool          // it does not wait
	do     func() error
}

// event is something that happened, shown in the time line and in the chart.
type event struct {
	at    time.Duration
	what  string
	after string                         // its outcome; "": not known, or there is none
	open  func() (after string, ok bool) // looks for the outcome; nil: there is none
}

// show is one run.
type show struct {
	settings
	server *server
	engine *engine
	prefix string
	lines  *timeline

	processes []*process
	steps     []step // still to be done, in order
	events    []*event
	ended     []*process      // after endAll
	told      map[string]bool // of the last look at the reports: which conditions hold
}

// errInterrupted is the error of a run that a signal ended.
var errInterrupted = errors.New("interrupted")

// run is the whole program but its arguments. It fails if the server ever counted more
// sessions than allowed, if the fleet never used all of them, if it did not recover from an
// event, if a process failed, or if ctx ends.
func run(ctx context.Context, s settings, w io.Writer) (err error) {
	var plot *os.File
	if s.plot != "" { // now, as a run takes a minute
		if plot, err = os.Create(s.plot); err != nil {
			return err
		}
		defer plot.Close()
	}
	srv, err := listen(s.lease / 3)
	if err != nil {
		return err
	}
	defer srv.Close()
	// Keys of its own for each run: another one may use the same engine.
	prefix := fmt.Sprintf("respool:example:%d:%d:", os.Getpid(), time.Now().UnixNano())
	eng, err := startEngine(ctx, s, prefix)
	if err != nil {
		return err
	}
	defer eng.Close()
	sh := &show{settings: s, server: srv, engine: eng, prefix: prefix, lines: newTimeline(w), told: map[string]bool{}}
	defer func() { // on every path: no process outlives the program
		err = errors.Join(err, sh.endAll()) // does nothing the second time
	}()
	sh.lines.title(sh)
	sh.plan()
	failed := sh.play(ctx)
	total := time.Since(srv.began)
	failed = errors.Join(failed, sh.endAll())
	h := newHistory(srv.history(0), total)
	sh.lines.close(sh, h)
	if plot != nil {
		_, err := plot.Write(drawSVG(h, sh.events))
		failed = errors.Join(failed, err, plot.Close())
	}
	return errors.Join(failed, verdict(h, failed != nil))
}

// verdict is the error of a history that broke the rule, or, if it is that of a whole run,
// that cannot have shown anything.
func verdict(h *history, cut bool) error {
	switch {
	case h.most > limit:
		return fmt.Errorf("the server counted %d sessions at %s; %d are allowed", h.most, clock(h.mostAt), limit)
	case h.most < limit && !cut:
		return fmt.Errorf("the processes never used more than %d of %d sessions: the run shows nothing", h.most, limit)
	}
	return nil
}

// plan draws which process is killed, which is stopped, and when.
func (sh *show) plan() {
	rnd := rand.New(rand.NewPCG(sh.seed, 1))
	first := names[:len(names)-1]
	order := rnd.Perm(len(first))
	kill, stop, last := first[order[0]], first[order[1]], names[len(names)-1]
	at := func(part float64) time.Duration { // of the length, moved by up to a hundredth
		return time.Duration((part + 0.02*(rnd.Float64()-0.5)) * float64(sh.length))
	}
	for i, name := range first {
		seed := rnd.Uint64()
		sh.steps = append(sh.steps, step{time.Duration(i) * sh.lease / 20, true, func() error { return sh.start(name, seed) }})
	}
	seed := rnd.Uint64()
	sh.steps = append(sh.steps,
		step{at: at(0.20), do: func() error { return sh.kill(kill) }},
		step{at: at(0.33), do: func() error { return sh.stop(stop) }}, // and resume
		step{at: at(0.67), do: func() error { return sh.start(last, seed) }},
		step{at: at(0.77), do: sh.cut}, // and restart
	)
}

// then has do be the next step, not before d has passed.
func (sh *show) then(d time.Duration, do func() error) {
	sh.steps = slices.Insert(sh.steps, 0, step{at: time.Since(sh.server.began) + d, do: do})
}

// unanswered returns the events whose outcome is not known yet.
func (sh *show) unanswered() (all []string) {
	for _, e := range sh.events {
		if e.open != nil && e.after == "" {
			all = append(all, e.what)
		}
	}
	return all
}

// recovers bounds how long the outcome of an event is waited for, and the first use of all
// sessions.
func (sh *show) recovers() time.Duration { return max(20*sh.lease, time.Minute) }

// ready reports whether the outcome of all events is known, and all sessions have been in use
// once. It fails if that takes too long.
func (sh *show) ready(now time.Duration) (bool, error) {
	if n, _ := sh.server.peak(); n < limit {
		if now > sh.recovers() {
			return false, fmt.Errorf("the processes never used more than %d of %d sessions", n, limit)
		}
		return false, nil
	}
	open := sh.unanswered()
	if len(open) > 0 && now-sh.events[len(sh.events)-1].at > sh.recovers() {
		return false, fmt.Errorf("the fleet did not recover from: %s", strings.Join(open, "; "))
	}
	return len(open) == 0, nil
}

// play does the steps at their times, and shows what happens, until the end.
func (sh *show) play(ctx context.Context) error {
	const look = 25 * time.Millisecond
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	second := time.Duration(0)
	for {
		sh.watch()
		now := time.Since(sh.server.began)
		ready, err := sh.ready(now)
		if err != nil {
			return err
		}
		if len(sh.steps) > 0 && sh.steps[0].at <= now && (ready || sh.steps[0].atOnce) {
			do := sh.steps[0].do
			sh.steps = sh.steps[1:]
			if err := do(); err != nil {
				return err
			}
			continue // it may have an outcome to wait for
		}
		for _, p := range sh.processes {
			if err := p.crashed(); err != nil {
				return err
			}
		}
		if now >= second {
			sh.lines.row(sh, "")
			second = now.Truncate(time.Second) + time.Second
		}
		if ready && now >= sh.length && len(sh.steps) == 0 {
			return nil
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return errInterrupted
		}
	}
}

// happened shows an event. open returns its outcome, once that is known; nil: it has none.
func (sh *show) happened(open func() (string, bool), format string, args ...any) {
	e := &event{at: time.Since(sh.server.began), what: fmt.Sprintf(format, args...), open: open}
	sh.events = append(sh.events, e)
	sh.lines.row(sh, fmt.Sprintf("%d. %s", len(sh.events), e.what))
}

// start starts a process.
func (sh *show) start(name string, seed uint64) error {
	p, err := launch(order{
		Name: name, URL: sh.server.url(name), Kind: sh.engine.kind, Engine: sh.engine.address(),
		Prefix: sh.prefix, Lease: sh.lease, Lost: sh.lost, Seed: seed,
	})
	if err != nil {
		return err
	}
	sh.processes = append(sh.processes, p)
	if len(sh.processes) < len(names) {
		sh.lines.row(sh, fmt.Sprintf("%s starts, process %d", name, p.cmd.Process.Pid))
		return nil
	}
	sh.happened(sh.share(p), "%s joins, process %d", name, p.cmd.Process.Pid)
	return nil
}

// kill kills a process, as the kernel does that has no memory left.
func (sh *show) kill(name string) error {
	p := sh.process(name)
	lent := sh.lent(p)
	p.kill()
	sh.happened(lent, "%s is killed (kill -9)", name)
	return nil
}

// stop stops a process for longer than its lease lasts: resume waits until others have its
// sessions.
func (sh *show) stop(name string) error {
	d := min(stopFor, sh.length/4)
	p := sh.process(name)
	lent := sh.lent(p)
	if err := p.stop(); err != nil {
		return err
	}
	sh.happened(lent, "%s is stopped (SIGSTOP) for %s", name, clock(d))
	sh.then(d, func() error { return sh.resume(name) })
	return nil
}

func (sh *show) resume(name string) error {
	p := sh.process(name)
	if err := p.resume(); err != nil {
		return err
	}
	sh.happened(sh.share(p), "%s continues (SIGCONT)", name)
	return nil
}

// cut takes the engine away.
func (sh *show) cut() error {
	sh.engine.cut()
	sh.happened(nil, "the engine is down for %s", clock(sh.down))
	sh.then(sh.down, sh.restart)
	return nil
}

// restart starts the engine without its data.
func (sh *show) restart() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := sh.engine.forget(ctx); err != nil {
		return fmt.Errorf("restart of the engine: %w", err)
	}
	sh.engine.mend()
	began := time.Since(sh.server.began)
	sh.happened(func() (string, bool) {
		for _, p := range sh.processes {
			if s, r := p.look(); s == running && (r == nil || r.Lost > 0 || r.Learning) {
				return "", false
			}
		}
		if time.Since(sh.server.began)-began < 2*reportEvery {
			return "", false // the reports may be older than the restart
		}
		return "it grants again", true
	}, "the engine is back, without its data")
	return nil
}

func (sh *show) process(name string) *process {
	i := slices.IndexFunc(sh.processes, func(p *process) bool { return p.name == name })
	return sh.processes[i]
}

// lent returns a function that reports when others have the sessions that p has now: when all
// of them have ended, and all of the quota is in use after that.
func (sh *show) lent(p *process) func() (string, bool) {
	began := time.Since(sh.server.began)
	next, left := 0, 0                    // changes seen, and sessions of p after them
	over, gone := false, time.Duration(0) // whether its sessions have ended, and when
	return func() (string, bool) {
		for _, c := range sh.server.history(next) {
			next++
			if c.process == p.name && !over {
				left += c.delta
			}
			switch {
			case c.at < began || left > 0:
				continue
			case !over:
				over = true
				if c.process == p.name {
					gone = c.at - began
				}
			}
			if c.count >= limit {
				after := "its sessions ended at once"
				if gone > 100*time.Millisecond {
					after = "its sessions had ended after " + clock(gone)
				}
				return fmt.Sprintf("%s, others had them after %s", after, clock(c.at-began)), true
			}
		}
		return "", false
	}
}

// share returns a function that reports when p has its fair share.
func (sh *show) share(p *process) func() (string, bool) {
	began := time.Since(sh.server.began)
	fresh := began + 2*reportEvery // before, the last report may be from before a stop
	return func() (string, bool) {
		_, r := p.look()
		now := time.Since(sh.server.began)
		if now < fresh || r == nil || r.Target == 0 || r.Held < r.Target || r.Lost > 0 {
			return "", false
		}
		return fmt.Sprintf("it had its fair share, %d, after %s", r.Target, clock(now-began)), true
	}
}

// watch shows outcomes of events, and what the processes report of the engine.
func (sh *show) watch() {
	for i, e := range sh.events {
		if e.open == nil || e.after != "" {
			continue
		}
		if after, ok := e.open(); ok {
			e.after = after
			sh.lines.row(sh, fmt.Sprintf("%d. %s", i+1, after))
		}
	}
	var lost, learning []string
	for _, p := range sh.processes {
		if s, r := p.look(); s == running && r != nil {
			if r.Lost > 0 {
				lost = append(lost, p.name)
			}
			if r.Learning {
				learning = append(learning, p.name)
			}
		}
	}
	sh.changed("lost", lost, "the engine does not answer", "the engine answers")
	sh.changed("learning", learning, "the engine is learning: it grants nothing new for a lease", "the engine has learned")
}

// changed shows that a condition of some processes begins to hold, or no longer holds.
func (sh *show) changed(key string, of []string, begins, ends string) {
	if holds := len(of) > 0; holds != sh.told[key] {
		sh.told[key] = holds
		what := ends
		if holds {
			what = begins
		}
		sh.lines.row(sh, what)
	}
}

// endAll ends all processes, those that were stopped included, at the same time. It returns
// when all have exited. Calling it again does nothing.
func (sh *show) endAll() error {
	sh.engine.mend() // so that they can leave
	var ending sync.WaitGroup
	errs := make([]error, len(sh.processes))
	for i, p := range sh.processes {
		ending.Go(func() { errs[i] = p.end(3 * leaving) })
	}
	ending.Wait()
	sh.ended = append(sh.ended, sh.processes...)
	sh.processes = nil
	return errors.Join(errs...)
}

// clock returns d in seconds, to a tenth.
func clock(d time.Duration) string {
	return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
}
