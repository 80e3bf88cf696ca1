package sched_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/internal/explore/sim/atomic"
	"github.com/respool/respool/internal/explore/sim/context"
	"github.com/respool/respool/internal/explore/sim/sync"
	"github.com/respool/respool/internal/explore/sim/time"
)

// explore explores a scene that is expected to succeed.
func explore(t *testing.T, bound int, run func(x *sched.X)) sched.Result {
	t.Helper()
	r := sched.Explore(sched.Scene{Name: t.Name(), Run: run}, sched.Options{Bound: bound})
	if r.Failure != "" || !r.Complete {
		t.Errorf("failure %q with bound %d, complete: %v", r.Failure, r.Bound, r.Complete)
	}
	return r
}

// fails explores a scene that is expected to fail with that bound, and in the replay.
func fails(t *testing.T, bound int, want string, run func(x *sched.X)) {
	t.Helper()
	scene := sched.Scene{Name: t.Name(), Run: run}
	r := sched.Explore(scene, sched.Options{Bound: 3, MaxSteps: 1000})
	if !strings.Contains(r.Failure, want) || r.Bound != bound {
		t.Fatalf("failure %q with bound %d, want %q with bound %d", r.Failure, r.Bound, want, bound)
	}
	failure, steps, err := sched.Replay(scene, r.Schedule, 0)
	if err != nil || !strings.Contains(failure, want) {
		t.Errorf("the replay of %q has failure %q, want %q (%v)", r.Schedule, failure, r.Failure, err)
	}
	if table := sched.Table(steps); !strings.Contains(table, "goroutine") || len(steps) == 0 {
		t.Errorf("table of %d steps:\n%s", len(steps), table)
	}
}

func TestLostUpdate(t *testing.T) {
	fails(t, 1, "counted 1", func(x *sched.X) {
		var n atomic.Int32
		for range 2 {
			x.Actor("add", func() { n.Store(n.Load() + 1) })
		}
		x.Explore()
		x.Require(n.Load() == 2, "counted %d", n.Load())
	})
	explore(t, 3, func(x *sched.X) {
		var n atomic.Int32
		for range 3 {
			x.Actor("add", func() { n.Add(1) })
		}
		x.Explore()
		x.Require(n.Load() == 3, "counted %d", n.Load())
	})
}

func TestDeadlock(t *testing.T) {
	fails(t, 1, "lost wake-up", func(x *sched.X) {
		var a, b sync.Mutex
		both := 0
		lock := func(first, second *sync.Mutex) func() {
			return func() {
				first.Lock()
				second.Lock()
				both++
				second.Unlock()
				first.Unlock()
			}
		}
		x.Actor("ab", lock(&a, &b))
		x.Actor("ba", lock(&b, &a))
		x.Explore()
		x.Require(both == 2, "%d goroutines had both locks", both)
	})
}

func TestLivelock(t *testing.T) {
	fails(t, 0, "livelock", func(x *sched.X) {
		var stop atomic.Bool
		x.Actor("spin", func() {
			for !stop.Load() {
			}
		})
		x.Explore()
	})
}

func TestPanic(t *testing.T) {
	fails(t, 0, "panicked: boom", func(x *sched.X) {
		x.Actor("boom", func() { panic("boom") })
		x.Explore()
	})
	fails(t, 0, "was ended by runtime.Goexit", func(x *sched.X) {
		x.Actor("exit", runtime.Goexit)
		x.Explore()
	})
	fails(t, 0, "has not ended when the scene has", func(x *sched.X) {
		c := make(chan int)
		x.Actor("start", func() { sched.Go(func() { sched.Recv(c) }) })
		x.Explore()
	})
}

// A signal that is sent before the other goroutine waits for it is lost.
func TestLostWakeUp(t *testing.T) {
	scene := func(looksAgain bool) func(x *sched.X) {
		return func(x *sched.X) {
			var ready, waits atomic.Bool
			wake := make(chan struct{}, 1)
			x.Actor("waiter", func() {
				if ready.Load() {
					return
				}
				waits.Store(true)
				if looksAgain && ready.Load() {
					return
				}
				sched.Recv(wake)
			})
			x.Actor("waker", func() {
				ready.Store(true)
				if waits.Load() {
					sched.AwaitSend(wake)
					wake <- struct{}{}
				}
			})
			x.Explore()
		}
	}
	fails(t, 1, "lost wake-up", scene(false))
	explore(t, 3, scene(true))
}

