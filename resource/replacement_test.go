package resource_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A resource whose end is foreseen has its replacement beside it for a while, so one more
// than usual is idle. An Eviction that ends the idle resources beyond a number must not end
// another for it: there would be too few when the old one ends.

var errSurplus = errors.New("surplus")

// tired ends resources that are idle for that long, while more than floor are idle.
func tired(d time.Duration, floor int) evictFunc {
	return func(i resource.Info) error {
		if i.Idle >= d && i.Idlers > floor {
			return errSurplus
		}
		return nil
	}
}

// aged ends resources of that age, less up to a quarter.
func aged(d time.Duration) evictFunc {
	return func(i resource.Info) error {
		if float64(i.Age) >= float64(d)*(1-i.Jitter/4) {
			return errOld
		}
		return nil
	}
}

// anyOf ends a resource that one of es ends.
func anyOf(es ...evictFunc) evictFunc {
	return func(i resource.Info) error {
		for _, e := range es {
			if cause := e(i); cause != nil {
				return cause
			}
		}
		return nil
	}
}

// guarded ends a resource that e ends, while more than floor are idle.
func guarded(floor int, e evictFunc) evictFunc {
	return func(i resource.Info) error {
		if i.Idlers <= floor {
			return nil
		}
		return e(i)
	}
}

// generations is a pool whose creations take two seconds, watched for some generations of
// resources that live up to half an hour.
type generations struct {
	*resource.Pool[int]
	minIdle int

	mu     sync.Mutex
	causes map[error]int
	oldest time.Duration
	dips   int // how often fewer than minIdle have been idle
	most   int // idle, when those that were created at the start have ended: the first are overdue, so more begin than needed
}

const lifetime = 30 * time.Minute

// inGenerations runs f in a bubble with one that has been filled.
func inGenerations(t *testing.T, e evictFunc, edit func(cfg *resource.Config[int]), f func(g *generations)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &generations{causes: map[error]int{}}
		cfg := resource.Config[int]{
			Make:    func(context.Context) (int, error) { time.Sleep(2010 * time.Millisecond); return 0, nil },
			MaxSize: 6, MinIdle: 2, Eviction: e,
			Trace: &resource.Trace{Destroyed: func(e resource.DestroyEvent) {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.causes[e.Cause]++
				g.oldest = max(g.oldest, e.Info.Age)
			}},
		}
		if edit != nil {
			edit(&cfg)
		}
		p, err := resource.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		g.Pool, g.minIdle = p, cfg.MinIdle
		if err := p.Warm(context.Background(), cfg.MinIdle); err != nil {
			t.Fatal(err)
		}
		f(g)
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// pass lets that many lifetimes pass, and calls use, unless it is nil, every half second, but
// never at the instant of a sweep or at which a creation ends: a lease that a sweep finds by
// chance has another resource created for MinIdle.
func (g *generations) pass(lives int, use func()) {
	time.Sleep(7 * time.Millisecond)
	short, began := false, time.Now()
	for end := began.Add(time.Duration(lives) * lifetime); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		s := g.Stats()
		if s.Idle < g.minIdle && !short {
			g.dips++
		}
		short = s.Idle < g.minIdle
		if time.Since(began) >= lifetime {
			g.most = max(g.most, s.Idle)
		}
		if use != nil {
			use()
		}
	}
	synctest.Wait()
}

// use is a short lease.
func (g *generations) use(t *testing.T) func() {
	return func() {
		l, err := g.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
}

func (g *generations) ended(cause error) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.causes[cause]
}

// Never fewer than MinIdle are idle because of an end that was foreseen, whatever else ends
// idle resources, and each end has its true cause.
func TestReplacement(t *testing.T) {
	lives := 20
	if testing.Short() {
		lives = 5
	}
	for name, e := range map[string]evictFunc{
		"age":                     aged(lifetime),
		"age, 30 s":               anyOf(aged(lifetime), tired(30*time.Second, 2)),
		"age, 10 min":             anyOf(aged(lifetime), tired(10*time.Minute, 2)),
		"30 s, age":               anyOf(tired(30*time.Second, 2), aged(lifetime)),
		"10 min, age":             anyOf(tired(10*time.Minute, 2), aged(lifetime)),
		"age, one more":           anyOf(aged(lifetime), tired(30*time.Second, 3)),
		"age, 30 s of guarded":    anyOf(aged(lifetime), guarded(2, tired(30*time.Second, 0))),
		"guarded age, 30 s":       anyOf(guarded(1, aged(lifetime)), tired(30*time.Second, 2)),
		"30 s, guarded age":       anyOf(tired(30*time.Second, 2), guarded(1, aged(lifetime))),
		"guarded of either":       guarded(1, anyOf(tired(30*time.Second, 2), aged(lifetime))),
		"age, and less than that": anyOf(aged(lifetime), tired(time.Second, 2)),
	} {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, used %t", name, used), func(t *testing.T) {
				inGenerations(t, e, nil, func(g *generations) {
					var use func()
					if used {
						use = g.use(t)
					}
					g.pass(lives, use)
					if g.dips > 0 {
						t.Errorf("%d times fewer than %d were idle", g.dips, g.minIdle)
					}
					if g.most > 4 {
						t.Errorf("up to %d were idle", g.most)
					}
					if g.oldest > lifetime+20*time.Second {
						t.Errorf("one became %v old", g.oldest)
					}
					// In 20 lifetimes each of two is replaced 20 to 27 times.
					if n := g.ended(errOld); n < 2*lives-2 || n > 2*lives*7/5 {
						t.Errorf("%d ended by age: %v", n, g.causes)
					}
					// While a caller has one, another is created for MinIdle.
					if n := g.ended(errSurplus); n > 15 || n > 3 && !used {
						t.Errorf("%d ended as surplus: %v", n, g.causes)
					}
				})
			})
		}
	}
}

