package metrics_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// What a page that opens at night finds: ten minutes, with the figures of each two
// seconds, and no more however long the meter has watched.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		if h := m.History(); !h.Since.IsZero() || len(h.Points) != 0 {
			t.Fatalf("before Watch it is %+v", h)
		}
		src := &source{}
		start := time.Now()
		if err := m.Watch(src); err != nil {
			t.Fatal(err)
		}
		trace := m.Trace(nil)
		time.Sleep(time.Millisecond) // so that each change is between two points
		for i := range 400 {
			n := int64(i)
			src.set(func(s *resource.Inspection) {
				s.Load = resource.Load{Max: 9, Leased: i % 9}
				s.OldestWait = time.Duration(i) * time.Millisecond
				s.Acquired, s.Stats.Waited, s.Made, s.Failed, s.Destroyed = 10*n, n, 2*n, 3*n, 4*n
				s.Failures.Admission = 5 * n
			})
			if i > 0 {
				trace.Waited(context.Background(), resource.WaitEvent{ID: 1, Waited: time.Duration(1+i%2) * time.Second})
			}
			time.Sleep(metrics.HistoryEvery)
			synctest.Wait()
		}
		h := m.History()
		if !h.Since.Equal(start) || h.Every != metrics.HistoryEvery || len(h.Points) != metrics.MaxPoints || metrics.MaxPoints != 300 {
			t.Fatalf("%d points every %v since %v", len(h.Points), h.Every, h.Since)
		}
		for i, p := range h.Points {
			k := i + 100
			n := int64(k)
			want := metrics.Point{
				Time: start.Add(time.Duration(k+1) * metrics.HistoryEvery), Load: resource.Load{Max: 9, Leased: k % 9},
				OldestWait: time.Duration(k) * time.Millisecond,
				Acquired:   10 * n, Waited: n, Made: 2 * n, Failed: 3 * n, Destroyed: 4 * n,
				Failures: resource.AcquireFailures{Admission: 5 * n},
				Waits:    10, WaitP50: 0, WaitP99: p.WaitP99,
			}
			if p != want {
				t.Fatalf("point %d is\n%+v, want\n%+v", i, p, want)
			}
			if waited := time.Duration(1+k%2) * time.Second; p.WaitP99 < waited*95/100 || p.WaitP99 > waited*105/100 {
				t.Fatalf("point %d: one of ten waited %v, its p99 is %v", i, waited, p.WaitP99)
			}
		}
		if room := m.HistoryRoom(); room != metrics.MaxPoints {
			t.Errorf("it has room for %d points", room)
		}
		m.Close()
		time.Sleep(time.Minute)
		m.Remember() // one that was under way at Close
		if after := m.History(); !after.Since.IsZero() || len(after.Points) != 0 {
			t.Errorf("after Close it is %+v", after)
		}
	})
}

// Where a pool stood still its points say so.
func TestHistory_Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		if err := m.Watch(&source{}); err != nil {
			t.Fatal(err)
		}
		m.Trace(nil).Waited(context.Background(), resource.WaitEvent{ID: 1, Waited: time.Second})
		time.Sleep(3 * metrics.HistoryEvery)
		synctest.Wait()
		all := m.History().Points
		if len(all) != 3 || all[0].Waits != 1 || all[1].Waits != 0 || all[1].WaitP99 != 0 || all[2].Waits != 0 {
			t.Errorf("the points are %+v", all)
		}
	})
}

// A Source that panics, or ends its goroutine, is asked once for a history and then
// left alone: each panic is an event. The meter can be closed all the same.
func TestHistory_SourceFails(t *testing.T) {
	for name, fail := range map[string]func(){"panics": func() { panic("no source") }, "ends its goroutine": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeter(t, metrics.Config{})
				src := &failing{fail: fail}
				if err := m.Watch(src); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if n, points := src.asked.Load(), len(m.History().Points); n != 1 || points != 0 {
					t.Errorf("it was asked %d times, for %d points", n, points)
				}
			})
		})
	}
}

