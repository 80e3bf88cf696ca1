package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// The bounds of what may be left over at rest. Goroutines and descriptors are compared with those of
// the first checkpoint, before the load; the heap is only compared over many checkpoints, since
// histories and caches fill in the first minutes.
const (
	spareGoroutines  = 3       // a timer's or the runtime's own
	spareDescriptors = 3       // the same
	heapGrowth       = 2 << 20 // bytes over all checkpoints after the warm-up, by the slope
	heapPart         = 10      // or a tenth of the median, if that is more
	warmUp           = 11 * time.Minute
	leastPoints      = 12 // for a slope
)

// A point is what the process uses at rest.
type point struct {
	at                      time.Duration
	heap                    int64 // bytes in use after a collection
	goroutines, descriptors int
}

// measure returns the point of now.
func measure(at time.Duration) point {
	runtime.GC()
	runtime.GC() // the first one empties each sync.Pool into its victim cache
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return point{at, int64(m.HeapAlloc), runtime.NumGoroutine(), descriptors()}
}

// descriptors returns how many file descriptors are open; 0 where the system does not tell.
func descriptors() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all) - 1 // that of the directory
}

// leftover says what now has more of than first; "": nothing.
func leftover(first, now point) string {
	if n := now.goroutines - first.goroutines; n > spareGoroutines {
		return fmt.Sprintf("%d goroutines, %d at the first checkpoint", now.goroutines, first.goroutines)
	}
	if n := now.descriptors - first.descriptors; n > spareDescriptors {
		return fmt.Sprintf("%d descriptors, %d at the first checkpoint", now.descriptors, first.descriptors)
	}
	return ""
}

// drift is how much the heap grew over all points after the warm-up.
type drift struct {
	points int
	bytes  float64       // by the slope
	over   time.Duration // from the first to the last
	limit  float64
}

// heapDrift fits a line through the heaps. Its slope is the median of the slopes between all pairs of
// points (Theil and Sen), on which a third of outliers have little influence.
func heapDrift(all []point, warm time.Duration) drift {
	all = slices.DeleteFunc(slices.Clone(all), func(p point) bool { return p.at < warm })
	d := drift{points: len(all)}
	if len(all) < 2 {
		return d
	}
	var slopes, heaps []float64
	for i, p := range all {
		heaps = append(heaps, float64(p.heap))
		for _, q := range all[:i] {
			slopes = append(slopes, float64(p.heap-q.heap)/float64(p.at-q.at))
		}
	}
	d.over = all[len(all)-1].at - all[0].at
	d.bytes = median(slopes) * float64(d.over)
	d.limit = max(heapGrowth, median(heaps)/heapPart)
	return d
}

// grows reports whether the heap drifts. With few points there is no verdict.
func (d drift) grows() bool { return d.points >= leastPoints && d.bytes > d.limit }

func (d drift) String() string {
	if d.points < leastPoints {
		return fmt.Sprintf("heap not judged: %d checkpoints after the warm-up of %v, %d needed", d.points, warmUp, leastPoints)
	}
	return fmt.Sprintf("heap %+.2f MiB in %v (limit %.1f)", d.bytes/(1<<20), d.over.Round(time.Second), d.limit/(1<<20))
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
