package fleet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/internal/redisd"
	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/policy/fleet"
)

// Times of a fleet. A session of a stopped process is over for the server after silence, and
// so before the ledger lends its unit again, since silence and the time between two renewals
// are less than the lease.
const (
	lease   = 3 * time.Second
	margin  = time.Second
	beat    = 100 * time.Millisecond
	silence = 500 * time.Millisecond
	renewal = lease / 3
)

// seed returns RESPOOL_SEED, or a random seed, and logs it.
func seed(t testing.TB) uint64 {
	t.Helper()
	s := rand.Uint64()
	if text, set := os.LookupEnv("RESPOOL_SEED"); set {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("RESPOOL_SEED: %v", err)
		}
		s = n
	}
	t.Logf("RESPOOL_SEED=%d", s)
	return s
}

// process is one child with a relay of its own to the engine.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	way  *relay.Relay
	gone chan struct{}

	mu      sync.Mutex
	last    report
	stopped bool // by a signal; of the goroutine of the test
	cut     bool // from the engine; of the goroutine of the test
}

// fleetOf is what a test runs.
type fleetOf struct {
	t         testing.TB
	engine    *redisd.Server
	judge     *judge
	orders    orders
	processes []*process
	born      int
	lost      func(p *process) // called when a child reports that it has lost the ledger; nil: nothing
}

// start starts one more child.
func (f *fleetOf) start() *process {
	f.t.Helper()
	f.born++
	o := f.orders
	o.Name = fmt.Sprintf("p%02d", f.born)
	p := &process{name: o.Name, gone: make(chan struct{})}
	if o.Master == "" {
		way, err := relay.New(f.engine.Addr())
		if err != nil {
			f.t.Fatal(err)
		}
		p.way = way
		o.Engine = way.Addr()
	}
	text, err := json.Marshal(o)
	if err != nil {
		f.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), asChild+"="+string(text))
	p.cmd.Stderr = io.Discard // go-redis logs each failed dial
	if testing.Verbose() && os.Getenv("RESPOOL_FLEET_LOG") != "" {
		p.cmd.Stderr = os.Stderr
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		f.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.judge.note("%s starts", p.name)
	go func() {
		defer close(p.gone)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r report
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				continue // the line of a process that was killed
			}
			p.mu.Lock()
			old := p.last
			p.last = r
			p.mu.Unlock()
			if r.Lost > 0 && f.lost != nil {
				f.lost(p) // for any reason: a full disk, a busy machine
			}
			if r.Granted != old.Granted || r.Target != old.Target || r.Learning != old.Learning || (r.Lost > 0) != (old.Lost > 0) || r.OverTotal != old.OverTotal {
				f.judge.note("%s: granted %d, held %d, target %d, learning %v, lost %v, over %d %s", p.name, r.Granted, r.Held, r.Target, r.Learning,
					r.Lost.Round(time.Millisecond), r.OverTotal, r.Cause)
			}
		}
		p.cmd.Wait() // the exit status does not matter
	}()
	f.processes = append(f.processes, p)
	f.t.Cleanup(func() { f.kill(p) })
	return p
}

