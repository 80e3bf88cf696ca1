package metrics_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// The error of New names every bad field.
func TestNew_Bad(t *testing.T) {
	nop := func(metrics.Held) {}
	for _, c := range []struct {
		name string
		cfg  metrics.Config
		want []string
	}{
		{"", metrics.Config{}, []string{"name is empty"}},
		{strings.Repeat("x", 129), metrics.Config{}, []string{"name has 129 bytes"}},
		{"a\nb", metrics.Config{}, []string{"name has characters that are not printable"}},
		{"a\xff", metrics.Config{}, []string{"name has characters that are not printable"}},
		{"a", metrics.Config{Overdue: -1}, []string{"got -1ns"}},
		{"a", metrics.Config{Overdue: 25 * time.Hour}, []string{"Overdue must be 0 or between 300ms and 24h0m0s, got 25h"}},
		{"", metrics.Config{Overdue: time.Millisecond}, []string{"name is empty", "got 1ms"}},
		{"", metrics.Config{OnOverdue: nop, OnReturned: nop}, []string{"name is empty", "OnOverdue", "OnReturned"}},
	} {
		m, err := metrics.New(c.name, c.cfg)
		if m != nil || err == nil {
			t.Errorf("New(%q, %+v) is %v, %v", c.name, c.cfg, m, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
	for _, name := range []string{"a", `<script>alert(1)</script>`, "größer 1", strings.Repeat("x", 128)} {
		m, err := metrics.New(name, metrics.Config{Overdue: 300 * time.Millisecond, OnOverdue: nop})
		if err != nil || m.Name() != name {
			t.Errorf("New(%q): %v", name, err)
		}
	}
}

func names() (n []string) {
	for _, m := range metrics.All() {
		n = append(n, m.Name())
	}
	return n
}

func TestWatch_Registers(t *testing.T) {
	named := func(name string) *metrics.Meter {
		m, err := metrics.New(name, metrics.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		return m
	}
	b, a, again := named("b"), named("a"), named("b")
	src := &source{}
	for _, m := range []*metrics.Meter{b, a} {
		if err := m.Watch(src); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("All is %q", got)
	}
	if err := again.Watch(src); !errors.Is(err, metrics.ErrNameTaken) {
		t.Errorf("with a name that is taken: %v", err)
	}
	if err := b.Watch(src); err == nil || errors.Is(err, metrics.ErrNameTaken) {
		t.Errorf("a second time: %v", err)
	}
	again.Close() // not b, whose name it has
	if got := names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("All is %q", got)
	}
	b.Close()
	b.Close()
	if err := b.Watch(src); err == nil {
		t.Error("a closed meter watches")
	}
	third := named("b")
	if err := third.Watch(src); err != nil {
		t.Errorf("with the name of a closed one: %v", err)
	}
	a.Close()
	third.Close()
	if got := names(); len(got) != 0 {
		t.Errorf("All is %q", got)
	}
}

func TestWatch_Nil(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	for _, src := range []metrics.Source{nil, (*source)(nil), (*resource.Pool[int])(nil)} {
		if err := m.Watch(src); err == nil {
			t.Errorf("Watch(%T nil) does not fail", src)
		}
	}
	if err := m.Watch(&source{}); err != nil {
		t.Error(err)
	}
}

// A Source that panics costs a snapshot its Inspection, and no more.
func TestSnapshot_SourcePanics(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	if err := m.Watch(panicking()); err != nil {
		t.Fatal(err)
	}
	m.Trace(nil).Made(context.Background(), resource.MakeEvent{ID: 1, Took: time.Second})
	s := m.Snapshot(5)
	if s.Make.Count != 1 || s.Max != 0 {
		t.Errorf("it is %+v", s)
	}
	if e := m.Snapshot(0).Events; e[0].Kind != "panic" || e[0].Text != "no source" {
		t.Errorf("the events are %+v", e)
	}
}

// Limits are passed on, and are not negative.
func TestSnapshot_Limits(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	src := &source{}
	if err := m.Watch(src); err != nil {
		t.Fatal(err)
	}
	src.set(func(i *resource.Inspection) {
		i.Max, i.Leased = 9, 3
		i.Resources = make([]resource.ResourceInfo, 3)
	})
	trace := m.Trace(nil)
	for id := range uint64(3) {
		trace.Leased(context.Background(), resource.LeaseEvent{ID: id + 1, Lease: 1})
	}
	for limit, want := range map[int]int{-1: 0, 0: 0, 2: 2, 100: 3} {
		s := m.Snapshot(limit)
		if len(s.Resources) != want || len(s.Held) != want || s.Max != 9 {
			t.Errorf("with limit %d there are %d resources and %d held", limit, len(s.Resources), len(s.Held))
		}
	}
	if slices.Min(src.limit) < 0 {
		t.Errorf("the source was asked for %d", src.limit)
	}
	if s := newMeter(t, metrics.Config{}).Snapshot(10); s.Max != 0 || s.Destroyed == nil || s.Refused == nil || s.Name != t.Name() {
		t.Errorf("without a source it is %+v", s)
	}
}

// The waits that were none come from Stats: acquires but for those that waited,
// and those that may have, and have not been reported yet. None is taken back.
func TestSnapshot_WaitZero(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	src := &source{}
	if err := m.Watch(src); err != nil {
		t.Fatal(err)
	}
	trace := m.Trace(nil)
	ctx := context.Background()
	trace.Waited(ctx, resource.WaitEvent{Waited: time.Second, ID: 1})
	trace.Waited(ctx, resource.WaitEvent{Waited: 10, ID: 1})
	trace.Waited(ctx, resource.WaitEvent{Waited: time.Hour, Err: context.Canceled})
	for _, c := range []struct{ acquired, waited, count int64 }{
		{0, 0, 2}, {2, 3, 2}, {3, 3, 3}, {5, 5, 3}, {6, 5, 4}, {1002, 3, 1002}, {1002, 9, 1002}, {1003, 3, 1003}, {5, 3, 1003},
	} {
		src.set(func(i *resource.Inspection) { i.Acquired, i.Stats.Waited = c.acquired, c.waited })
		if w := m.Snapshot(0).Wait; w.Count != c.count || w.Zero != c.count-1 || w.Sum != time.Second+10 {
			t.Errorf("with %d acquired and %d that waited it is %+v", c.acquired, c.waited, w)
		}
	}
}

func TestSnapshot_Outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		trace := m.Trace(nil)
		if s := m.Snapshot(0); s.Outages != 0 || !s.Since.IsZero() {
			t.Errorf("at first: %d, %v", s.Outages, s.Since)
		}
		start := time.Now()
		trace.Outage(errors.New("down"))
		time.Sleep(time.Minute)
		if s := m.Snapshot(0); s.Outages != 1 || !s.Since.Equal(start) {
			t.Errorf("in an outage: %d, %v", s.Outages, s.Since)
		}
		trace.Outage(nil)
		if s := m.Snapshot(0); s.Outages != 1 || !s.Since.IsZero() {
			t.Errorf("after it: %d, %v", s.Outages, s.Since)
		}
		// The pool is asked whether there is one: the two can be reported in
		// the wrong order.
		src := &source{}
		if err := m.Watch(src); err != nil {
			t.Fatal(err)
		}
		trace.Outage(nil)
		trace.Outage(errors.New("down"))
		if s := m.Snapshot(0); s.Outages != 2 || !s.Since.IsZero() {
			t.Errorf("told in the wrong order: %d, %v", s.Outages, s.Since)
		}
	})
}