func TestCond(t *testing.T) {
	scene := func(signal func(c *sync.Cond)) func(x *sched.X) {
		return func(x *sched.X) {
			var mu sync.Mutex
			c := sync.NewCond(&mu)
			ready := false
			for range 2 {
				x.Actor("waiter", func() {
					mu.Lock()
					defer mu.Unlock()
					for !ready {
						c.Wait()
					}
				})
			}
			x.Actor("waker", func() {
				mu.Lock()
				ready = true
				mu.Unlock()
				signal(c)
			})
			x.Explore()
		}
	}
	explore(t, 3, scene((*sync.Cond).Broadcast))
	fails(t, 0, "lost wake-up", scene((*sync.Cond).Signal))
}

// Every ready case of a select statement is explored.
func TestSelect(t *testing.T) {
	seen := make(map[int]bool)
	explore(t, 0, func(x *sched.X) {
		a, b := make(chan int, 1), make(chan int, 1)
		a <- 1
		b <- 1
		var none chan int
		x.Actor("select", func() { seen[sched.Choose(false, sched.R(a), sched.R(b), sched.R(none))] = true })
		x.Explore()
	})
	if len(seen) != 2 || !seen[0] || !seen[1] {
		t.Errorf("chosen: %v, want 0 and 1", seen)
	}
	fails(t, 0, "case 1", func(x *sched.X) {
		a, b := make(chan int, 1), make(chan int)
		a <- 1
		sched.CloseChan(b)
		x.Actor("select", func() {
			c := sched.Choose(true, sched.R(a), sched.R(b))
			x.Require(c == 0, "case %d", c)
		})
		x.Explore()
	})
}

// The time is that of the scheduler, so nothing sleeps.
func TestTime(t *testing.T) {
	explore(t, 1, func(x *sched.X) {
		began := time.Now()
		fired := false
		late := time.AfterFunc(time.Second, func() { fired = true })
		stopped := time.AfterFunc(time.Second, func() { x.Fail("a stopped timer fires") })
		x.Require(stopped.Stop() && !stopped.Stop(), "Stop")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		x.Actor("sleep", func() { time.Sleep(2 * time.Second) })
		x.Actor("wait", func() {
			sched.Recv(ctx.Done())
			x.Require(ctx.Err() == context.DeadlineExceeded, "Err: %v", ctx.Err())
		})
		x.ExploreInTime()
		x.Require(fired && !late.Stop() && time.Since(began) == time.Minute, "fired: %v, after %v", fired, time.Since(began))
		text, quiet := x.Quiet()
		x.Require(quiet, "%s", text)
	})
	fails(t, 0, "lost wake-up", func(x *sched.X) { // where time does not pass
		x.Actor("sleep", func() { time.Sleep(time.Second) })
		x.Explore()
	})
	// A timer that an actor has fire races with the others.
	fails(t, 1, "too late", func(x *sched.X) {
		var over atomic.Bool
		time.AfterFunc(time.Second, func() { over.Store(true) })
		x.Actor("clock", func() { x.Advance(int64(time.Second)) })
		x.Actor("work", func() {
			if !over.Load() {
				x.Require(!over.Load(), "too late")
			}
		})
		x.Explore()
	})
}

func TestContext(t *testing.T) {
	explore(t, 2, func(x *sched.X) {
		parent, cancelParent := context.WithCancelCause(context.Background())
		child, cancel := context.WithCancel(context.WithValue(parent, "key", "value"))
		apart := context.WithoutCancel(child)
		var after atomic.Int32
		stop := context.AfterFunc(child, func() { after.Add(1) })
		why := fmt.Errorf("why")
		stopped := false
		x.Actor("parent", func() { cancelParent(why) })
		x.Actor("child", cancel)
		x.Actor("stop", func() { stopped = stop() })
		x.Explore()
		x.Require(context.Cause(parent) == why, "cause of the parent: %v", context.Cause(parent))
		c := context.Cause(child)
		x.Require(c == why || c == context.Canceled, "cause of the child: %v", c)
		x.Require(child.Value("key") == "value" && apart.Value("key") == "value" && apart.Err() == nil, "values")
		x.Require(stopped == (after.Load() == 0), "stopped: %v, called %d times", stopped, after.Load())
	})
}

