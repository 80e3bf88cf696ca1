package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// A lease that was sampled is reported once, with its stack, and once when it
// has ended.
func TestOverdue_Sampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Minute)
		time.Sleep(90 * time.Second) // nothing is held
		begin(w.trace, 1, 5)
		begin(w.trace, 2, 1)
		time.Sleep(30 * time.Second)
		end(w.trace, 2, 1)
		time.Sleep(30*time.Second - 1)
		w.want(t, 0, 0)
		time.Sleep(7500*time.Millisecond + 2)
		w.want(t, 1, 0)
		if h := w.m.Snapshot(1).Held[0]; !h.Overdue {
			t.Errorf("held is %+v", h)
		}
		time.Sleep(time.Hour)
		w.want(t, 1, 0)
		h := w.due[0]
		if h.ID != 1 || h.Lease != 5 || h.For < time.Minute || h.For > time.Minute*9/8 || !h.Overdue || len(h.Stack) == 0 || !strings.HasSuffix(h.Stack[0].Func, ".begin") {
			t.Errorf("it is %+v", h)
		}
		end(w.trace, 1, 5)
		end(w.trace, 1, 5)
		w.want(t, 1, 1)
		if h := w.returned[0]; h.ID != 1 || h.For < time.Hour || len(h.Stack) == 0 {
			t.Errorf("it came back as %+v", h)
		}
		if got := fmt.Sprint(w.kinds()); got != "[overdue returned]" {
			t.Errorf("the events are %s", got)
		}
		log := w.log.String()
		if strings.Count(log, "\n") != 2 || !strings.Contains(log, `level=WARN msg="lease is overdue" pool=`+t.Name()+` resource=1 lease=5 held=1m`) ||
			!strings.Contains(log, "metrics_test.begin (") || !strings.Contains(log, `level=INFO msg="overdue lease has ended"`) {
			t.Errorf("the log is\n%s", log)
		}
	})
}

// An overdue lease that was not sampled is found in the list of the pool.
func TestOverdue_Unsampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Minute)
		lent := func(id uint64, leases int64, held time.Duration) resource.ResourceInfo {
			return resource.ResourceInfo{Info: resource.Info{ID: id, Leases: leases - 1}, Lease: uint64(leases), State: resource.Leased, Held: held}
		}
		w.src.set(func(i *resource.Inspection) {
			i.Max, i.Leased, i.Idle = 10, 2, 1
			i.Resources = []resource.ResourceInfo{lent(3, 9, 50*time.Second), {Info: resource.Info{ID: 4}}, lent(5, 2, time.Second)}
		})
		time.Sleep(time.Minute) // the first look, which sees that one will be due in 10 s
		synctest.Wait()
		w.src.set(func(i *resource.Inspection) {
			i.Resources = []resource.ResourceInfo{lent(3, 9, 61*time.Second), lent(5, 2, 12*time.Second)}
		})
		w.want(t, 0, 0)
		time.Sleep(10*time.Second + 1)
		w.want(t, 1, 0)
		if h := w.due[0]; h.ID != 3 || h.Lease != 9 || h.For != 61*time.Second || h.Stack != nil || !h.Overdue {
			t.Errorf("it is %+v", h)
		}
		if log := w.log.String(); !strings.Contains(log, `stack="unknown: the lease was not sampled; with SampleLeases: 1 all are"`) {
			t.Errorf("the log does not say why there is no stack:\n%s", log)
		}
		time.Sleep(time.Minute)
		w.want(t, 1, 0)
		end(w.trace, 3, 9)
		w.want(t, 1, 1)
		if h := w.returned[0]; h.ID != 3 || h.For < 2*time.Minute {
			t.Errorf("it came back as %+v", h)
		}
	})
}

