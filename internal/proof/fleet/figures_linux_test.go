package fleet

import (
	"maps"
	"math"
	"os"
	"testing"
	"time"

	"github.com/respool/respool/internal/redisd"
	"github.com/respool/respool/policy/fleet"
)

// TestFigures measures what the documentation states, with eight processes that all want the
// whole quota. Without RESPOOL_FLEET its bounds leave room for a busy machine.
func TestFigures(t *testing.T) {
	const limit, children = 160, 8
	patience, least, most := 4.0, 0.80, 1.5
	if os.Getenv("RESPOOL_FLEET") != "" {
		patience, least, most = 1, 0.97, 1.0
	} else {
		t.Parallel()
	}
	within := func(d time.Duration) time.Duration { return time.Duration(patience * float64(d)) }
	f := &fleetOf{t: t, judge: newJudge(t, limit, silence), engine: redisd.Start(t)}
	f.orders = orders{Server: f.judge.addr(), Limit: limit, Lease: lease, Margin: margin, Beat: beat, Mode: fleet.FailClosed, Close: true, Workers: limit,
		Use: 200 * time.Millisecond}
	for range children - 1 {
		f.start()
	}
	const start = 60 * time.Second
	full := func() bool { _, n := f.judge.counts(); return n == limit }
	f.await(start, "the limit is used", full)

	// A process joins.
	f.start()
	fair := func() bool {
		by, n := f.judge.counts()
		if len(by) < children || n < limit*95/100 {
			return false
		}
		for n := range maps.Values(by) {
			if math.Abs(float64(n)-limit/children) > 0.05*limit/children {
				return false
			}
		}
		return true
	}
	took := f.await(within(2*lease), "each of 8 has its fair share within 5 %", fair)
	t.Logf("each of %d processes has its fair share within 5 %% after %v, %.2f leases", children, took.Round(time.Millisecond), took.Seconds()/lease.Seconds())

	// Nothing changes for two leases.
	f.await(start, "the limit is used", full)
	before := make(map[*process]report)
	for _, p := range f.processes {
		before[p] = p.report()
	}
	begun, used := time.Now(), f.judge.used()
	time.Sleep(2 * lease) // what is measured
	during := time.Since(begun)
	share := (f.judge.used() - used).Seconds() / during.Seconds() / limit
	t.Logf("in use: %.2f %% of the limit", 100*share)
	if share < least {
		t.Errorf("in use were %.2f %% of the limit, want %.0f %%\n%s", 100*share, 100*least, f.recent())
	}
	worst := 0.0
	for _, p := range f.processes {
		now := p.report()
		operations := float64(now.Operations - before[p].Operations)
		renewals := now.At.Sub(before[p].At).Seconds() / renewal.Seconds()
		worst = max(worst, operations/renewals)
		// One may be made just after the first and one just before the last report.
		if operations > most*renewals+1 {
			t.Errorf("%s made %.0f operations in the time of %.1f renewals", p.name, operations, renewals)
		}
	}
	t.Logf("engine operations: at most %.2f for each renewal", worst)

	// A process is killed.
	victim := f.processes[2]
	f.judge.note("%s is about to be killed", victim.name)
	killed := time.Now()
	f.kill(victim)
	select {
	case <-f.judge.awaitFull():
		took = time.Since(killed)
	case <-time.After(within(lease + time.Second)):
		by, n := f.judge.counts()
		t.Fatalf("after %v the share of the killed process is not lent again: %d sessions: %v\n%s", time.Since(killed), n, by, f.recent())
	}
	t.Logf("the share of a killed process was lent again after %v; the lease is %v", took.Round(time.Millisecond), lease)
	f.judge.verdict()
}
