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
package growth

import "time"

// watchPart is which part of a make's usual time is watched. A spike of long
// work loses that much; a spike of short work that is over within a few watches
// makes almost none.
const watchPart = 10

// minWatch keeps a very fast make from being watched for no time at all.
const minWatch = time.Millisecond

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
	backlog  bool          // callers wait
	since    time.Duration // from when on
	watched  time.Duration // start of the watch
	returned int64         // Facts.Returned then
}

// Made tells how long a make took that succeeded.
func (g *Gauge) Made(took time.Duration) {
	if g.makeTime == 0 {
		g.makeTime = took
	} else {
		g.makeTime += (took - g.makeTime) / 4
	}
}

// Usual returns the usual time of a make; 0 if none has succeeded.
func (g *Gauge) Usual() time.Duration { return g.makeTime }

// Clear tells that nobody waits any more.
func (g *Gauge) Clear() { g.backlog = false }

// Want returns how many makes to start now, at most f.Room, and, unless it is
// zero, after how long to ask again even if nothing has happened.
func (g *Gauge) Want(f Facts) (start int, again time.Duration) {
	if f.Waiting == 0 {
		g.Clear()
		return 0, 0
	}
	if !g.backlog {
		g.backlog, g.since = true, f.Now
		g.watch(f)
	}
	short := f.Waiting - f.Coming
	if short <= 0 || f.Room <= 0 {
		return 0, 0
	}
	if f.Held == 0 {
		return min(short, f.Room), 0
	}
	start = g.hedge(f) - f.Coming
	window := max(g.makeTime/watchPart, minWatch)
	if elapsed := f.Now - g.watched; elapsed >= window {
		within := float64(f.Returned-g.returned) * float64(g.makeTime) / float64(elapsed)
		if missing := float64(short) - within; missing > float64(start) {
			start = int(missing)
		}
		g.watch(f)
	}
	return min(max(start, 0), short, f.Room), g.watched + window - f.Now
}

func (g *Gauge) watch(f Facts) { g.watched, g.returned = f.Now, f.Returned }

// hedge is how many makes are under way however fast leases end.
func (g *Gauge) hedge(f Facts) int {
	doublings := 0
	if g.makeTime > 0 {
		doublings = int(min((f.Now-g.since)/g.makeTime, 20))
	}
	return 1 << doublings
}