// report returns the newest report of a child.
func (p *process) report() report {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// kill kills a child, and waits for its end. Calling it again does nothing.
func (f *fleetOf) kill(p *process) {
	f.judge.note("%s is killed", p.name)
	p.cmd.Process.Kill()
	p.in.Close()
	select {
	case <-p.gone:
	case <-time.After(30 * time.Second):
		f.t.Errorf("%s does not end", p.name)
	}
	if p.way != nil {
		p.way.Close()
	}
	f.processes = slices.DeleteFunc(f.processes, func(o *process) bool { return o == p })
}

// leave asks a child to give everything back and to end.
func (f *fleetOf) leave(p *process) {
	f.judge.note("%s leaves", p.name)
	io.WriteString(p.in, "leave\n")
	select {
	case <-p.gone:
	case <-time.After(30 * time.Second):
		f.t.Errorf("%s does not leave", p.name)
	}
	f.kill(p)
}

func (f *fleetOf) stop(p *process, yes bool) {
	p.stopped = yes
	if yes {
		f.judge.note("%s is stopped", p.name)
		outside.Stop(f.t, p.cmd.Process)
		return
	}
	f.judge.note("%s continues", p.name)
	p.cmd.Process.Signal(syscall.SIGCONT)
}

// cut cuts a child off from the engine, in one of three ways, or connects it again.
func (f *fleetOf) cut(p *process, how int) {
	p.cut = true
	f.judge.note("%s is cut off from the engine (%d)", p.name, how)
	apply := func(c *relay.Conn) {
		switch how {
		case 0:
			c.BlackHole()
		case 1:
			c.Reset()
		default:
			c.Down().BlackHole() // claims arrive, answers do not
		}
	}
	p.way.OnConn(apply)
	for _, c := range p.way.Conns() {
		apply(c)
	}
}

func (f *fleetOf) heal(p *process) {
	p.cut = false
	f.judge.note("%s reaches the engine again", p.name)
	p.way.OnConn(nil)
	for _, c := range p.way.Conns() {
		c.Reset()
	}
}

// await waits for a condition about the reports of the children or the sessions.
func (f *fleetOf) await(limit time.Duration, what string, ok func() bool) time.Duration {
	f.t.Helper()
	begun := time.Now()
	for !ok() {
		if time.Since(begun) > limit {
			by, n := f.judge.counts()
			f.t.Fatalf("not within %v: %s; %d sessions: %v\n%s", limit, what, n, by, f.recent())
		}
		time.Sleep(5 * time.Millisecond) // polling interval: the children report at intervals
	}
	return time.Since(begun)
}

// recent returns the end of the time line.
func (f *fleetOf) recent() string {
	f.judge.mu.Lock()
	defer f.judge.mu.Unlock()
	lines := f.judge.timeline
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// TestFleet: children, a judge, and faults that follow from a seed.
func TestFleet(t *testing.T) {
	long := time.Duration(0)
	if text := os.Getenv("RESPOOL_FLEET"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("RESPOOL_FLEET: %v", err)
		}
		long = d
	}
	for _, c := range []struct {
		name  string
		mode  fleet.LostMode
		close bool
		short time.Duration
	}{
		{"FailClosed", fleet.FailClosed, true, 6 * time.Second},
		{"LocalShare", fleet.LocalShare, false, 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runs := max(c.short, long)
			if testing.Short() {
				runs = c.short / 2
			}
			const limit, children = 20, 5
			f := &fleetOf{t: t, judge: newJudge(t, limit, silence)}
			f.engine = redisd.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
			f.orders = orders{Server: f.judge.addr(), Limit: limit, Lease: lease, Margin: margin, Beat: beat, Mode: c.mode, Close: c.close, Workers: limit, Use: 40 * time.Millisecond}
			r := &round{fleetOf: f, rand: rand.New(rand.NewPCG(seed(t), uint64(c.mode))), shares: c.mode == fleet.LocalShare}
			if r.shares {
				r.debts = make(map[string]int)
				f.judge.allowed = r.allowedLocked
				f.lost = func(p *process) { r.owe(p) }
			}
			for range children {
				f.start()
			}
			r.run(runs)
			f.judge.verdict()
			used := f.judge.used()
			f.judge.mu.Lock()
			if os.Getenv("RESPOOL_FLEET_LOG") != "" {
				t.Log(strings.Join(f.judge.timeline, "\n"))
			}
			t.Logf("%d faults in %v: %v; the most sessions were %d of %d; in use on average %.1f %%", len(r.faults), runs, tally(r.faults), f.judge.most, limit,
				100*used.Seconds()/time.Since(f.judge.began).Seconds()/limit)
			f.judge.mu.Unlock()
		})
	}
}

func tally(faults []string) map[string]int {
	n := make(map[string]int)
	for _, f := range faults {
		n[f]++
	}
	return n
}