// op is an operation of a random program.
type op struct{ kind, object int }

// outcomes returns the results that a random program can have.
func outcomes(t *testing.T, program [][]op, bound int, plain bool) (map[string]bool, int) {
	seen := make(map[string]bool)
	r := sched.Explore(sched.Scene{Name: "random", Run: func(x *sched.X) {
		var v [2]atomic.Int32
		var m sync.Mutex
		c := make(chan int, 8)
		reads := make([][]int32, len(program))
		for i, ops := range program {
			x.Actor("actor", func() {
				note := func(n int32) { reads[i] = append(reads[i], n) }
				for k, o := range ops {
					sched.At = int32(i*100 + k + 1)
					switch o.kind {
					case 0:
						note(v[o.object].Load())
					case 1:
						v[o.object].Store(int32(10*i + k + 1))
					case 2:
						note(v[o.object].Add(1))
					case 3:
						m.Lock()
						note(v[o.object].Load())
						v[o.object].Store(int32(100 + 10*i + k))
						m.Unlock()
					case 4:
						if m.TryLock() {
							note(1)
							v[o.object].Store(int32(200 + 10*i + k))
							m.Unlock()
						} else {
							note(0)
						}
					case 5:
						sched.AwaitSend(c)
						c <- 10*i + k
					case 6:
						if sched.Choose(true, sched.R(c)) == 0 {
							note(int32(<-c))
						} else {
							note(-1)
						}
					case 7:
						sched.Go(func() { v[o.object].Add(7) })
					}
				}
			})
		}
		x.Explore()
		seen[fmt.Sprint(reads, v[0].Load(), v[1].Load(), len(c))] = true
	}}, sched.Options{Bound: bound, Plain: plain})
	if r.Failure != "" || !r.Complete {
		t.Fatalf("%v: %s", program, r.Failure)
	}
	n := 0
	for _, s := range r.Schedules {
		n += s
	}
	return seen, n
}

// The reductions of the search lose no result of a program.
func TestReductionsLoseNothing(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("RESPOOL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("RESPOOL_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	programs := 100
	if testing.Short() {
		programs = 30
	}
	reduced, all := 0, 0
	for range programs {
		program := make([][]op, 2+rng.IntN(2))
		for i := range program {
			for range 1 + rng.IntN(3) {
				program[i] = append(program[i], op{rng.IntN(8), rng.IntN(2)})
			}
		}
		bound := rng.IntN(3)
		want, n := outcomes(t, program, bound, true)
		got, m := outcomes(t, program, bound, false)
		all, reduced = all+n, reduced+m
		for result := range want {
			if !got[result] {
				t.Fatalf("with bound %d the search misses %s of\n%v", bound, result, program)
			}
		}
		for result := range got {
			if !want[result] {
				t.Fatalf("with bound %d the search without reductions misses %s of\n%v", bound, result, program)
			}
		}
	}
	t.Logf("%d schedules instead of %d", reduced, all)
}

func TestReplayOfAnotherProgram(t *testing.T) {
	scene := sched.Scene{Name: t.Name(), Run: func(x *sched.X) {
		var n atomic.Int32
		x.Actor("add", func() { n.Add(1) })
		x.Explore()
	}}
	for schedule, want := range map[string]string{
		"1>1":     "",
		"1>7":     "does not fit",
		"1>1 3>x": "invalid schedule",
	} {
		failure, _, err := sched.Replay(scene, schedule, 0)
		text := failure
		if err != nil {
			text = err.Error()
		}
		if want == "" && text != "" || !strings.Contains(text, want) {
			t.Errorf("%s: %q, want %q", schedule, text, want)
		}
	}
}

// A program of which two executions differ is no program to explore.
func TestNotDeterministic(t *testing.T) {
	executions := 0
	r := sched.Explore(sched.Scene{Name: t.Name(), Run: func(x *sched.X) {
		executions++
		var n atomic.Int32
		for range 2 + executions%2 {
			x.Actor("add", func() { n.Store(n.Load() + 1) })
		}
		x.Explore()
	}}, sched.Options{Bound: 1})
	if !strings.Contains(r.Failure, "not deterministic") {
		t.Errorf("failure %q", r.Failure)
	}
}
