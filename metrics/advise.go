package metrics

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/respool/respool/resource"
)

// Goal is what [Advise] sizes a pool for. The zero Goal asks that 99 % of the acquires
// wait at most 10 ms.
type Goal struct {
	Wait     time.Duration // the wait that Quantile of the acquires must not exceed; zero: 10 ms; at most an hour
	Quantile float64       // above 0, below 1; zero: 0.99
	Growth   float64       // factor by which the load will grow: 2 is twice the load; from 0.01 to 100; zero: 1
}

// Advice is the sizes that [Advise] recommends, and what they rest on.
type Advice struct {
	Goal Goal // with its defaults

	// MaxSize is the smallest pool that would have met the Goal. From Low to High are the sizes
	// that another such history may need, in about 95 of 100 cases: the wider apart, the less
	// certain is MaxSize. See [Advise].
	MaxSize, Low, High int
	// MinIdle is how many resources must be idle so that 99 % of the callers, and those that
	// follow them while one resource is created, find one. Zero: no creation was seen.
	MinIdle int
	// MaxWaiting is how many callers may wait in a pool of MaxSize so that the last of them
	// is served within Goal.Wait, by Little's law: the limit of policy.BoundedQueue. It is at
	// least 1.
	MaxWaiting int

	Load    float64       // mean number of resources in use, with Growth
	Peak    int           // most resources in use at once if no caller had to wait, with Growth
	Rate    float64       // acquires per second, the failed ones included, without Growth
	Hold    time.Duration // mean time of a lease
	Make    time.Duration // 99th percentile of the creations; 0: none was seen
	Replays int           // how often the history was replayed

	// Curve is what pools of several sizes would have given, the smallest first. It has
	// MaxSize, the present maximum of the pool, and sizes around them.
	Curve []SizePoint

	Span     time.Duration // of the history
	Acquires int64         // in Span
	// Doubts say why the advice may be wrong, in whole sentences; none: there is no reason
	// to doubt it.
	Doubts []string
}

// SizePoint is what a pool of one size would have given.
type SizePoint struct {
	Size   int
	Median time.Duration // of the waits
	Wait   time.Duration // Goal.Quantile of the waits
	Low    time.Duration // from Low to High is Goal.Quantile of the waits in another such history,
	High   time.Duration // in about 95 of 100 cases
	Waited float64       // part of the acquires that would have waited
	Busy   float64       // part of the size that would have been in use, on average

	fewest, most float64 // the range of Waited, as Low and High are that of Wait
}

// ErrTooLittle says that there is not enough to advise from: [Advise] needs two points of
// history, ten acquires between the first and the last, with and without Growth, and ten leases
// that have ended.
var ErrTooLittle = errors.New("metrics: too little was measured to advise a size")