// One that ended just before it was noted is forgotten at the next look, as
// returned; the next lease of that resource is another.
func TestOverdue_UnsampledAndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Minute)
		w.src.set(func(i *resource.Inspection) {
			i.Max, i.Leased = 10, 1
			i.Resources = []resource.ResourceInfo{{Info: resource.Info{ID: 3, Leases: 9}, Lease: 9, State: resource.Leased, Held: time.Hour}}
		})
		time.Sleep(time.Minute)
		w.want(t, 1, 0)
		w.src.set(func(i *resource.Inspection) { i.Leased, i.Idle, i.Resources = 0, 1, nil })
		time.Sleep(time.Minute)
		w.want(t, 1, 1)
		if held := w.m.Snapshot(9).Held; len(held) != 0 {
			t.Errorf("held are %+v", held)
		}
		begin(w.trace, 3, 10)
		time.Sleep(2 * time.Minute)
		w.want(t, 2, 1)
		begin(w.trace, 3, 11) // so 10 has ended, and its Ended comes late
		w.want(t, 2, 2)
		end(w.trace, 3, 10)
		w.want(t, 2, 2)
	})
}

// While nothing is held, or all leases are short, the pool is looked at once in
// the time that a lease may last, besides the points of the history.
func TestOverdue_LooksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Minute)
		for n := range uint64(3600) {
			begin(w.trace, 1, n+1)
			time.Sleep(500 * time.Millisecond)
			end(w.trace, 1, n+1)
			time.Sleep(500 * time.Millisecond)
		}
		w.want(t, 0, 0)
		w.src.mu.Lock()
		defer w.src.mu.Unlock()
		points := int(time.Hour / metrics.HistoryEvery)
		if n := len(w.src.limit) - points; n < 55 || n > 65 {
			t.Errorf("in an hour it was looked at %d times", n)
		}
	})
}

// Each of many is reported in time, whenever it began.
func TestOverdue_NoLaterThanAnEighth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Second)
		began := make(map[uint64]time.Duration)
		for id := range uint64(300) {
			time.Sleep(time.Duration(id*id) % 37 * time.Millisecond)
			began[id+1] = time.Since(w.start)
			begin(w.trace, id+1, 1)
		}
		time.Sleep(2 * time.Second)
		w.want(t, 300, 0)
		for i, h := range w.due {
			if late := w.dueAt[i] - began[h.ID] - time.Second; late < 0 || late > time.Second/8 {
				t.Errorf("resource %d was reported %v after it was due", h.ID, late)
			}
		}
	})
}

// After Close nothing is reported, and nothing looks any more.
func TestOverdue_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Second)
		begin(w.trace, 1, 1)
		w.m.Close()
		time.Sleep(time.Hour)
		w.want(t, 0, 0)
		w.src.mu.Lock()
		defer w.src.mu.Unlock()
		if len(w.src.limit) != 0 {
			t.Errorf("it was looked at %d times", len(w.src.limit))
		}
	})
}

// A panic in a callback costs that report, and Close may be called from it.
func TestOverdue_PanicAndCloseInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *metrics.Meter
		var calls atomic.Int64
		m = newMeter(t, metrics.Config{
			Overdue: time.Second,
			Logger:  slog.New(slog.DiscardHandler),
			OnOverdue: func(metrics.Held) {
				if calls.Add(1) == 2 {
					m.Close()
				}
				panic("boom")
			},
		})
		trace := m.Trace(nil)
		if err := m.Watch(&source{}); err != nil {
			t.Fatal(err)
		}
		begin(trace, 1, 1)
		time.Sleep(2 * time.Second)
		begin(trace, 2, 1)
		begin(trace, 3, 1)
		time.Sleep(time.Minute)
		if n := calls.Load(); n != 2 {
			t.Errorf("called %d times, not 2", n)
		}
		if got := m.Snapshot(0).Events[0]; got.Kind != "panic" || got.Text != "boom" {
			t.Errorf("the last event is %+v", got)
		}
	})
}

