// Package growth decides how many resources to make for callers who wait.
//
// Making is slow and every caller would like one made; but a caller may be
// served sooner by a lease that ends. An average of past leases misleads (those
// before a spike may have been long), so what counts is what comes back now:
//
//   - nothing is held that could come back: make all that are missing, at once;
//   - else make one, and watch for a tenth of a make's usual time. What came
//     back in it says what will come back within a make; make the rest;
//   - while callers wait on and on, however fast things come back, the one
//     becomes two, four, …: doubled for each make's time that the wait lasts.
//
// Makes that take less than 50 ms count as if they took that long: each slows
// the others and the work that is waited for, and a wait of 50 ms costs a caller
// less than what a burst of makes costs the server.
//
// A make that has run for much longer than makes take is not counted on: see
// [Gauge.Patience].
package growth

import "time"

// watchPart is which part of a make's usual time is watched. A spike of long
// work loses that much; a spike of short work that is over within a few watches
// makes almost none.
const watchPart = 10

// minPace is the least that a make counts as.
const minPace = 50 * time.Millisecond

// What Patience says: unknown if no make has succeeded, else never less than
// minPatience.
const (
	unknownPatience = time.Second
	minPatience     = 250 * time.Millisecond
)

// Facts are how things stand.
type Facts struct {
	Now      time.Duration // on any clock that only grows
	Waiting  int           // callers
	Coming   int           // resources on the way to them: being made, or checked
	Held     int           // leases that could end
	Returned int64         // leases that have ended, ever
	Room     int           // how many more may exist
}

// Gauge remembers how long a make takes and what it is watching. The zero Gauge
// is ready; its user serialises the calls.
type Gauge struct {
	makeTime time.Duration // usual; 0: none has succeeded yet
	variance time.Duration // mean deviation from that
	backlog  bool          // callers wait
	since    time.Duration // from when on
	period   int64         // how many makes' times the backlog has lasted
	hedged   int           // makes begun in that period, however fast leases end
	watched  time.Duration // start of the watch
	returned int64         // Facts.Returned then
}

// Made tells how long a make took that succeeded.
func (g *Gauge) Made(took time.Duration) {
	if g.makeTime == 0 {
		g.makeTime, g.variance = took, took/2
		return
	}
	off := took - g.makeTime
	g.makeTime += off / 4
	g.variance += (max(off, -off) - g.variance) / 4
}

// Patience returns for how long a make may run before it is not counted on any
// more. As RFC 6298 has it for a retransmission, that is the usual time and four
// times its mean deviation, but at least twice the usual time.
func (g *Gauge) Patience() time.Duration {
	if g.makeTime == 0 {
		return unknownPatience
	}
	return max(minPatience, g.makeTime+max(g.makeTime, 4*g.variance))
}

// pace is the usual time of a make, as far as it decides.
func (g *Gauge) pace() time.Duration { return max(g.makeTime, minPace) }

// Usual returns the usual time of a make; 0 if none has succeeded.
func (g *Gauge) Usual() time.Duration { return g.makeTime }

// Clear tells that nobody waits any more.
func (g *Gauge) Clear() { g.backlog = false }

// Want returns how many makes to start now, at most f.Room, and, unless it is
// zero, after how long to ask again even if nothing has happened. [Gauge.Began]
// tells how many were started.
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

// Began tells how many makes for callers were begun.
func (g *Gauge) Began(n int) { g.hedged += n }

func (g *Gauge) watch(f Facts) { g.watched, g.returned = f.Now, f.Returned }

// hedge is how many makes to begin however fast leases end: one in the first
// period of a make's time, and twice as many under way in each that follows. A
// fast make that has ended counts until its period is over: makes do not follow
// one another without pause.
func (g *Gauge) hedge(f Facts) int {
	if period := int64((f.Now - g.since) / g.pace()); period != g.period {
		g.period, g.hedged = period, 0
	}
	return max(0, 1<<min(g.period, 20)-max(f.Coming, g.hedged))
}