// Advise recommends sizes for a pool from what its meter has seen: it replays the history
// (the acquires of each interval, at random instants of the interval, with hold times drawn
// from the distribution of s.Hold) on pools of different sizes that serve first come, first
// served, and takes the smallest that meets the goal. The same input gives the same advice.
// It takes up to about a second of one core, and about 20 MB meanwhile.
//
// How sure the advice is, Low and High say, of MaxSize and of each wait. They come from replays of
// histories of half the length, put together at random from blocks of this one, with holds drawn anew from
// those measured: two whole histories differ about as much as such a half differs from the whole. So
// they hold for a time in which callers come as they did in the history, and not for one in which
// they come more often, or in another manner. Bursts shorter than the interval of the history make waits
// longer than High more often; the range of MaxSize held for such loads too.
//
// The replay knows the load that there was. It does not know bursts shorter than the
// interval of the history beyond those that chance makes, that a larger pool may slow the
// server down, and callers that would have come had there been room; Doubts says which of
// these shows. In a pool with priorities, or with [resource.Request.Fresh], waits differ from
// those of first come, first served.
//
// It fails with [ErrTooLittle], or with an error that names every bad field of g.
func Advise(s Snapshot, h History, g Goal) (Advice, error) {
	if g.Wait == 0 {
		g.Wait = 10 * time.Millisecond
	}
	if g.Quantile == 0 {
		g.Quantile = 0.99
	}
	if g.Growth == 0 {
		g.Growth = 1
	}
	if err := g.check(); err != nil {
		return Advice{}, err
	}
	w, err := newWorkload(s, h)
	if err != nil {
		return Advice{}, err
	}
	a := Advice{
		Goal: g, Rate: float64(w.acquires) / w.span.Seconds(), Hold: time.Duration(w.holds.mean),
		Make: s.Make.Quantile(0.99), Span: w.span, Acquires: w.acquires,
	}
	// A short history is replayed several times, one after the other, which averages.
	repeats := min(maxRepeats, max(1, int(maxReplayed/(float64(w.acquires)*g.Growth))))
	whole := w.replay(slices.Repeat(w.intervals, repeats), g.Growth, 1)
	if n := len(whole.arrivals); n < leastReplayed {
		return Advice{}, fmt.Errorf("%w: %d acquires in %v of history, %d to replay with a Growth of %v", ErrTooLittle, w.acquires, w.span, n, g.Growth)
	}
	a.Load, a.Peak = whole.load(), whole.peak()
	a.MaxSize = whole.smallest(g)
	a.MinIdle = min(whole.rise(a.Make, 0.99), a.MaxSize)
	a.MaxWaiting = max(1, int(float64(a.MaxSize)*float64(g.Wait)/max(1, w.holds.mean)))
	for _, size := range curveSizes(a.MaxSize, s.Max, a.Peak) {
		a.Curve = append(a.Curve, whole.point(size, g))
	}
	a.Low, a.High, a.Replays = a.MaxSize, a.MaxSize, repeats
	for i := range resamples {
		part := w.resample(uint64(i) + 2)
		if p := part.replay(part.intervals, g.Growth, uint64(i)+2); len(p.arrivals) >= leastReplayed {
			p.widen(&a)
		}
	}
	halves := []int{a.MaxSize}
	for i, half := range w.halves() {
		if p := w.replay(half, g.Growth, uint64(i)+2); len(p.arrivals) >= leastReplayed {
			halves = append(halves, p.smallest(g))
			a.Replays++
		}
	}
	a.Doubts = w.doubts(&s, &h, &a, halves)
	return a, nil
}

// Advise is [Advise] for what m has seen. It fails with [ErrTooLittle] if m keeps no [History]. It
// takes as long as that, and does not block the pool.
func (m *Meter) Advise(g Goal) (Advice, error) { return Advise(m.Snapshot(0), m.History(), g) }