// A real pool, with leases whose beginning is not sampled: each that lasts is
// found.
func TestOverdue_Pool(t *testing.T) {
	for _, sample := range []int{1, 1 << 20} {
		t.Run(fmt.Sprint("sample ", sample), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p := newPooled(t, time.Second, 10, sample)
				if err := w.m.Watch(p); err != nil {
					t.Fatal(err)
				}
				acquire := func() resource.Lease[int] {
					l, err := p.Acquire(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					return l
				}
				acquire().Release() // the first of a resource is always sampled
				for range 50 {
					l := acquire()
					time.Sleep(50 * time.Millisecond)
					l.Release()
				}
				l := acquire()
				time.Sleep(5 * time.Second)
				w.want(t, 1, 0)
				if h := w.due[0]; h.ID != l.Info().ID || h.Lease != uint64(l.Info().Leases) || (h.Stack != nil) != (sample == 1) {
					t.Errorf("it is %+v", h)
				}
				l.Release()
				w.want(t, 1, 1)
				for range 3 {
					acquire().Release()
				}
				time.Sleep(time.Minute)
				w.want(t, 1, 1)
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A leak at low load: from the second lease on every one that leaks has its stack,
// since the pool samples all once one was overdue that it had not sampled.
func TestOverdue_LeaksAtLowLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue := make(chan metrics.Held, 20)
		m := newMeter(t, metrics.Config{Overdue: time.Minute, OnOverdue: func(h metrics.Held) { overdue <- h }})
		p, err := resource.New(resource.Config[int]{
			MaxSize: 20, Trace: m.Trace(nil),
			Make: func(context.Context) (int, error) { return 1, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = p.Close(ctx) // behind the leaks
		}()
		if err := m.Watch(p); err != nil {
			t.Fatal(err)
		}
		if err := p.Warm(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		for range 5 { // the first lease of each is always sampled
			for _, l := range p.AcquireAllIdle() {
				l.Release()
			}
		}
		for leak := range 4 {
			if _, err := p.Acquire(t.Context()); err != nil { // it is never given back
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if len(overdue) != 1 {
				t.Fatalf("%d of the leases are overdue, not 1", len(overdue))
			}
			if h := <-overdue; leak > 0 && len(h.Stack) == 0 {
				t.Errorf("leak %d has no stack: %+v", leak+1, h)
			}
		}
	})
}

// The snapshot counts overdue leases even if it lists none: one whose beginning was
// sampled, and one that only the pool knows of.
func TestSnapshot_Overdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metrics.New("overdue count", metrics.Config{Overdue: time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		src := &source{}
		src.set(func(i *resource.Inspection) { i.Max = 4 })
		if err := m.Watch(src); err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		want := func(n int) {
			t.Helper()
			synctest.Wait()
			if s := m.Snapshot(0); s.Overdue != n || len(s.Held) != 0 {
				t.Fatalf("%d overdue, %d listed; want %d and none", s.Overdue, len(s.Held), n)
			}
		}
		tr := m.Trace(nil)
		tr.Leased(context.Background(), resource.LeaseEvent{ID: 1, Lease: 1})
		want(0)
		time.Sleep(3 * time.Second)
		want(1)
		src.set(func(i *resource.Inspection) {
			i.Leased = 1
			i.Resources = []resource.ResourceInfo{{Info: resource.Info{ID: 2, Leases: 5}, Lease: 5, State: resource.Leased, Held: 2 * time.Second}}
		})
		time.Sleep(3 * time.Second)
		want(2)
		tr.Ended(resource.EndEvent{ID: 1, Lease: 1, Held: 6 * time.Second, Sampled: 1})
		want(1)
		// The next lease of the same resource says that the last has ended.
		tr.Leased(context.Background(), resource.LeaseEvent{ID: 2, Lease: 6})
		want(0)
		src.set(func(i *resource.Inspection) { i.Resources[0].Leases, i.Resources[0].Held = 6, 2*time.Second })
		time.Sleep(3 * time.Second)
		want(1)
		m.Close()
		want(0)
	})
}

// The callback for overdue leases may take long. A lease that ends before or during its
// own report is reported as ended only after it was reported as overdue.
func TestOverdue_EndsWhileBeingReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		m := newMeter(t, metrics.Config{
			Overdue:    time.Second,
			OnOverdue:  func(h metrics.Held) { time.Sleep(time.Minute); d.note("due", h) },
			OnReturned: func(h metrics.Held) { d.note("over", h) },
			Logger:     slog.New(slog.DiscardHandler),
		})
		trace := m.Trace(nil)
		src := &source{}
		src.set(func(i *resource.Inspection) {
			i.Max, i.Leased = math.MaxInt, 20 // a source that knows no limit
			for id := range uint64(20) {
				i.Resources = append(i.Resources, resource.ResourceInfo{
					Info: resource.Info{ID: id + 100, Leases: 1}, Lease: 1, State: resource.Leased, Held: time.Hour,
				})
			}
		})
		if err := m.Watch(src); err != nil {
			t.Fatal(err)
		}
		begin(trace, 1, 1)
		time.Sleep(2 * time.Second) // 100 is being reported
		end(trace, 100, 1)          // in its turn
		end(trace, 101, 1)          // before it
		begin(trace, 102, 2)        // so its first lease has ended
		end(trace, 1, 1)
		d.want(t)
		src.set(func(i *resource.Inspection) {
			i.Leased, i.Resources = 17, i.Resources[3:]
		})
		time.Sleep(30 * time.Minute)
		want := []string{"due100", "over100", "due101", "over101", "due102", "over102"}
		for id := range 17 {
			want = append(want, fmt.Sprint("due", id+103))
		}
		d.want(t, append(want, "due1", "over1", "due102")...)
		end(trace, 102, 2)
		d.want(t, append(want, "due1", "over1", "due102", "over102")...)
	})
}

// A meter that is closed meanwhile tells no more.
func TestOverdue_CloseWhileReporting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		m := newMeter(t, metrics.Config{
			Overdue:    time.Second,
			OnOverdue:  func(h metrics.Held) { time.Sleep(time.Minute); d.note("due", h) },
			OnReturned: func(h metrics.Held) { d.note("over", h) },
			Logger:     slog.New(slog.DiscardHandler),
		})
		trace := m.Trace(nil)
		if err := m.Watch(&source{}); err != nil {
			t.Fatal(err)
		}
		begin(trace, 1, 1)
		begin(trace, 2, 1)
		time.Sleep(2 * time.Second)
		end(trace, 1, 1)
		end(trace, 2, 1)
		m.Close()
		time.Sleep(time.Hour)
		d.want(t, "due1")
	})
}

