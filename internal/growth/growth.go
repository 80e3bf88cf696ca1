// Package growth decides how many resources to create for waiting callers.
//
// A creation is slow, and a lease that ends may serve a caller sooner. The average of past
// leases misleads (those before a spike may have been long), so the releases of this
// moment decide:
//
//   - If no resource is held that could come back, all that are missing are created at once.
//   - Otherwise one is created, and releases are counted for a tenth of a creation's usual
//     time. From their number follows how many will come back within a creation; the rest
//     are created.
//   - While the queue lasts, however fast resources come back, the one becomes two, four,
//     …: it doubles with each creation's time.
//
// A creation that takes less than 50 ms counts as if it took that long: each slows the
// others and the work that callers wait for, and a wait of 50 ms costs a caller less than
// a burst of creations costs the server.
//
// A creation that has run for much longer than creations take is not counted on: see
// [Gauge.Patience].
package growth

import "time"

// watchPart is the part of a creation's usual time in which releases are counted. A spike
// of long work is served that much later; a spike of short work that is over within a few
// such periods creates almost nothing.
const watchPart = 10

// minPace is the least time that a creation counts as.
const minPace = 50 * time.Millisecond

// What Patience returns: unknownPatience if no creation has succeeded, else at least
// minPatience.
const (
	unknownPatience = time.Second
	minPatience     = 250 * time.Millisecond
)

// Facts is what the decision depends on.
type Facts struct {
	Now      time.Duration // on any clock that only grows
	Waiting  int           // callers
	Coming   int           // resources on the way to them: being created, or checked
	Held     int           // leases that could end
	Returned int64         // leases that have ended, ever
	Room     int           // how many more may exist
}

// Gauge remembers how long a creation takes, and counts releases. The zero Gauge is ready.
// Its user serializes the calls.
type Gauge struct {
	makeTime time.Duration // usual; 0: none has succeeded yet
	variance time.Duration // mean deviation from that
	backlog  bool          // callers wait
	since    time.Duration // since when
	period   int64         // how many creations' times the backlog has lasted
	hedged   int           // creations begun in that period regardless of releases
	watched  time.Duration // when counting releases began
	returned int64         // Facts.Returned then
}

// Made records how long a successful creation took.
func (g *Gauge) Made(took time.Duration) {
	if g.makeTime == 0 {
		g.makeTime, g.variance = took, took/2
		return
	}
	off := took - g.makeTime
	g.makeTime += off / 4
	g.variance += (max(off, -off) - g.variance) / 4
}

// Patience returns for how long a creation may run before it is no longer counted on. As
// RFC 6298 has it for a retransmission, that is the usual time and four times its mean
// deviation, but at least twice the usual time.
func (g *Gauge) Patience() time.Duration {
	if g.makeTime == 0 {
		return unknownPatience
	}
	return max(minPatience, g.makeTime+max(g.makeTime, 4*g.variance))
}

// pace returns the usual time of a creation as it enters the decision.
func (g *Gauge) pace() time.Duration { return max(g.makeTime, minPace) }

// Usual returns the usual time of a creation; 0 if none has succeeded.
func (g *Gauge) Usual() time.Duration { return g.makeTime }

// Clear records that no caller waits.
func (g *Gauge) Clear() { g.backlog = false }

// Want returns how many creations to begin now, at most f.Room, and after how long to ask
// again even if nothing has happened; 0: not before something happens. The user reports to
// [Gauge.Began] how many it began.
func (g *Gauge) Want(f Facts) (start int, again time.Duration) {
	if f.Waiting == 0 {
		g.Clear()
		return 0, 0
	}
	if !g.backlog {
		g.backlog, g.since = true, f.Now
		g.period, g.hedged = 0, 0
		g.watch(f)
	}
	short := f.Waiting - f.Coming
	if short <= 0 || f.Room <= 0 {
		return 0, 0
	}
	if f.Held == 0 {
		return min(short, f.Room), 0
	}
	start = g.hedge(f)
	window := g.pace() / watchPart
	if elapsed := f.Now - g.watched; elapsed >= window {
		within := float64(f.Returned-g.returned) * float64(g.pace()) / float64(elapsed)
		if missing := float64(short) - within; missing > float64(start) {
			start = int(missing)
		}
		g.watch(f)
	}
	return min(start, short, f.Room), g.watched + window - f.Now
}

// Began records how many creations were begun for callers.
func (g *Gauge) Began(n int) { g.hedged += n }

func (g *Gauge) watch(f Facts) { g.watched, g.returned = f.Now, f.Returned }

// hedge returns how many creations to begin regardless of releases: one in the first
// period of a creation's time, and twice as many under way in each period that follows. A
// fast creation that has ended counts until its period is over, so that creations do not
// follow one another without a pause.
func (g *Gauge) hedge(f Facts) int {
	if period := int64((f.Now - g.since) / g.pace()); period != g.period {
		g.period, g.hedged = period, 0
	}
	return max(0, 1<<min(g.period, 20)-max(f.Coming, g.hedged))
}