// The same holds for more resources than a sweep looks at together.
func TestReplacement_Many(t *testing.T) {
	// Of those near their end at the same time and beyond the number needed, some end as
	// surplus.
	e := anyOf(tired(30*time.Second, 150), aged(lifetime))
	edit := func(cfg *resource.Config[int]) {
		cfg.MinIdle, cfg.MaxSize = 150, 300
		cfg.Make = func(context.Context) (int, error) { time.Sleep(500 * time.Millisecond); return 0, nil }
	}
	inGenerations(t, e, edit, func(g *generations) {
		g.pass(4, nil)
		if g.dips > 0 {
			t.Errorf("%d times fewer than %d were idle", g.dips, g.minIdle)
		}
		if n := g.ended(errSurplus); n > 250 {
			t.Errorf("%d ended as surplus: %v", n, g.causes)
		}
	})
}

// Without MinIdle a resource in use has its replacement, even if no other idle one need
// stay.
func TestReplacement_NoMinIdle(t *testing.T) {
	e := anyOf(tired(30*time.Second, 1), aged(lifetime))
	edit := func(cfg *resource.Config[int]) { cfg.MinIdle = 0 }
	inGenerations(t, e, edit, func(g *generations) {
		use := g.use(t)
		use()
		before := g.Stats().Waited
		g.pass(20, use)
		if n := g.Stats().Waited - before; n > 0 {
			t.Errorf("%d callers waited", n)
		}
		if n := g.ended(errOld); n < 19 || n > 28 {
			t.Errorf("%d ended by age: %v", n, g.causes)
		}
		g.pass(2, nil) // no caller needs one
		if s := g.Stats(); s.Idle != 0 {
			t.Errorf("%d idle after an hour without use", s.Idle)
		}
	})
}

// Of a surplus the resources near their end are ended first, so that enough remain when
// these would have ended anyway, at whatever time the sweep finds the surplus.
func TestReplacement_OldestGoFirst(t *testing.T) {
	e := anyOf(olderThan(lifetime), tired(10*time.Minute, 2))
	for early := range 30 {
		inGenerations(t, e, nil, func(g *generations) {
			hold := func() (two [2]resource.Lease[int]) {
				for n := range two {
					l, err := g.Acquire(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					two[n] = l
				}
				return two
			}
			// Two are old, and two others are idle for a little longer.
			time.Sleep(lifetime - 10*time.Minute - time.Duration(early)*time.Second)
			old := hold()
			young := hold()
			young[0].Release()
			young[1].Release()
			time.Sleep(2 * time.Second)
			old[0].Release()
			old[1].Release()
			g.pass(1, nil)
			if g.dips > 0 {
				t.Errorf("%d s early: %d times fewer than 2 were idle: %v", early, g.dips, g.causes)
			}
		})
	}
}

// The replacement of a resource that a caller holds for hours is ended.
func TestReplacement_LongLeases(t *testing.T) {
	e := anyOf(aged(lifetime), tired(5*time.Minute, 0))
	edit := func(cfg *resource.Config[int]) { cfg.MinIdle = 0 }
	inGenerations(t, e, edit, func(g *generations) {
		var ls []resource.Lease[int]
		for range 3 {
			l, err := g.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			ls = append(ls, l)
		}
		g.pass(2, nil)
		if s := g.Stats(); s.Idle != 0 || s.Leased != 3 || s.Begun.Replacements != 3 {
			t.Errorf("%v, want the three replacements gone", s)
		}
		for _, l := range ls {
			l.Release()
		}
	})
}
