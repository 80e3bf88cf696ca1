package suite

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// A row is one kind of work, done by every entrant in turns.
type row struct {
	name     string // in -only
	entrants []entrant
	figures  []figure
	turns    int  // measurements of a round, whose median counts; 0: 1
	large    bool // measured only if -only selects it
}

// An entrant is one pool under test, in one of its sizes. The goals are about the
// first entrant of a row.
type entrant struct {
	name string
	open func(x *setup) measurement
}

// A measurement measures an opened entrant once. Like open it may fail by [check].
type measurement func(ctx context.Context) sample

// A setup is what an entrant is opened with.
type setup struct {
	ctx      context.Context
	cleanups []func() error // run in reverse order when the row ends
	curve    []point        // what happened in the last measurement, over time
}

// cleanup has f run when the row ends, also if opening the entrant fails later.
func (x *setup) cleanup(f func() error) { x.cleanups = append(x.cleanups, f) }

func (x *setup) close() (err error) {
	for _, f := range slices.Backward(x.cleanups) {
		err = errors.Join(err, f())
	}
	return err
}

// scoped runs f with a setup of its own, which it closes after f, also if f fails.
func scoped(ctx context.Context, f func(x *setup)) error {
	x := &setup{ctx: ctx}
	return errors.Join(attempt(func() { f(x) }), x.close())
}

// A failure is the panic of check.
type failure struct{ error }

// check ends a measurement if err is not nil, as testing.T.Fatal ends a test. It must
// run below [attempt] in the same goroutine; [crowd] has one in each of its goroutines.
func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

// failIf ends a measurement, as check does, if bad.
func failIf(bad bool, format string, args ...any) {
	if bad {
		check(fmt.Errorf(format, args...))
	}
}

