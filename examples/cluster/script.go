package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/wspool/cluster"
)

const (
	// recovers is how long the outcome of an event is waited for.
	recovers = time.Minute

	// look is how often the script looks at the load.
	look = 25 * time.Millisecond

	// uneven is how many times the mean the most loaded server may have, in connections and in
	// replies of the last second, once an event is over.
	uneven = 1.5
)

// show is one run.
type show struct {
	settings
	display  *display
	registry registry
	client   *client
	began    time.Time

	columns []*column
	started []*process // all that were started
	past    []sample   // of the last second, and a little longer
	drawn   time.Time

	lateAt  time.Time // when an exchange last ended without a reply
	excused int       // such exchanges while a server was stopped
}

// column is one server and its successors, as they are shown.
type column struct {
	name   string
	server *process // nil: it has not started, or was removed
}

// sample is what the callers had seen at an instant.
type sample struct {
	at     time.Time
	counts counts
}

// run is the program without its arguments.
func run(ctx context.Context, s settings, w io.Writer) (err error) {
	sh := &show{settings: s, display: newDisplay(w), began: time.Now()}
	defer func() { // on every path: no process outlives the program
		if sh.client != nil {
			err = errors.Join(err, sh.client.close())
		}
		err = errors.Join(err, sh.end())
	}()
	if err := sh.play(ctx); err != nil {
		return err
	}
	return sh.verdict()
}

// play does all steps.
func (sh *show) play(ctx context.Context) error {
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		sh.columns = append(sh.columns, &column{name: name})
	}
	sh.display.title(sh)
	for _, step := range []func(context.Context) error{
		sh.start, sh.pause, sh.kill, sh.pause, sh.hang, sh.pause, sh.join, sh.pause, sh.restart, sh.pause,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	sh.display.summary(sh)
	return nil
}

// start starts five servers and the callers.
func (sh *show) start(ctx context.Context) error {
	for _, c := range sh.columns[:5] {
		if err := sh.launch(c, c.name); err != nil {
			return err
		}
	}
	sh.register()
	r, err := sh.registry.resolver()
	if err != nil {
		return err
	}
	if sh.client, err = newClient(sh.settings, r); err != nil {
		return err
	}
	return sh.event(ctx, fmt.Sprintf("%d callers begin", sh.callers), "every server has its share", sh.even)
}

// kill kills a server, and removes it from the registry a while later.
func (sh *show) kill(ctx context.Context) error {
	c := sh.columns[2]
	p := c.server
	p.kill()
	if err := sh.event(ctx, p.name+" is killed (kill -9)", p.name+" is ejected", func(cluster.Stats) bool { return sh.ejected(p) }); err != nil {
		return err
	}
	if err := sh.pause(ctx); err != nil {
		return err
	}
	c.server = nil
	sh.register()
	return sh.event(ctx, p.name+" is removed from the registry", "it is forgotten, and every server has its share", func(s cluster.Stats) bool {
		return find(s, p) == nil && sh.even(s)
	})
}

// hang stops a server, and continues it.
func (sh *show) hang(ctx context.Context) error {
	if sh.brief {
		return nil
	}
	p := sh.columns[3].server
	was, began := sh.client.counts().late, time.Now()
	switch err := p.stop(); {
	case unsupported(err):
		p.stopped = false
		sh.display.event(sh, "this system cannot stop a process; "+p.name+" goes on")
		return nil
	case err != nil:
		return err
	}
	if err := sh.event(ctx, p.name+" is stopped (SIGSTOP)", p.name+" is ejected", func(cluster.Stats) bool { return sh.ejected(p) }); err != nil {
		return err
	}
	// Exchanges that the server has kept end when their callers give up.
	if err := sh.await(ctx, "callers still wait for "+p.name, func(cluster.Stats) bool {
		return time.Since(began) > sh.patience && time.Since(sh.lateAt) > sh.patience
	}); err != nil {
		return err
	}
	sh.excused = sh.client.counts().late - was
	sh.display.event(sh, fmt.Sprintf("  no caller waits for it any more; %d exchanges had no reply", sh.excused))
	if err := sh.pause(ctx); err != nil {
		return err
	}
	if err := p.resume(); err != nil {
		return err
	}
	return sh.event(ctx, p.name+" continues (SIGCONT)", "every server has its share again", sh.even)
}

// join starts one more server.
func (sh *show) join(ctx context.Context) error {
	c := sh.columns[5]
	if err := sh.launch(c, c.name); err != nil {
		return err
	}
	sh.register()
	return sh.event(ctx, c.name+" joins", "every server has its share", sh.even)
}

// restart restarts all servers, one after the other.
func (sh *show) restart(ctx context.Context) error {
	for _, c := range sh.columns {
		old := c.server
		if old == nil {
			continue
		}
		if err := sh.launch(c, old.name+"2"); err != nil {
			return err
		}
		// The server begins to end before the registry says so, as it is in clusters that tell
		// both at the same time.
		old.quit()
		sh.register()
		if err := sh.event(ctx, old.name+" is restarted (1001) as "+c.server.name, "the old one is empty, the new one works", func(s cluster.Stats) bool {
			return find(s, old) == nil && sh.rate(c.server.name) > 0
		}); err != nil {
			return err
		}
		if err := old.wait(); err != nil {
			return err
		}
	}
	return sh.event(ctx, "all servers are restarted", "every server has its share", sh.even)
}

