package metrics_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// watcher is a meter with all its reports.
type watcher struct {
	m     *metrics.Meter
	trace *resource.Trace
	src   *source
	log   safeBuffer

	mu             sync.Mutex
	due, returned  []metrics.Held
	dueAt, endedAt []time.Duration
	start          time.Time
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWatcher(t *testing.T, overdue time.Duration) *watcher {
	w := &watcher{src: &source{}, start: time.Now()}
	w.m = newMeter(t, metrics.Config{
		Overdue: overdue,
		OnOverdue: func(h metrics.Held) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.due, w.dueAt = append(w.due, h), append(w.dueAt, time.Since(w.start))
		},
		OnReturned: func(h metrics.Held) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.returned, w.endedAt = append(w.returned, h), append(w.endedAt, time.Since(w.start))
		},
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	w.trace = w.m.Trace(nil)
	if err := w.m.Watch(w.src); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watcher) note(in *[]metrics.Held, h metrics.Held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*in = append(*in, h)
}

// want checks how many reports there were.
func (w *watcher) want(t *testing.T, due, returned int) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.due) != due || len(w.returned) != returned {
		t.Fatalf("overdue %+v, returned %+v, want %d and %d", w.due, w.returned, due, returned)
	}
}

func (w *watcher) kinds() (kinds []string) {
	for _, e := range w.m.Snapshot(0).Events {
		kinds = append(kinds, e.Kind)
	}
	slices.Reverse(kinds)
	return kinds
}

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

// One whose beginning nobody has told is found in the pool's list.
func TestOverdue_Unsampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Minute)
		lent := func(id uint64, leases int64, held time.Duration) resource.ResourceInfo {
			return resource.ResourceInfo{Info: resource.Info{ID: id, Leases: leases}, State: resource.Leased, Held: held}
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
		if log := w.log.String(); !strings.Contains(log, `stack="unknown: the lease was not sampled; the next ones will be, and with SampleLeases: 1 all are"`) {
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
			i.Resources = []resource.ResourceInfo{{Info: resource.Info{ID: 3, Leases: 9}, State: resource.Leased, Held: time.Hour}}
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

// A panic in what is told costs that report, and Close may be called from it.
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
				w := &watcher{start: time.Now()}
				w.m = newMeter(t, metrics.Config{
					Overdue:    time.Second,
					OnOverdue:  func(h metrics.Held) { w.note(&w.due, h) },
					OnReturned: func(h metrics.Held) { w.note(&w.returned, h) },
					Logger:     slog.New(slog.DiscardHandler),
				})
				p, err := resource.New(resource.Config[int]{
					Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 10,
					Trace: w.m.Trace(nil), SampleLeases: sample,
				})
				if err != nil {
					t.Fatal(err)
				}
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