// Each function of next is called, with what the meter got.
func TestTrace_Next(t *testing.T) {
	var called []string
	note := func(what string) { called = append(called, what) }
	next := &resource.Trace{
		Waited:    func(_ context.Context, e resource.WaitEvent) { note("waited " + e.Waited.String()) },
		Rejected:  func(_ context.Context, err error) { note("rejected " + err.Error()) },
		Made:      func(_ context.Context, e resource.MakeEvent) { note("made " + e.Took.String()) },
		Refused:   func(_ context.Context, err error) { note("refused " + err.Error()) },
		Checked:   func(e resource.CheckEvent) { note("checked " + e.Took.String()) },
		Destroyed: func(e resource.DestroyEvent) { note("destroyed " + e.Took.String()) },
		Outage:    func(error) { note("outage") },
		Panicked:  func(err error) { note("panicked " + err.Error()) },
		Leased:    func(_ context.Context, e resource.LeaseEvent) { note("leased " + e.Waited.String()) },
		Ended:     func(e resource.EndEvent) { note("ended " + e.Held.String()) },
	}
	for _, tr := range []*resource.Trace{newMeter(t, metrics.Config{}).Trace(nil), newMeter(t, metrics.Config{}).Trace(&resource.Trace{}), newMeter(t, metrics.Config{}).Trace(next)} {
		called = nil
		ctx, err := context.Background(), errors.New("no")
		tr.Waited(ctx, resource.WaitEvent{Waited: 1})
		tr.Rejected(ctx, err)
		tr.Made(ctx, resource.MakeEvent{Took: 2})
		tr.Refused(ctx, err)
		tr.Checked(resource.CheckEvent{Took: 3})
		tr.Destroyed(resource.DestroyEvent{Took: 4})
		tr.Outage(nil)
		tr.Panicked(err)
		tr.Leased(ctx, resource.LeaseEvent{Waited: 5})
		tr.Ended(resource.EndEvent{Held: 6})
	}
	want := "waited 1ns, rejected no, made 2ns, refused no, checked 3ns, destroyed 4ns, outage, panicked no, leased 5ns, ended 6ns"
	if got := strings.Join(called, ", "); got != want {
		t.Errorf("called %s", got)
	}
}