// check names every bad field.
func (g *Goal) check() error {
	var bad []error
	if g.Wait < 0 || g.Wait > time.Hour {
		bad = append(bad, fmt.Errorf("%s must be from 0 to 1h, got %v", "Wait", g.Wait))
	}
	if !(g.Quantile > 0 && g.Quantile < 1) {
		bad = append(bad, fmt.Errorf("%s must be above 0 and below 1, got %v", "Quantile", g.Quantile))
	}
	if !(g.Growth >= 0.01 && g.Growth <= 100) {
		bad = append(bad, fmt.Errorf("%s must be from 0.01 to 100, got %v", "Growth", g.Growth))
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("metrics: bad Goal: %w", errors.Join(bad...))
}

// maxReplayed is how many acquires a replay has at most. A longer history is compressed in
// time: each interval keeps its rate and lasts less long.
const maxReplayed = 200_000

// leastReplayed is how many acquires and leases there must be, and how many acquires a replay must
// have.
const leastReplayed = 10

// maxRepeats is how often a short history is repeated.
const maxRepeats = 4

// resamples is how many histories are put together at random. Another history is outside
// of what n of them give in 2 of n+1 cases.
const resamples = 40

// maxResampled is how many acquires such a history has at most, and maxHoldsDrawn how many holds are
// drawn for it: more holds change their mean by less than 2 %.
const maxResampled, maxHoldsDrawn = 30_000, 5000

// blocks is how many blocks a history has of which others are put together. What goes on for
// longer than one, such as a burst, is taken apart.
const blocks = 20

// workload is the demand that a history shows.
type workload struct {
	intervals []interval
	holds     holds
	span      time.Duration
	acquires  int64
	failed    int64 // of them
	saturated int   // points at which callers waited and no resource was idle
	waited    int64 // acquires that had to wait
	size      int   // maximum of the pool at each point; 0: it has changed
	points    int
	most      int // acquires of a replay
}

// interval is the time between two points.
type interval struct {
	lasts    time.Duration
	acquires int64
}

func newWorkload(s Snapshot, h History) (*workload, error) {
	w := &workload{points: len(h.Points), most: maxReplayed}
	for i, p := range h.Points {
		if i == 0 {
			w.size = p.Load.Max
		} else if p.Load.Max != w.size {
			w.size = 0
		}
		if p.Load.Waiting > 0 && p.Load.Idle == 0 {
			w.saturated++
		}
		if i == 0 {
			continue
		}
		before := h.Points[i-1]
		failed := tried(p.Failures) - tried(before.Failures)
		in := interval{p.Time.Sub(before.Time), p.Acquired - before.Acquired + failed}
		if in.lasts <= 0 || in.acquires < 0 || failed < 0 {
			continue // the pool, or the key of a Keyed, began anew
		}
		w.intervals = append(w.intervals, in)
		w.span += in.lasts
		w.acquires += in.acquires
		w.failed += failed
		w.waited += max(0, p.Waited-before.Waited)
	}
	if w.acquires < leastReplayed || s.Hold.Count < leastReplayed {
		return nil, fmt.Errorf("%w: %d acquires in %v of history, %d leases have ended", ErrTooLittle, w.acquires, w.span, s.Hold.Count)
	}
	w.holds = newHolds(s.Hold)
	return w, nil
}

// inShortBursts is the part of the acquires in intervals that have twice as many as the second one before
// and the second one after them, and more than chance explains: bursts of at most three intervals.
func (w *workload) inShortBursts() float64 {
	n := 0.0
	for i := 2; i < len(w.intervals)-2; i++ {
		here, around := float64(w.intervals[i].acquires), float64(max(w.intervals[i-2].acquires, w.intervals[i+2].acquires))
		if here > 2*around+4*math.Sqrt(here) {
			n += here
		}
	}
	return n / float64(w.acquires)
}

// tried is how many acquires failed that a larger pool could have served.
func tried(f resource.AcquireFailures) int64 { return f.Total() - f.Closed - f.NoneIdle }

// holds draws hold times from a histogram.
type holds struct {
	cells []cell
	upTo  []int64 // the values in all cells up to this one, with those of zero
	zero  int64
	scale float64 // so that the mean is that of the histogram
	mean  float64 // in nanoseconds
	count float64 // how many leases were measured
}

func newHolds(h Histogram) holds {
	d := holds{zero: h.Zero, scale: 1, mean: float64(h.Mean()), count: h.measured()}
	n, sum := h.Zero, 0.0
	for c := range h.cells {
		n += c.n
		d.cells, d.upTo = append(d.cells, c), append(d.upTo, n)
		sum += float64(c.n) * (c.from + c.to) / 2
	}
	if n > 0 && sum > 0 && d.mean > 0 {
		d.scale = d.mean * float64(n) / sum
	}
	return d
}

func (d *holds) draw(r *rand.Rand) float64 {
	i := d.pick(r)
	if i < 0 {
		return 0
	}
	c := d.cells[i]
	return d.scale * (c.from + r.Float64()*(c.to-c.from))
}

// pick draws the index of a cell; -1 is that of a hold of zero.
func (d *holds) pick(r *rand.Rand) int {
	if len(d.cells) == 0 {
		return -1
	}
	at := r.Int64N(d.upTo[len(d.upTo)-1])
	if at < d.zero {
		return -1
	}
	i, _ := slices.BinarySearch(d.upTo, at+1)
	return i
}

// resample returns the holds that another measurement of half as many leases may give.
func (d *holds) resample(r *rand.Rand) holds {
	n := max(1, min(maxHoldsDrawn, int(d.count/2)))
	counts := make([]int64, len(d.cells))
	o := holds{cells: d.cells, scale: d.scale, upTo: counts}
	for range n {
		if i := d.pick(r); i >= 0 {
			counts[i]++
		} else {
			o.zero++
		}
	}
	sum := o.zero
	for i := range counts {
		sum += counts[i]
		counts[i] = sum
	}
	return o
}

// halves are the two halves of the history.
func (w *workload) halves() [][]interval {
	half := len(w.intervals) / 2
	if half == 0 {
		return [][]interval{w.intervals}
	}
	return [][]interval{w.intervals[:half], w.intervals[half:]}
}

// resample returns a history of half the length of this one, of blocks of it, in which holds are those of
// another measurement.
func (w *workload) resample(seed uint64) *workload {
	r := rand.New(rand.NewPCG(seed, 0xb10c))
	n := len(w.intervals)
	block := max(1, n/blocks)
	o := &workload{holds: w.holds.resample(r), most: maxResampled}
	for want := (n + 1) / 2; len(o.intervals) < want; {
		first := r.IntN(n)
		for i := range min(block, want-len(o.intervals)) {
			o.intervals = append(o.intervals, w.intervals[(first+i)%n])
		}
	}
	return o
}

func total(some []interval) (n int64) {
	for _, in := range some {
		n += in.acquires
	}
	return n
}

// arrival is one acquire of a replay; times are in nanoseconds.
type arrival struct{ at, hold float64 }

// replay is a history whose instants and hold times have been drawn.
type replay struct {
	arrivals []arrival // by time
	levels   []change  // see changes; nil: not known yet
	lasts    float64   // in nanoseconds
	free     []float64 // scratch of wait: when each resource is free, a heap
	waits    []float64 // scratch
}

func (w *workload) replay(some []interval, growth float64, seed uint64) *replay {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	compress := max(1, float64(total(some))*growth/float64(w.most))
	p := &replay{}
	for _, in := range some {
		// The counts are those of the past, not drawn anew: how uneven they are is known.
		count := float64(in.acquires) * growth / compress
		n := int(count)
		if r.Float64() < count-float64(n) {
			n++
		}
		lasts := float64(in.lasts) / compress
		before := len(p.arrivals)
		for range n {
			p.arrivals = append(p.arrivals, arrival{p.lasts + r.Float64()*lasts, w.holds.draw(r)})
		}
		slices.SortFunc(p.arrivals[before:], func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
		p.lasts += lasts
	}
	return p
}

// load is the mean number of resources in use.
func (p *replay) load() float64 {
	busy := 0.0
	for _, a := range p.arrivals {
		busy += a.hold
	}
	return busy / p.lasts
}

// change is a resource that is taken (+1) or returned (-1) where no acquire waits.
type change struct {
	at float64
	n  int
}

// changes returns all changes, by time; of equal times returns come first.
func (p *replay) changes() []change {
	if p.levels != nil {
		return p.levels
	}
	all := make([]change, 0, 2*len(p.arrivals))
	for _, a := range p.arrivals {
		all = append(all, change{a.at, 1}, change{a.at + a.hold, -1})
	}
	slices.SortFunc(all, func(a, b change) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		return a.n - b.n
	})
	p.levels = all
	return all
}

// peak is the most resources that are in use at once where no acquire waits: a pool of
// that size makes none wait.
func (p *replay) peak() int {
	busy, most := 0, 0
	for _, c := range p.changes() {
		busy += c.n
		most = max(most, busy)
	}
	return max(1, most)
}

// rise returns the quantile q, over all arrivals, of how far the number of resources in use
// rises above its level at the arrival within the time that follows, where no acquire waits.
func (p *replay) rise(within time.Duration, q float64) int {
	if within <= 0 {
		return 0
	}
	type peak struct {
		at    float64
		level int
	}
	all := p.changes()
	levels := make([]int, len(all))
	busy := 0
	for i, c := range all {
		busy += c.n
		levels[i] = busy
	}
	// From the last change to the first, ahead has the levels that can be the highest of the
	// window: the first of them is the highest and the latest, each further one lower and
	// earlier.
	var ahead []peak
	rises := make([]int, 0, len(p.arrivals))
	for i := len(all) - 1; i >= 0; i-- {
		for len(ahead) > 0 && ahead[len(ahead)-1].level <= levels[i] {
			ahead = ahead[:len(ahead)-1]
		}
		ahead = append(ahead, peak{all[i].at, levels[i]})
		first := 0
		for ahead[first].at > all[i].at+float64(within) {
			first++
		}
		ahead = ahead[first:]
		if all[i].n > 0 {
			rises = append(rises, ahead[0].level-(levels[i]-1))
		}
	}
	slices.Sort(rises)
	return rises[rank(len(rises), q)]
}

// rank is the index of the quantile q in a sorted list of n, n > 0.
func rank(n int, q float64) int { return min(n-1, max(0, int(math.Ceil(q*float64(n)))-1)) }

// smallest returns the smallest size that meets the goal. Waits fall when the size grows,
// and at the peak none is left.
func (p *replay) smallest(g Goal) int {
	low, high := 1, p.peak()
	for low < high {
		mid := low + (high-low)/2
		if p.meets(mid, g) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// meets reports whether a pool of that size meets the goal.
func (p *replay) meets(size int, g Goal) bool {
	n := len(p.arrivals)
	allowed := n - 1 - rank(n, g.Quantile) // so many may wait longer
	p.free = append(p.free[:0], make([]float64, size)...)
	for _, a := range p.arrivals {
		start := max(a.at, p.free[0])
		if start-a.at > float64(g.Wait) {
			if allowed--; allowed < 0 {
				return false
			}
		}
		p.free[0] = start + a.hold
		sink(p.free)
	}
	return true
}

// near is smallest for a size that is probably near guess.
func (p *replay) near(guess int, g Goal) int {
	low, high := 1, guess
	for step := 1; !p.meets(high, g); step *= 2 {
		low, high = high+1, high+step
	}
	for step := 1; low < high; step *= 2 {
		mid := max(low, high-step)
		if !p.meets(mid, g) {
			low = mid + 1
			break
		}
		high = mid
	}
	for low < high {
		mid := low + (high-low)/2
		if p.meets(mid, g) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// serve replays the history on a pool of that size, and leaves the waits in p.waits, sorted, but
// not those of zero.
func (p *replay) serve(size int) {
	p.free = append(p.free[:0], make([]float64, size)...)
	p.waits = p.waits[:0]
	for _, a := range p.arrivals {
		start := max(a.at, p.free[0]) // first come, first served: the resource that is free first
		if start > a.at {
			p.waits = append(p.waits, start-a.at)
		}
		p.free[0] = start + a.hold
		sink(p.free)
	}
	slices.Sort(p.waits)
}

// wait is the quantile q of the waits that serve left.
func (p *replay) wait(q float64) time.Duration {
	n := len(p.arrivals)
	if i := rank(n, q) - (n - len(p.waits)); i >= 0 {
		return duration(p.waits[i])
	}
	return 0
}

// point replays the history on a pool of that size.
func (p *replay) point(size int, g Goal) SizePoint {
	p.serve(size)
	wait := p.wait(g.Quantile)
	return SizePoint{
		Size: size, Median: p.wait(0.5), Wait: wait, Low: wait, High: wait,
		Waited: p.waited(), Busy: min(1, p.load()/float64(size)), fewest: p.waited(), most: p.waited(),
	}
}

// waited is the part of the acquires that waited, as serve has left it.
func (p *replay) waited() float64 { return float64(len(p.waits)) / float64(len(p.arrivals)) }

// widen extends the ranges of a by what this history gives.
func (p *replay) widen(a *Advice) {
	size := p.near(a.MaxSize, a.Goal)
	a.Low, a.High, a.Replays = min(a.Low, size), max(a.High, size), a.Replays+1
	for i := range a.Curve {
		c := &a.Curve[i]
		p.serve(c.Size)
		wait := p.wait(a.Goal.Quantile)
		c.Low, c.High = min(c.Low, wait), max(c.High, wait)
		c.fewest, c.most = min(c.fewest, p.waited()), max(c.most, p.waited())
	}
}

// sink restores the order of a heap whose first element has grown. container/heap would
// call through an interface for each of the millions of steps.
func sink(heap []float64) {
	for i := 0; ; {
		least := 2*i + 1
		if least >= len(heap) {
			return
		}
		if r := least + 1; r < len(heap) && heap[r] < heap[least] {
			least = r
		}
		if heap[i] <= heap[least] {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}

// curveSizes are about a dozen sizes around the recommended one, in order, with the present
// maximum if it is within reach.
func curveSizes(best, present, peak int) []int {
	sizes := []int{best, peak}
	for _, f := range []float64{0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.4, 2} {
		sizes = append(sizes, max(1, int(math.Round(f*float64(best)))))
	}
	for d := -2; d <= 2; d++ {
		sizes = append(sizes, max(1, best+d))
	}
	if present > 0 && present <= 4*max(best, peak) {
		sizes = append(sizes, present)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// doubts says why the advice may be wrong. halves are the sizes that the whole history and each half of it give.
func (w *workload) doubts(s *Snapshot, h *History, a *Advice, halves []int) (all []string) {
	no := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if w.span < time.Minute {
		no("The history is only %v long.", w.span.Round(time.Second))
	}
	if tail := float64(w.acquires) * (1 - a.Goal.Quantile); tail < 20 {
		no("Of %d acquires only %.0f are beyond the quantile %v.", w.acquires, tail, a.Goal.Quantile)
	}
	if s.Hold.Count < 1000 {
		no("Only %d leases have ended.", s.Hold.Count)
	} else if w.holds.count < 100 {
		no("Only %.0f of the %d leases were measured.", w.holds.count, s.Hold.Count)
	}
	if n := float64(w.failed) / float64(w.acquires); n > 0.01 {
		no("%.0f %% of the acquires failed: with room for them, more callers may come.", 100*n)
	}
	if 10*w.saturated > w.points {
		no("The pool was full at %d of %d points: hold times may be longer than they would be in a larger pool.", w.saturated, w.points)
	}
	if low, high := slices.Min(halves), slices.Max(halves); high-low > max(1, a.MaxSize/5) {
		no("The load changes: the halves of the history give sizes from %d to %d.", low, high)
	}
	if n := w.inShortBursts(); n > 0.05 {
		no("%.0f %% of the acquires came in bursts of a few seconds, of which the history has only the number of acquires every %v: waits may be longer than the ranges say.", 100*n, h.Every)
	}
	if i := slices.IndexFunc(a.Curve, func(c SizePoint) bool { return c.Size == w.size }); i >= 0 && a.Goal.Growth == 1 {
		// The one size of which is known how many waited. Failed acquires count as demand, and waited too.
		c, seen := a.Curve[i], float64(w.waited)/float64(w.acquires)
		const margin = 0.01
		switch {
		case seen < 0.8*c.fewest-margin:
			no("In the present pool of %d, %.0f %% of the acquires waited, in the replay %.0f %%: callers come more evenly than it assumes, as those do that wait for an answer before they ask again, and a smaller pool may do.", c.Size, 100*seen, 100*c.Waited)
		case seen > 1.25*c.most+margin:
			no("In the present pool of %d, %.0f %% of the acquires waited, in the replay %.0f %%: they waited for creations, or come in bursts shorter than %v, and a larger pool may be needed.", c.Size, 100*seen, 100*c.Waited, h.Every)
		}
	}
	if compress := float64(w.acquires) * a.Goal.Growth / maxReplayed; compress > 1.5 {
		no("There are so many acquires that the replay shortened every interval by a factor of %.0f: a long overload would wait longer.", compress)
	}
	if s.Max > 0 && a.MaxSize > s.Max {
		no("The server has not yet been seen with more than %d resources.", s.Max)
	}
	return all
}