// The callback may end its goroutine, as a t.FailNow in it does: that costs this report
// alone; the meter goes on looking for overdue leases.
func TestOverdue_Goexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		m := newMeter(t, metrics.Config{
			Overdue:   time.Second,
			OnOverdue: func(h metrics.Held) { d.note("due", h); runtime.Goexit() },
			Logger:    slog.New(slog.DiscardHandler),
		})
		trace := m.Trace(nil)
		if err := m.Watch(&source{}); err != nil {
			t.Fatal(err)
		}
		begin(trace, 1, 1)
		begin(trace, 2, 1)
		begin(trace, 3, 1)
		time.Sleep(2 * time.Second)
		d.want(t, "due1", "due2", "due3")
		begin(trace, 4, 1)
		time.Sleep(2 * time.Second)
		d.want(t, "due1", "due2", "due3", "due4")
	})
}

// A thousand leases that one function does not end are a few events, and the one
// before them is there still.
func TestOverdue_Storm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Second)
		w.trace.Outage(errors.New("down"))
		for id := range uint64(1000) {
			begin(w.trace, id+1, 1)
		}
		time.Sleep(2 * time.Second)
		for id := range uint64(1000) {
			end(w.trace, id+1, 1)
		}
		w.want(t, 1000, 1000)
		if got := fmt.Sprint(w.kinds()); got != "[outage overdue returned]" {
			t.Errorf("the events are %s", got)
		}
		if e := w.m.Snapshot(0).Events[1]; e.More != 999 {
			t.Errorf("it is %+v", e)
		}
	})
}

