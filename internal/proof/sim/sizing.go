package sim

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// observed is what callers and a meter have seen of a pool.
type observed struct {
	waits    []time.Duration // sorted
	snapshot metrics.Snapshot
	history  metrics.History
}

func (o *observed) quantile(q float64) time.Duration {
	return o.waits[max(0, int(math.Ceil(q*float64(len(o.waits))))-1)]
}

// observe has callers arrive at a pool of that size. A meter costs more than everything else, so
// there is one only if it is asked for.
func (s *Stage) observe(variant string, size int, come []Arrival, metered bool) (o observed) {
	s.bubble(variant, func(t *testing.T) {
		meter, err := metrics.New(t.Name(), metrics.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer meter.Close()
		cfg := resource.Config[int]{
			MaxSize: size, Make: func(context.Context) (int, error) { return 0, nil },
		}
		if metered {
			cfg.Trace, cfg.SampleLeases = meter.Trace(nil), 1
		}
		pool := newPool(t, cfg)
		defer closePool(t, pool)
		if err := pool.Warm(t.Context(), size); err != nil {
			t.Fatal(err)
		}
		if metered {
			if err := meter.Watch(pool); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var callers sync.WaitGroup
		began := time.Now()
		for _, a := range come {
			time.Sleep(a.At - time.Since(began))
			callers.Go(func() {
				came := time.Now()
				lease, err := pool.Acquire(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				waited := time.Since(came)
				time.Sleep(a.Hold)
				lease.Release()
				mu.Lock()
				defer mu.Unlock()
				o.waits = append(o.waits, waited)
			})
		}
		callers.Wait()
		slices.Sort(o.waits)
		if metered {
			o.snapshot, o.history = meter.Snapshot(0), meter.History()
		}
	})
	return o
}

// erlangC is the probability that a caller waits in M/M/c with an offered load.
func erlangC(c int, load float64) float64 {
	b := 1.0 // Erlang B, by its recurrence
	for k := 1; k <= c; k++ {
		b = load * b / (float64(k) + load*b)
	}
	rho := load / float64(c)
	return b / (1 - rho + rho*b)
}

// erlangWait is the quantile q of the waits in M/M/c.
func erlangWait(c int, load float64, hold time.Duration, q float64) time.Duration {
	waits := erlangC(c, load)
	if waits <= 1-q {
		return 0
	}
	return time.Duration(math.Log(waits/(1-q)) / (float64(c) - load) * float64(hold))
}

// goalWait is the wait that a part of the callers, goalQuantile, must not exceed. A larger quantile of
// ten minutes varies by more than a tenth from one ten minutes to the next.
const (
	goalQuantile = 0.95
	goalWait     = 10 * time.Millisecond
	tailQuantile = 0.99 // of the diagrams
)

// comparison is what Advise says of a load beside what the callers see.
type comparison struct {
	worst       float64 // largest difference of a wait, as a part
	said, needs int     // the smallest size that meets the goal: predicted, and seen
}

// compare compares what Advise says of some sizes, from a pool with room to spare, with what the
// same callers see in a pool of that size: the two largest sizes at which 95 % wait for at
// least 15 ms, and those up to the one that is recommended. The diagram has smaller and larger
// ones too. The formula is that of Erlang C, or nil.
func (s *Stage) compare(come []Arrival, title string, formula func(size int, a *metrics.Advice, q float64) time.Duration) (c comparison) {
	const (
		enough   = 15 * time.Millisecond
		compared = 2
	)
	wide := s.observe("wide", 60, come, true)
	advice, err := metrics.Advise(wide.snapshot, wide.history, metrics.Goal{Wait: goalWait, Quantile: goalQuantile})
	if err != nil {
		s.t.Fatal(err)
	}
	var tail metrics.Advice // for the diagram
	if s.cfg.Curves {
		if tail, err = metrics.Advise(wide.snapshot, wide.history, metrics.Goal{Wait: 5 * goalWait, Quantile: tailQuantile}); err != nil {
			s.t.Fatal(err)
		}
	}
	last := -1 // the last of the curve that is compared
	for i, p := range advice.Curve {
		if p.Wait >= enough {
			last = i
		}
	}
	if last < compared-1 {
		s.t.Fatalf("the curve has too few sizes: %v", advice.Curve)
	}
	headings := []any{"size", "p95 wait seen", "Advise"}
	lines := []Line{{Name: "seen"}, {Name: "Advise"}}
	if formula != nil {
		headings, lines = append(headings, "Erlang C"), append(lines, Line{Name: "Erlang C"})
	}
	s.row(append(headings, "difference of Advise")...)
	c.said = advice.MaxSize
	for i, p := range advice.Curve {
		counts := i > last-compared && i <= last
		needed := counts || i > last && c.needs == 0
		if float64(p.Size) <= advice.Load || i > last+3 || !needed && !s.cfg.Curves {
			continue
		}
		seen := s.observe(fmt.Sprint("size ", p.Size), p.Size, come, false)
		wait := seen.quantile(goalQuantile)
		if wait <= goalWait && c.needs == 0 {
			c.needs = p.Size
		}
		row := []any{p.Size, wait, p.Wait}
		if formula != nil {
			row = append(row, formula(p.Size, &advice, goalQuantile))
		}
		if j := slices.IndexFunc(tail.Curve, func(t metrics.SizePoint) bool { return t.Size == p.Size }); j >= 0 {
			waits := []time.Duration{seen.quantile(tailQuantile), tail.Curve[j].Wait}
			if formula != nil {
				waits = append(waits, formula(p.Size, &advice, tailQuantile))
			}
			for i, w := range waits {
				lines[i].X = append(lines[i].X, float64(p.Size))
				lines[i].Y = append(lines[i].Y, float64(w)/float64(time.Millisecond))
			}
		}
		if !needed {
			continue
		}
		if counts {
			difference := float64(p.Wait)/float64(wait) - 1
			row = append(row, part(difference))
			c.worst = max(c.worst, math.Abs(difference))
		}
		s.row(row...)
	}
	s.curve(Curve{Name: "wait", Title: title, X: "size of the pool", Y: "p99 wait, ms", Lines: lines})
	return c
}

const (
	adviseHold = 50 * time.Millisecond
	advised    = 590 * time.Second // nearly the ten minutes that a history has
)

// within checks what was predicted. The size must be within a tenth of the one that is needed. The
// waits of one ten minutes differ by up to a fifth from those of the next ten, which no
// prediction can know, so their bound is wider; docs/scenes.md has by how much they differ.
func (s *Stage) within(c comparison) {
	s.goal(c.worst <= 0.25, "the predicted waits differ by %.3f from those seen, at most 0.25", c.worst)
	s.sizeWithin(c)
	s.figures("–", fmt.Sprintf("waits within %.1f %%, size %d for %d", 100*c.worst, c.said, c.needs))
}

func (s *Stage) sizeWithin(c comparison) {
	s.goal(c.needs > 0 && math.Abs(float64(c.said)/float64(c.needs)-1) <= 0.1, "the recommended size is %d, needed is %d: the difference is at most 10 %%", c.said, c.needs)
}

// Random arrivals and hold times, ten minutes of them: M/M/c, which Erlang's formula predicts.
var steadySize = Scene{
	Name:    "size-steady",
	Promise: "a steady load of 5, ten minutes: `Advise`'s p95 waits at two sizes, and size for 10 ms, beside those seen",
	Clients: 59_000,
	play: func(s *Stage) {
		rate := float64(s.res.Clients) / advised.Seconds()
		load := rate * adviseHold.Seconds()
		come := Arrivals(s.rand(0), Steady(rate), Exponential(adviseHold), advised)
		s.within(s.compare(come, fmt.Sprintf("A steady load of %.0f: wait against size", load), func(size int, a *metrics.Advice, q float64) time.Duration {
			// The load that came differs a little from the one that it was drawn from.
			return erlangWait(size, a.Rate*a.Hold.Seconds(), a.Hold, q)
		}))
	},
}

// A load of 2 that is 10 for ten seconds of each minute.
var burstSize = Scene{
	Name:    "size-bursts",
	Promise: "a load of 2 that is 10 for 10 s of each minute: the same",
	Clients: 39_667,
	play: func(s *Stage) {
		more := float64(s.res.Clients) / float64(s.res.Scene.Clients)
		come := Arrivals(s.rand(0), Bursts(40*more, 200*more, time.Minute, 10*time.Second), Exponential(adviseHold), advised)
		s.within(s.compare(come, "A load of 2 that is 10 for 10 s of each minute: wait against size", nil))
	},
}

//go:embed testdata/burst.txt
var recorded []byte

// Bursts that were recorded from a real pool: package simulate says how. The replay has the
// arrivals of each two seconds at random instants; these clients waited for their answers, and
// so came more evenly. The goal is the size alone. The number of clients is that of the record.
var recordedSize = Scene{
	Name:    "size-recorded",
	Promise: "ten minutes with recorded bursts: the same",
	Clients: 0,
	play: func(s *Stage) {
		come := s.cfg.Recorded
		if come == nil {
			var err error
			if come, err = ReadArrivals(bytes.NewReader(recorded)); err != nil {
				s.t.Fatal(err)
			}
		}
		s.res.Clients = len(come)
		c := s.compare(come, "Recorded bursts: wait against size", nil)
		s.sizeWithin(c)
		s.figures("–", fmt.Sprintf("waits within %.1f %%, size %d for %d", 100*c.worst, c.said, c.needs))
	},
}