// attempt returns the error with which f fails.
func attempt(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.error
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// runRows measures the rows that o selects and reports progress to w.
func runRows(ctx context.Context, all []row, o options, w io.Writer) (out []result) {
	chosen := slices.DeleteFunc(slices.Clone(all), func(r row) bool {
		return !o.only.MatchString(r.name) || r.large && o.only.String() == ""
	})
	for i, r := range chosen {
		progress := func(format string, args ...any) {
			fmt.Fprintf(w, "[%d/%d] %s: %s\n", i+1, len(chosen), r.name, fmt.Sprintf(format, args...))
		}
		start := time.Now()
		out = append(out, runRow(ctx, r, o, progress))
		progress("done in %.1fs", time.Since(start).Seconds())
	}
	return out
}

// measureTime bounds one measurement: one that hangs is an error of its entrant.
const measureTime = 3 * time.Minute

// runRow opens the entrants, measures them in turns and closes them. The entrant that
// is measured first changes from round to round. An entrant whose measurement fails is
// not measured again; the others go on.
func runRow(ctx context.Context, r row, o options, progress func(string, ...any)) result {
	res := result{Row: r.name, Main: r.entrants[0].name, Samples: map[string][]sample{}, Curves: map[string][]point{}, Errs: map[string]string{}}
	failed := func(name, what string, err error) {
		if err == nil {
			return
		}
		progress("%s: %s: %v", name, what, err)
		if res.Errs[name] == "" { // later errors may follow from the first
			res.Errs[name] = fmt.Sprintf("%s: %v", what, err)
		}
	}
	type session struct {
		name    string
		x       setup
		measure measurement
		got     []sample // of the current round
	}
	var sessions []*session
	for _, e := range r.entrants {
		res.Entrants = append(res.Entrants, e.name)
		if o.pools.MatchString(e.name) {
			s := &session{name: e.name, x: setup{ctx: ctx}}
			sessions = append(sessions, s)
			failed(s.name, "open", attempt(func() { s.measure = e.open(&s.x) }))
		}
	}
	for round := range o.rounds {
		for turn := range max(1, r.turns) * len(sessions) {
			s := sessions[(turn+turn/len(sessions)+round)%len(sessions)]
			if s.measure == nil || res.Errs[s.name] != "" {
				continue
			}
			failed(s.name, fmt.Sprintf("round %d", round+1), attempt(func() {
				check(ctx.Err())
				runtime.GC() // the garbage of other entrants
				ctx, cancel := context.WithTimeout(ctx, measureTime)
				defer cancel()
				s.got = append(s.got, s.measure(ctx))
			}))
		}
		for _, s := range sessions {
			if len(s.got) > 0 && res.Errs[s.name] == "" {
				got := medianOf(s.got)
				res.Samples[s.name] = append(res.Samples[s.name], got)
				progress("round %d/%d %s: %v", round+1, o.rounds, s.name, got)
			}
			if s.got = nil; s.x.curve != nil {
				res.Curves[s.name] = s.x.curve
			}
		}
	}
	for _, s := range sessions {
		failed(s.name, "close", s.x.close())
	}
	return res
}

// medianOf has the median of each metric.
func medianOf(all []sample) sample {
	out := sample{}
	for metric := range all[0] {
		out[metric] = quantile(result{Samples: map[string][]sample{"": all}}.values("", metric), 0.5)
	}
	return out
}

// meter times l for at least d, with testing.Benchmark.
func meter(ctx context.Context, d time.Duration, l peer.Loop) sample {
	if flag.Lookup("test.benchtime") == nil {
		testing.Init()
	}
	check(flag.Set("test.benchtime", d.String()))
	var err error
	r := testing.Benchmark(func(b *testing.B) {
		if err = l(ctx, b.N); err != nil {
			b.FailNow()
		}
	})
	check(err)
	n := float64(r.N)
	return sample{"ns/op": float64(r.T.Nanoseconds()) / n, "allocs/op": float64(r.MemAllocs) / n}
}

// metered measures l with a context that can be cancelled, as that of nearly every
// real caller can.
func metered(s size, l peer.Loop) measurement {
	return func(ctx context.Context) sample {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return meter(ctx, s.micro(), l)
	}
}

// repeated is a loop of calls of f.
func repeated(f func(ctx context.Context)) peer.Loop {
	return func(ctx context.Context, n int) error {
		return attempt(func() {
			for range n {
				f(ctx)
			}
		})
	}
}

// timed measures one call of f, in milliseconds.
func timed(s size, f func()) measurement {
	l := metered(s, repeated(func(context.Context) { f() }))
	return func(ctx context.Context) sample {
		got := l(ctx)
		return sample{"ms": got["ns/op"] / 1e6, "allocs/op": got["allocs/op"]}
	}
}

// crowd runs n callers that begin at once and returns when they began. The first
// failure of one cancels the context of the others, and is crowd's.
func crowd(ctx context.Context, n int, caller func(ctx context.Context, i int)) time.Time {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var ready, done sync.WaitGroup
	gun := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-gun
			if err := attempt(func() { caller(ctx, i) }); err != nil {
				cancel(err)
			}
		})
	}
	ready.Wait()
	start := time.Now()
	close(gun)
	done.Wait()
	check(context.Cause(ctx))
	return start
}

// perSecond returns how many calls of f a second n workers complete in d, at least one
// each.
func perSecond(n int, d time.Duration, f func(worker int)) float64 {
	var done, last atomic.Int64
	begin := time.Now()
	crowd(context.Background(), n, func(others context.Context, i int) {
		for others.Err() == nil {
			f(i)
			done.Add(1)
			if took := time.Since(begin); took >= d {
				raise(&last, int64(took))
				return
			}
		}
	})
	return float64(done.Load()) / time.Duration(last.Load()).Seconds()
}

// raise makes top at least v.
func raise(top *atomic.Int64, v int64) {
	for {
		old := top.Load()
		if v <= old || top.CompareAndSwap(old, v) {
			return
		}
	}
}

// spin keeps the CPU busy for d.
func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// String lists the metrics in the order of their names.
func (s sample) String() string {
	var all []string
	for _, k := range slices.SortedFunc(maps.Keys(s), cmp.Compare[string]) {
		all = append(all, k+" "+number(s[k]))
	}
	return strings.Join(all, ", ")
}