// round makes faults.
type round struct {
	*fleetOf
	rand   *rand.Rand
	faults []string
	undo   []lasting
	mend   func() // ends the fault of the engine; nil: there was none
	saved  string // directory with old data of the engine
	shares bool   // LocalShare

	// Guarded by judge.mu: how many sessions beyond the limit the documentation of LocalShare
	// allows, by the process that may have them.
	debts map[string]int
}

// lasting is a fault that has not ended.
type lasting struct {
	until time.Time
	undo  func()
}

// fault is one kind of fault.
type fault struct {
	name string
	do   func(r *round)
}

var faults = []fault{
	{"kill", func(r *round) {
		r.kill(r.pick())
		r.start()
	}},
	{"leave", func(r *round) {
		r.repair() // it waits for the engine
		r.leave(r.pick())
		r.start()
	}},
	{"stop", func(r *round) {
		p := r.pick()
		r.owe(p)
		r.stop(p, true)
		r.lasts(r.between(lease/2, lease*2), func() { r.stop(p, false) })
	}},
	{"cut", func(r *round) {
		p := r.pick()
		r.owe(p)
		r.cut(p, r.rand.IntN(3))
		r.lasts(r.between(lease/4, lease*2), func() { r.heal(p) })
	}},
	{"engine restarts", func(r *round) {
		r.repair()
		r.owe(r.processes...)
		r.note("the engine restarts")
		r.engine.Kill()
		r.engine.Restart()
	}},
	{"engine restarts without data", func(r *round) {
		r.repair()
		r.owe(r.processes...)
		r.note("the engine restarts without data")
		r.engine.Kill()
		r.engine.Wipe()
		r.engine.Restart()
	}},
	{"engine restarts with old data", func(r *round) {
		r.repair()
		r.owe(r.processes...)
		r.note("the engine restarts with old data: %v", r.saved != "")
		r.engine.Kill()
		if r.saved != "" {
			r.engine.Wipe()
			if err := os.CopyFS(r.engine.Dir(), os.DirFS(r.saved)); err != nil {
				r.t.Fatal(err)
			}
		}
		r.engine.Restart()
	}},
	{"engine is away", func(r *round) {
		r.repair()
		r.owe(r.processes...)
		r.note("the engine is killed")
		r.engine.Kill()
		r.breaks(r.between(0, lease*3/2), func() {
			r.engine.Restart()
			r.note("the engine is back")
		})
	}},
	{"engine stops", func(r *round) {
		r.repair()
		r.owe(r.processes...)
		r.note("the engine is stopped")
		r.engine.Stop()
		r.breaks(r.between(0, lease*3/2), func() {
			r.engine.Continue()
			r.note("the engine continues")
		})
	}},
	{"data are saved", func(r *round) {
		r.repair()
		dir := filepath.Join(r.t.TempDir(), "saved")
		r.engine.Stop() // the files do not change meanwhile
		err := os.CopyFS(dir, os.DirFS(r.engine.Dir()))
		r.engine.Continue()
		if err != nil {
			r.t.Fatal(err)
		}
		r.saved = dir
		r.note("the data of the engine are saved")
	}},
	{"script flush", func(r *round) {
		r.note("the script is flushed")
		c := redis.NewClient(&redis.Options{Addr: r.engine.Addr()})
		defer c.Close()
		c.ScriptFlush(r.t.Context()) // fails while the engine is away
	}},
}

func (r *round) note(format string, args ...any) { r.judge.note(format, args...) }

func (r *round) between(low, high time.Duration) time.Duration {
	return low + time.Duration(r.rand.Int64N(int64(high-low)))
}

// pick returns a child that is neither stopped nor cut off, or ends such a state.
func (r *round) pick() *process {
	free := slices.DeleteFunc(slices.Clone(r.processes), func(p *process) bool { return p.stopped || p.cut })
	if len(free) < 2 {
		r.calm()
		free = slices.Clone(r.processes)
	}
	return free[r.rand.IntN(len(free))]
}