// A lease that was dropped is reported with the stack of its acquire if it was sampled.
func TestDropped(t *testing.T) {
	for _, sampled := range []bool{true, false} {
		var told []metrics.Held
		var log bytes.Buffer
		m := newMeter(t, metrics.Config{
			OnDropped: func(h metrics.Held) { told = append(told, h); panic("its own trouble") },
			Logger:    slog.New(slog.NewTextHandler(&log, nil)),
		})
		trace := m.Trace(nil)
		if sampled {
			begin(trace, 3, 9)
		}
		dropped := fmt.Errorf("found: %w", resource.ErrDropped)
		trace.Ended(resource.EndEvent{ID: 3, Lease: 9, Held: time.Minute, Cause: dropped})
		trace.Ended(resource.EndEvent{ID: 4, Lease: 1, Held: time.Minute, Cause: resource.ErrReset})
		trace.Destroyed(resource.DestroyEvent{Info: resource.Info{ID: 3}, Cause: dropped})
		if len(told) != 1 || told[0].ID != 3 || told[0].Lease != 9 || told[0].For < time.Minute {
			t.Fatalf("told %+v", told)
		}
		by := len(told[0].Stack) > 0 && strings.HasSuffix(told[0].Stack[0].Func, "metrics_test.begin")
		if by != sampled || strings.Contains(log.String(), "metrics_test.begin") != sampled {
			t.Errorf("sampled %v: told %+v\n%s", sampled, told, &log)
		}
		if n := strings.Count(log.String(), "lease was dropped"); n != 1 {
			t.Errorf("%d lines of log\n%s", n, &log)
		}
		s := m.Snapshot(10)
		events := 0
		for _, e := range s.Events {
			if e.Kind == "dropped" && strings.Contains(e.Text, "metrics_test.begin") == sampled {
				events++
			}
		}
		if events != 1 || s.Destroyed["dropped"] != 1 || len(s.Held) != 0 {
			t.Errorf("sampled %v: %+v", sampled, s)
		}
	}
}

// The end of an overdue lease that was dropped is reported too: a count of overdue
// leases would otherwise keep it for ever.
func TestDropped_Overdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Second)
		begin(w.trace, 3, 9)
		time.Sleep(2 * time.Second)
		w.want(t, 1, 0)
		w.trace.Ended(resource.EndEvent{ID: 3, Lease: 9, Held: time.Minute, Sampled: 1, Cause: resource.ErrDropped})
		w.want(t, 1, 1)
		if got := fmt.Sprint(w.kinds()); got != "[overdue dropped returned]" {
			t.Errorf("the events are %s", got)
		}
	})
}

// newPooled returns a pool of at most max resources whose Trace is that of a watcher's meter, which
// is yet to Watch it.
func newPooled(t *testing.T, overdue time.Duration, max, sampled int) (*watcher, *resource.Pool[int]) {
	t.Helper()
	w := &watcher{start: time.Now()}
	w.m = newMeter(t, metrics.Config{
		Overdue:    overdue,
		OnOverdue:  func(h metrics.Held) { w.note(&w.due, h) },
		OnReturned: func(h metrics.Held) { w.note(&w.returned, h) },
		Logger:     slog.New(slog.DiscardHandler),
	})
	p, err := resource.New(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 1, nil },
		MaxSize: max, Trace: w.m.Trace(nil), SampleLeases: sampled,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, p
}