// launch starts a server for the column.
func (sh *show) launch(c *column, name string) error {
	p, err := launch(name)
	if err != nil {
		return err
	}
	c.server = p
	sh.started = append(sh.started, p)
	sh.display.event(sh, fmt.Sprintf("%s starts, process %d, at %s", name, p.cmd.Process.Pid, p.addr))
	return nil
}

// register writes the servers into the registry.
func (sh *show) register() {
	var all []*process
	for _, c := range sh.columns {
		if c.server != nil {
			all = append(all, c.server)
		}
	}
	sh.registry.set(all)
}

// event shows what has happened, and when its outcome is there.
func (sh *show) event(ctx context.Context, what, outcome string, done func(cluster.Stats) bool) error {
	sh.display.event(sh, what)
	began := time.Now()
	sh.past = sh.past[max(0, len(sh.past)-1):] // rates count from the event on
	if err := sh.await(ctx, "after \""+what+"\" the outcome is missing: "+outcome, done); err != nil {
		return err
	}
	sh.display.event(sh, fmt.Sprintf("  after %.1f s: %s", time.Since(began).Seconds(), outcome))
	return nil
}

// pause lets a while pass.
func (sh *show) pause(ctx context.Context) error {
	until := time.Now().Add(sh.pace)
	return sh.await(ctx, "", func(cluster.Stats) bool { return !time.Now().Before(until) })
}

// await shows the load until done, which fails after recovers, or if a server ends by itself.
func (sh *show) await(ctx context.Context, missing string, done func(cluster.Stats) bool) error {
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	deadline := time.Now().Add(recovers + sh.pace)
	for {
		stats := sh.sample()
		if done(stats) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s, within %v; the endpoints are %v", missing, recovers, stats.Endpoints)
		}
		for _, p := range sh.started {
			if err := p.crashed(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-ticks.C:
		}
	}
}

// sample notes what the callers have seen, and shows the load if it is time.
func (sh *show) sample() cluster.Stats {
	now, stats := time.Now(), sh.client.cluster.Stats()
	c := sh.client.counts()
	if n := len(sh.past); n > 0 && sh.past[n-1].counts.late != c.late {
		sh.lateAt = now
	}
	sh.past = append(sh.past, sample{now, c})
	for len(sh.past) > 2 && now.Sub(sh.past[1].at) >= time.Second {
		sh.past = sh.past[1:]
	}
	if now.Sub(sh.drawn) >= sh.display.every {
		sh.drawn = now
		sh.display.load(sh, stats)
	}
	return stats
}

// window returns the time that the samples cover.
func (sh *show) window() time.Duration {
	if len(sh.past) == 0 {
		return 0
	}
	return sh.past[len(sh.past)-1].at.Sub(sh.past[0].at)
}

// rate returns the replies of a server in a second, lately; all of them for "".
func (sh *show) rate(name string) float64 {
	d := sh.window()
	if d == 0 {
		return 0
	}
	first, last := sh.past[0].counts, sh.past[len(sh.past)-1].counts
	n := last.done - first.done
	if name != "" {
		n = last.replies[name] - first.replies[name]
	}
	return float64(n) / d.Seconds()
}

// find returns what the cluster knows of a server, or nil.
func find(s cluster.Stats, p *process) *cluster.EndpointStats {
	i := slices.IndexFunc(s.Endpoints, func(e cluster.EndpointStats) bool { return e.Endpoint.Addr == p.addr })
	if i < 0 {
		return nil
	}
	return &s.Endpoints[i]
}

// ejected reports whether the cluster does not use the server, because it fails.
func (sh *show) ejected(p *process) bool {
	e := find(sh.client.cluster.Stats(), p)
	return e != nil && (e.Status == endpoint.Ejected || e.Status == endpoint.Probing)
}

// even reports whether every server in the registry has its share of the replies of the last
// second.
func (sh *show) even(s cluster.Stats) bool {
	if sh.window() < time.Second {
		return false
	}
	most, least, total, n := 0.0, 0.0, 0.0, 0
	for _, c := range sh.columns {
		if c.server == nil {
			continue
		}
		r := sh.rate(c.server.name)
		if n++; n == 1 {
			least = r
		}
		most, least, total = max(most, r), min(least, r), total+r
	}
	mean := total / float64(n)
	return len(s.Endpoints) == n && most <= uneven*mean && least >= mean/uneven
}

// end ends all servers.
func (sh *show) end() error {
	var errs []error
	for _, p := range sh.started {
		if !p.killed && !p.ended {
			p.quit()
		}
	}
	for _, p := range sh.started {
		errs = append(errs, p.wait())
	}
	return errors.Join(errs...)
}

// verdict returns an error if an exchange has failed that had to succeed.
func (sh *show) verdict() error {
	c := sh.client.counts()
	var bad []string
	if c.failed > 0 {
		bad = append(bad, fmt.Sprintf("%d exchanges failed, such as: %s", c.failed, c.why))
	}
	if n := c.late - sh.excused; n > 0 {
		bad = append(bad, fmt.Sprintf("%d exchanges had no reply within %v while no server was stopped", n, sh.patience))
	}
	if bad != nil {
		return errors.New(strings.Join(bad, "; "))
	}
	return nil
}
