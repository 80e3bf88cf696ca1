package metrics_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// diary is what a meter has told, in order.
type diary struct {
	mu   sync.Mutex
	told []string
}

func (d *diary) note(what string, h metrics.Held) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, fmt.Sprint(what, h.ID))
}

func (d *diary) want(t *testing.T, told ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if got, want := strings.Join(d.told, " "), strings.Join(told, " "); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// What tells of overdue leases may take long. One that ends before its turn has
// come, or in it, is told to have ended only after it was told to be overdue.
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
					Info: resource.Info{ID: id + 100, Leases: 1}, State: resource.Leased, Held: time.Hour,
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

// What is told may end its goroutine, as a t.FailNow in it does: that costs this
// report alone, and not the looking.
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