// The memory of histories is bounded, of one meter and of all, as the doc has it;
// a meter that is closed makes room.
func TestHistory_Bounds(t *testing.T) {
	if bytes := int(unsafe.Sizeof(metrics.Point{})) * metrics.MaxPoints; bytes > 80_000 {
		t.Errorf("a history has %d bytes", bytes)
	}
	before := metrics.Histories()
	watching := func(name string) *metrics.Meter {
		m, err := metrics.New(name, metrics.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		if err := m.Watch(&source{}); err != nil {
			t.Fatal(err)
		}
		return m
	}
	var all []*metrics.Meter
	for i := range metrics.MaxHistories {
		m := watching(fmt.Sprint("key ", i))
		if m.History().Since.IsZero() {
			t.Fatalf("meter %d has no history", i+1)
		}
		all = append(all, m)
	}
	over := watching("one too many")
	if h := over.History(); !h.Since.IsZero() {
		t.Errorf("it has a history: %+v", h)
	}
	over.Close()
	all[7].Close()
	all[7].Close()
	if watching("another").History().Since.IsZero() {
		t.Error("a closed meter does not make room")
	}
	if n := metrics.Histories(); n != before+metrics.MaxHistories {
		t.Errorf("there are %d histories", n)
	}
}

// A point has the sums over the layers above the pool, if there are any.
func TestHistory_Layers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		src := &source{}
		if err := m.Watch(src); err != nil {
			t.Fatal(err)
		}
		time.Sleep(metrics.HistoryEvery + time.Millisecond)
		src.set(func(in *resource.Inspection) {
			in.Multiplexers = []resource.Multiplexer{
				{InFlight: 1, Orphans: 2, Waiting: 3, Calls: 4, NotSent: 5, MayHaveRun: 6},
				{InFlight: 10, Orphans: 20, Waiting: 30, Calls: 40, NotSent: 50, MayHaveRun: 60},
			}
		})
		time.Sleep(metrics.HistoryEvery)
		src.set(func(in *resource.Inspection) {
			in.Multiplexers = nil
			in.Endpoints = &resource.Endpoints{All: []resource.EndpointInfo{{Good: 1, Bad: 2, Refused: 3, Ejected: true}, {Good: 10, Bad: 20, Refused: 30}}}
		})
		time.Sleep(metrics.HistoryEvery)
		synctest.Wait()
		all := m.History().Points
		want := []*metrics.Layers{
			nil,
			{Multiplexers: 2, InFlight: 11, Orphans: 22, Waiting: 33, Answered: 44, NotSent: 55, MayHaveRun: 66},
			{Endpoints: 2, Ejected: 1, Good: 11, Bad: 22, Refused: 33},
		}
		for i, w := range want {
			if got := all[i].Layers; (got == nil) != (w == nil) || got != nil && *got != *w {
				t.Errorf("point %d has %+v, want %+v", i, got, w)
			}
		}
		if bytes := unsafe.Sizeof(metrics.Layers{}); bytes > 96 {
			t.Errorf("layers have %d bytes", bytes)
		}
	})
}

// The settings of a meter follow those of its pool, and are no part of a snapshot without
// lists.
func TestSnapshot_Settings(t *testing.T) {
	m := newMeter(t, metrics.Config{Overdue: time.Minute, OnOverdue: func(metrics.Held) {}})
	src := &source{}
	own := resource.Setting{Of: "resource.Config", Name: "MaxSize", Value: "3"}
	src.set(func(in *resource.Inspection) { in.Settings = []resource.Setting{own} })
	if err := m.Watch(src); err != nil {
		t.Fatal(err)
	}
	got := m.Snapshot(1).Settings
	if len(got) != 7 || got[0] != own || got[1] != (resource.Setting{Of: "metrics.Config", Name: "Overdue", Value: "1m"}) {
		t.Errorf("they are %+v", got)
	}
	set := 0
	for _, s := range got {
		if !s.Default {
			set++
		}
	}
	if set != 3 {
		t.Errorf("of %+v %d are not the default", got, set)
	}
	for _, s := range m.Snapshot(0).Settings {
		if s.Of == "metrics.Config" {
			t.Errorf("without lists there is %+v", s)
		}
	}
}