// A lease that was acquired with Request.Shared is never overdue, sampled or not, and the
// next lease of its resource is.
func TestOverdue_Shared(t *testing.T) {
	for name, sampled := range map[string]int{"sampled": 1, "unsampled": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p := newPooled(t, time.Minute, 1, sampled)
				if err := w.m.Watch(p); err != nil {
					t.Fatal(err)
				}
				lend := func(shared bool) {
					l, err := p.AcquireWith(t.Context(), resource.Request{Shared: shared})
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Hour)
					l.Release()
				}
				lend(true)
				lend(true)
				w.want(t, 0, 0)
				lend(false)
				w.want(t, 1, 1)
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// releasing is a Source whose Inspect ends a lease once it has seen it.
type releasing struct {
	*resource.Pool[int]
	lease atomic.Pointer[resource.Lease[int]] // nil: none yet
}

func (r *releasing) Inspect(limit int) resource.Inspection {
	i := r.Pool.Inspect(limit)
	if l := r.lease.Load(); l != nil && limit > 0 {
		l.Release() // has no effect the next time
	}
	return i
}

// An overdue lease that ends while the pool is searched for others is not reported again.
func TestOverdue_EndsDuringScan(t *testing.T) {
	for name, sampled := range map[string]int{"sampled": 1, "unsampled": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p := newPooled(t, time.Minute, 1, sampled)
				src := &releasing{Pool: p}
				if err := w.m.Watch(src); err != nil {
					t.Fatal(err)
				}
				var l resource.Lease[int]
				for { // the first ones are sampled
					var err error
					if l, err = p.Acquire(t.Context()); err != nil {
						t.Fatal(err)
					}
					if (len(w.m.Snapshot(1).Held) > 0) == (sampled == 1) {
						break
					}
					l.Release()
				}
				time.Sleep(5 * time.Minute) // in the bubble
				w.want(t, 1, 0)
				src.lease.Store(&l)
				time.Sleep(5 * time.Minute) // in the bubble
				w.want(t, 1, 1)
				if s := w.m.Snapshot(0); s.Overdue != 0 || p.Stats().Leased != 0 {
					t.Errorf("%d leases are overdue, %d are held", s.Overdue, p.Stats().Leased)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A lease that was not sampled is reported under the ordinal by which Inspect shows it and Reclaim
// ends it. Leases that were taken back, as after ReleaseAfter, have ordinals but are not in
// Info.Leases.
func TestOverdue_UnsampledOrdinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var due, returned []metrics.Held
		m := newMeter(t, metrics.Config{
			Overdue: time.Minute, Logger: slog.New(slog.DiscardHandler),
			OnOverdue: func(h metrics.Held) { due = append(due, h) }, OnReturned: func(h metrics.Held) { returned = append(returned, h) },
		})
		p, err := resource.New(resource.Config[int]{
			Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 1, SampleLeases: 1 << 20, Trace: m.Trace(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		m.Watch(p)
		for range 5 {
			l, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			l.ReleaseAfter(func(context.Context, int) error { return nil })
			synctest.Wait()
		}
		for {
			l, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Snapshot(1).Held) == 0 {
				break // it was not sampled
			}
			l.Release()
		}
		time.Sleep(10 * time.Minute)
		rows := p.Inspect(1).Resources
		if len(due) != 1 || len(rows) != 1 || len(due[0].Stack) > 0 {
			t.Fatalf("reported as overdue: %+v; resources: %+v", due, rows)
		}
		h := due[0]
		if h.Lease != rows[0].Lease || int64(h.Lease) == rows[0].Leases {
			t.Errorf("lease %d is reported; it is lease %d, of %d that were not taken back", h.Lease, rows[0].Lease, rows[0].Leases)
		}
		if !p.Reclaim(h.ID, h.Lease) {
			t.Error("Reclaim does nothing")
		}
		synctest.Wait()
		if len(returned) != 1 || returned[0].Lease != h.Lease {
			t.Errorf("reported as returned at the end of the lease: %+v", returned)
		}
	})
}
