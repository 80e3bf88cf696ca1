package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// A meter that watches takes one Point each historyEvery and keeps those of
// historySpan. A Point has 264 bytes, so a full history has 79 kB; at most
// maxHistories meters of a process keep one, 16 MB together. Layers adds 96 bytes to each
// point of a pool that has multiplexers or endpoints, 29 kB in all. Taking a Point costs
// about 10 µs of a core and 5 kB of garbage (BenchmarkHistory): Source.Inspect(0),
// and one read of the histogram of waits. So a meter uses 5 millionths of a core.
const (
	historySpan  = 10 * time.Minute
	historyEvery = 2 * time.Second
	maxPoints    = int(historySpan / historyEvery)
	maxHistories = 200
)

// History is what a [Meter] has kept of the last ten minutes of its pool: one Point
// each two seconds from [Meter.Watch] until [Meter.Close]. The live page draws its
// charts from it. It belongs to the caller.
type History struct {
	Since  time.Time     // when the meter began to keep it; zero: it keeps none
	Every  time.Duration // between two points
	Points []Point       // the oldest first
}

// Point is a pool at one time. The counters are those of [resource.Stats], which count
// since the pool was made.
type Point struct {
	Time       time.Time                // when it was taken
	Load       resource.Load            // the levels
	OldestWait time.Duration            // how long the first of the waiting callers has waited
	Acquired   int64                    // leases begun
	Waited     int64                    // acquires that had to wait
	Failures   resource.AcquireFailures // acquires that failed, by reason
	Made       int64                    // creations that succeeded
	Failed     int64                    // creations that failed
	Destroyed  int64                    // resources destroyed

	Waits   int64         // acquires that got a resource since the point before, with or without a wait
	WaitP50 time.Duration // median of their waits; 0 if there were none
	WaitP99 time.Duration // 99th percentile of their waits; 0 if there were none

	Layers *Layers // of the layers above the pool; nil: it has neither multiplexers nor endpoints
}

// Layers are figures of the layers above a pool: the sums over its [resource.Multiplexer]s,
// and over its [resource.Endpoints]. The counters count since the layers were made; those of
// endpoints fall when an endpoint leaves.
type Layers struct {
	Multiplexers int // 0: there is none
	InFlight     int // calls that await a reply
	Orphans      int // calls that were given up and whose replies have not come
	Waiting      int // callers that wait for a connection to have room
	Answered     int64
	NotSent      int64
	MayHaveRun   int64

	Endpoints int // 0: there is none
	Ejected   int
	Good      int64 // evidence that counted as success
	Bad       int64 // evidence that counted as failure
	Refused   int64 // evidence that counted as refusal
}

// LayersOf returns the figures of the layers above a pool; nil if there are none.
func LayersOf(in *resource.Inspection) *Layers {
	if len(in.Multiplexers) == 0 && in.Endpoints == nil {
		return nil
	}
	l := &Layers{Multiplexers: len(in.Multiplexers)}
	for i := range in.Multiplexers {
		m := &in.Multiplexers[i]
		l.InFlight += m.InFlight
		l.Orphans += m.Orphans
		l.Waiting += m.Waiting
		l.Answered += m.Calls
		l.NotSent += m.NotSent
		l.MayHaveRun += m.MayHaveRun
	}
	if in.Endpoints != nil {
		l.Endpoints = len(in.Endpoints.All)
		for i := range in.Endpoints.All {
			e := &in.Endpoints.All[i]
			if e.Ejected {
				l.Ejected++
			}
			l.Good += e.Good
			l.Bad += e.Bad
			l.Refused += e.Refused
		}
	}
	return l
}

// History returns what the meter has kept of the last ten minutes. At most 200 meters of a process
// keep a History at a time, in 79 kB each: a meter that begins to watch while as many do has none.
// There is none before Watch and after Close. The caller owns it, and it does not block the pool.
func (m *Meter) History() History { return m.history.read() }

// history is a ring of the last maxPoints points.
type history struct {
	mu     sync.Mutex
	since  time.Time // zero: it is not kept
	points []Point   // a ring once it is full
	next   int       // index of the next point in a full ring
	waits  Histogram // when the last point was taken
}

// histories is the number of histories that are being kept.
var histories atomic.Int64

// begin reports whether there may be one more history, and if so, begins it.
func (h *history) begin(now time.Time) bool {
	if histories.Add(1) > maxHistories {
		histories.Add(-1)
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since = now
	return true
}

// end drops the points and makes room for another history. It follows a begin that
// returned true.
func (h *history) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since, h.points, h.next = time.Time{}, nil, 0
	histories.Add(-1)
}

// add adds p, without its waits, which it takes from all waits so far. It does nothing
// after end.
func (h *history) add(p Point, waits Histogram) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since.IsZero() {
		return
	}
	d := waits.since(h.waits)
	h.waits = waits
	p.Waits, p.WaitP50, p.WaitP99 = d.Count, d.Quantile(0.5), d.Quantile(0.99)
	if n := len(h.points); n < maxPoints {
		if n == cap(h.points) { // append alone would get room for more than maxPoints
			h.points = append(make([]Point, 0, min(max(16, 2*n), maxPoints)), h.points...)
		}
		h.points = append(h.points, p)
		return
	}
	h.points[h.next] = p
	h.next = (h.next + 1) % maxPoints
}

func (h *history) read() History {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Point, 0, len(h.points))
	all = append(all, h.points[h.next:]...)
	all = append(all, h.points[:h.next]...)
	return History{Since: h.since, Every: historyEvery, Points: all}
}

// remember adds a point to the history, and has the timer call it again. A Source
// that has panicked is not asked again: each panic would be an event.
func (m *Meter) remember() {
	again := false
	defer func() { // also if Inspect ends the goroutine
		m.mu.Lock()
		defer m.mu.Unlock()
		if again && !m.ended {
			m.sampler.Reset(historyEvery)
		}
	}()
	ended := m.waitsEnded.Load()
	waits := histogram(&m.wait)
	i, ok := m.inspect(0)
	if !ok {
		return
	}
	again = true
	m.addHits(&waits, &i.Stats, ended)
	m.history.add(Point{
		Time: time.Now(), Load: i.Load, OldestWait: i.OldestWait,
		Acquired: i.Acquired, Waited: i.Stats.Waited, Made: i.Made, Failed: i.Failed, Destroyed: i.Destroyed,
		Failures: i.Failures, Layers: LayersOf(&i),
	}, waits)
}