// lasts has a fault end after d, while others happen.
func (r *round) lasts(d time.Duration, undo func()) {
	r.undo = append(r.undo, lasting{time.Now().Add(d), undo})
}

// breaks is lasts for the engine, which has one such fault at a time.
func (r *round) breaks(d time.Duration, undo func()) {
	done := false
	r.mend = func() {
		if !done {
			done = true
			undo()
		}
	}
	r.lasts(d, r.mend)
}

// repair ends the fault of the engine.
func (r *round) repair() {
	if r.mend != nil {
		r.mend()
	}
}

// pause waits for d, and ends the faults that have lasted long enough.
func (r *round) pause(d time.Duration) {
	for end := time.Now().Add(d); ; {
		next, first := end, -1
		for i, u := range r.undo {
			if u.until.Before(next) {
				next, first = u.until, i
			}
		}
		time.Sleep(time.Until(next)) // the time that faults last, and between them
		if first < 0 {
			return
		}
		undo := r.undo[first].undo
		r.undo = slices.Delete(r.undo, first, first+1)
		undo()
	}
}

// calm ends all faults that last.
func (r *round) calm() {
	for _, u := range r.undo {
		u.undo()
	}
	r.undo = nil
}

func (r *round) run(d time.Duration) {
	r.t.Helper()
	const patience = 60 * time.Second
	r.await(patience, "the limit is used", func() bool { _, n := r.judge.counts(); return n >= r.judge.limit-1 })
	// Each kind happens once before any happens twice.
	var order []int
	for by := time.Now().Add(d); time.Now().Before(by); {
		if len(order) == 0 {
			order = r.rand.Perm(len(faults))
		}
		f := faults[order[0]]
		order = order[1:]
		r.faults = append(r.faults, f.name)
		f.do(r)
		if r.rand.IntN(3) == 0 {
			r.calm()
		}
		r.pause(r.between(0, lease*2/3))
		if r.owing() && r.rand.IntN(4) == 0 {
			r.calm()
			r.await(patience, "what is beyond the limit is given up", func() bool { _, n := r.judge.counts(); return n <= r.judge.limit })
			r.pause(lease * 3 / 2) // every process renews its lease meanwhile
			r.forgive()
		}
	}
	r.calm()
	r.note("all is well again")
	// Liveness: the whole limit is in use again, also after the last process joined.
	r.await(patience, "the limit is used again", func() bool { _, n := r.judge.counts(); return n == r.judge.limit })
}

// owing reports whether there are debts.
func (r *round) owing() bool {
	r.judge.mu.Lock()
	defer r.judge.mu.Unlock()
	return len(r.debts) > 0
}

// owe notes that the processes may lose the ledger now: each may keep what it has, or its
// share of the limit if that is more, while the ledger lends it to others.
func (r *round) owe(ps ...*process) {
	r.judge.mu.Lock()
	defer r.judge.mu.Unlock()
	if !r.shares {
		return
	}
	for _, p := range ps {
		share := max(1, r.judge.limit/max(1, p.report().Holders))
		r.debts[p.name] = max(r.debts[p.name], share, r.judge.by[p.name])
	}
}

// forgive forgets debts: every process has reached the ledger since.
func (r *round) forgive() {
	r.judge.mu.Lock()
	defer r.judge.mu.Unlock()
	reached := !slices.ContainsFunc(r.processes, func(p *process) bool { return p.report().Lost > 0 })
	if reached && len(r.judge.sessions) <= r.judge.limit {
		clear(r.debts)
		r.judge.noteLocked("nothing is owed any more")
	}
}

// allowedLocked is what LocalShare documents: the limit, and for each process that lost the
// ledger max(units in use, share).
func (r *round) allowedLocked(total int, _ map[string]int) int {
	allowed := r.judge.limit
	for _, n := range r.debts {
		allowed += n
	}
	return allowed
}
