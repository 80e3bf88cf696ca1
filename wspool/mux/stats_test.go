package mux_test

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// later replies to each call after 10 ms, and never to those of "never".
func later(p *peer) {
	for {
		kind, id, text, ok := p.read()
		if !ok {
			return
		}
		if kind == 'C' && text != "never" {
			go func() { time.Sleep(10 * time.Millisecond); /* the server's work */ p.send("R%s %s", id, text) }()
		}
	}
}

// The pool of a client lists its figures, which are those of Stats.
func TestMultiplexer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, later)
		p, err := wspool.New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		c, err := mux.New(p, mux.Config{Codec: plain{}, MaxConns: 1, MaxInFlight: 2, MaxOrphans: 5})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			ask(t, c, "x")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { c.Call(ctx, mux.Request{Body: "never"}) })
		}
		synctest.Wait()
		short, end := context.WithTimeout(t.Context(), 2*time.Second)
		defer end()
		all.Go(func() { c.Call(short, mux.Request{Body: "x"}) })
		time.Sleep(time.Second)
		synctest.Wait()
		in := p.Inspect(10)
		if len(in.Multiplexers) != 1 {
			t.Fatalf("the pool has %v", in.Multiplexers)
		}
		m := in.Multiplexers[0]
		if m.Name != "mux_test.plain" || m.Held != 1 || m.InFlight != 2 || m.Busiest != 2 || m.Limit != 2 || m.Waiting != 1 ||
			m.OldestWait != time.Second || m.MaxOrphans != 5 || m.Calls != 3 || m.Acquired != 1 || m.Messages != 5 || m.NotSent+m.MayHaveRun != 0 {
			t.Errorf("%+v", m)
		}
		if len(m.Resources) != 1 || m.Resources[0].InFlight != 2 || m.Resources[0].Messages != 5 ||
			len(in.Resources) != 1 || in.Resources[0].ID != m.Resources[0].ID || !in.Resources[0].Shared {
			t.Errorf("%+v; %+v", m.Resources, in.Resources)
		}
		settings := make(map[string]resource.Setting)
		for _, one := range m.Settings {
			settings[one.Name] = one
		}
		for name, want := range map[string]resource.Setting{
			"Codec": {Value: "mux_test.plain"}, "Name": {Value: "mux_test.plain", Default: true}, "MaxInFlight": {Value: "2"}, "GrowAt": {Value: "16", Default: true},
			"OrphanWait": {Value: "30s", Default: true}, "Trace": {Value: "not set", Default: true},
		} {
			want.Of, want.Name = "mux.Config", name
			if settings[name] != want {
				t.Errorf("the setting is %+v, want %+v", settings[name], want)
			}
		}
		if n := reflect.TypeFor[mux.Config]().NumField(); len(m.Settings) != n {
			t.Errorf("%d of %d fields are settings", len(m.Settings), n)
		}
		if h := metrics.HistogramOf(m.Took); h.Count != 3 || h.Sum < 30*time.Millisecond || h.Sum > 31*time.Millisecond || h.Quantile(0.5).Round(time.Millisecond) != 10*time.Millisecond {
			t.Errorf("the calls took %+v", h)
		}
		if m := p.Inspect(0).Multiplexers[0]; len(m.Resources) != 0 || m.Settings != nil || m.InFlight != 2 {
			t.Errorf("without lists: %+v", m)
		}
		time.Sleep(2 * time.Second) // the caller without room gives up
		cancel()
		all.Wait()
		m = p.Inspect(10).Multiplexers[0]
		if m.NotSent != 1 || m.MayHaveRun != 2 || m.Orphans != 2 || m.Orphaned != 2 || m.InFlight != 0 || m.Waiting != 0 || m.OldestWait != 0 {
			t.Errorf("%+v", m)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if m := p.Inspect(10).Multiplexers; len(m) != 1 || m[0].Calls != 3 || m[0].MayHaveRun != 2 || m[0].Held+m[0].Orphans+len(m[0].Resources) != 0 {
			t.Errorf("after Close: %+v", m)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A client of a key is listed for the key and for the whole Manager.
func TestMultiplexer_Key(t *testing.T) {
	s := listen(t, echo)
	m, err := wspool.NewManager(wspool.ManagerConfig[string]{MaxTotal: 4, Config: func(string) (wspool.Config, error) { return s.cfg, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for key, n := range map[string]int{"a": 2, "b": 5} {
		c, err := mux.New(mux.Key(m, key), mux.Config{Codec: plain{}, Name: "calls"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		for range n {
			ask(t, c, "x")
		}
	}
	for what, of := range map[string]struct {
		in   resource.Inspection
		want []int64
	}{
		"a": {m.View("a").Inspect(9), []int64{2}}, "b": {m.View("b").Inspect(9), []int64{5}}, "none": {m.View("c").Inspect(9), nil}, "all": {m.Inspect(9), []int64{7}},
	} {
		var got []int64
		for _, one := range of.in.Multiplexers {
			if got = append(got, one.Calls); one.Name != "calls" || len(one.Resources) != one.Held {
				t.Errorf("%s: %+v", what, one)
			}
		}
		if !reflect.DeepEqual(got, of.want) {
			t.Errorf("%s has multiplexers with %v calls, want %v", what, got, of.want)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// No counter ever falls, although connections with counters of their own come and go.
func TestStats_NeverFall(t *testing.T) {
	s := listen(t, func(p *peer) { // a connection lasts for 20 calls, and the server sends messages of its own, too
		for n := range 20 {
			_, id, text, ok := p.read()
			if !ok {
				return
			}
			p.send("R%s %s", id, text)
			p.send("?")
			if n%5 == 0 {
				p.send("E")
			}
		}
	})
	c, p := newClient(t, s, mux.Config{Codec: plain{}, MaxConns: 3, GrowAt: 1})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const calls = 600
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range calls / 4 {
				c.Call(ctx, mux.Request{Body: "x", Idempotent: true})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	before := p.Inspect(0).Multiplexers[0].Counters()
	for n, over := 0, false; !over; n++ {
		select {
		case <-done:
			over = true
		default:
		}
		now := p.Inspect(0).Multiplexers[0].Counters()
		a, b := reflect.ValueOf(before), reflect.ValueOf(now)
		for i := range a.NumField() {
			if a.Field(i).CanInt() && b.Field(i).Int() < a.Field(i).Int() {
				t.Fatalf("look %d: %s fell from %v to %v", n, a.Type().Field(i).Name, a.Field(i).Int(), b.Field(i).Int())
			}
		}
		before = now
	}
	// A call whose connection was lost with it may have run, and the budget of replays is bounded.
	if before.Calls+before.NotSent+before.MayHaveRun != calls || before.Bad == 0 || before.Acquired < 10 {
		t.Errorf("%+v", before)
	}
}

// A Name that cannot be a label is an error that names it.
func TestConfig_Name(t *testing.T) {
	for name, want := range map[string]string{
		strings.Repeat("x", 65): "Name has 65 bytes", "a\nb": "Name has characters", "\xff": "Name has characters",
	} {
		if _, err := mux.New(new(wspool.Pool), mux.Config{Codec: plain{}, Name: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// attacher is a Leaser whose Attach panics.
type attacher struct{ mux.Leaser }

func (attacher) Attach(resource.MultiplexReporter) func() { panic("boom") }

func TestNew_AttachPanics(t *testing.T) {
	if c, err := mux.New(attacher{}, mux.Config{Codec: plain{}}); c != nil || err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("%v, %v", c, err)
	}
}

// A call whose caller counts it when Close has returned is in the figures of the pool too: one that Close has
// ended, and one that waited in line for a connection.
func TestClose_CountsFailures(t *testing.T) {
	for _, forced := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, p := newClient(t, listenMem(t, func(p *peer) {
				for ok := true; ok; {
					_, _, _, ok = p.read()
				}
			}), mux.Config{Codec: plain{}, MaxInFlight: 5})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { _, _ = c.Call(ctx, mux.Request{Body: "a"}) })
			}
			synctest.Wait()
			by, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			if forced {
				giveUp()
			} else {
				time.AfterFunc(time.Second, cancel)
			}
			if err := c.Close(by); (err != nil) != forced {
				t.Error(err)
			}
			wg.Wait()
			s, m := c.Stats(), p.Inspect(0).Multiplexers[0]
			if s.MayHaveRun != 5 || s.NotSent != 15 || m.MayHaveRun != 5 || m.NotSent != 15 {
				t.Errorf("forced %v: %d and %d of the client, %d and %d of the pool", forced, s.MayHaveRun, s.NotSent, m.MayHaveRun, m.NotSent)
			}
		})
	}
}
