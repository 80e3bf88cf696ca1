package live

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// busy is a pool whose meter has ten minutes of history: ten acquires a second, held for
// 50 ms.
func busy(name string) rare {
	const perPoint = 20
	f := named(name)
	f.s.Max, f.s.MinIdle = 3, 1
	f.s.Hold = metrics.Histogram{Count: 3000, Sum: 150 * time.Second, First: 101, Buckets: []int64{1500, 1500}}
	now := time.Now()
	h := metrics.History{Since: now.Add(-10 * time.Minute), Every: 2 * time.Second}
	for i := range 300 {
		h.Points = append(h.Points, metrics.Point{Time: h.Since.Add(time.Duration(i) * h.Every), Load: resource.Load{Max: 3, Idle: 2, Leased: 1}, Acquired: int64(i * perPoint)})
	}
	return rare{f, func() metrics.History { return h }}
}

// adviceOf is the answer to advice.json.
func adviceOf(t *testing.T, p *Page, query string) (a advice) {
	t.Helper()
	r, text := get(t, p, "GET", "/p/advice.json?"+query)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", query, r.Status, text)
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return a
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *seconds) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	*s = seconds(math.Round(f*1e6) * 1e3)
	return err
}

// The page gets the advice of metrics.Advise for the goal that it asks for.
func TestAdvice(t *testing.T) {
	m := busy("busy")
	p := pageOf(t, m)
	for _, c := range []struct {
		query string
		goal  metrics.Goal
	}{
		{"pool=busy", metrics.Goal{}},
		{"pool=busy&wait=1ms&quantile=0.9&growth=4", metrics.Goal{Wait: time.Millisecond, Quantile: 0.9, Growth: 4}},
	} {
		want, err := metrics.Advise(m.s, m.history(), c.goal)
		if err != nil {
			t.Fatal(err)
		}
		got := adviceOf(t, p, c.query)
		sizes := func() (all []int) {
			for _, c := range got.Curve {
				all = append(all, c.Size)
			}
			return all
		}()
		var wanted []int
		for _, c := range want.Curve {
			wanted = append(wanted, c.Size)
		}
		if got.Problem != "" || got.MaxSize != want.MaxSize || got.Low != want.Low || got.High != want.High || got.MinIdle != want.MinIdle || got.MaxWaiting != want.MaxWaiting ||
			got.Acquires != want.Acquires || got.Replays != want.Replays || !slices.Equal(got.Doubts, want.Doubts) && len(want.Doubts) > 0 || !slices.Equal(sizes, wanted) ||
			got.Now != (sizesNow{3, 1}) || got.Peak != want.Peak || time.Duration(got.Goal.Wait) != want.Goal.Wait || got.Goal.Quantile != want.Goal.Quantile {
			t.Errorf("%s: got\n%+v, want\n%+v", c.query, got, want)
		}
	}
}

// An error of Advise, a meter without a history and one that panics are problems that the
// page shows; bad queries are named, all of them.
func TestAdvice_None(t *testing.T) {
	panics := busy("panics")
	panics.history = func() metrics.History { panic("no history") }
	idle := busy("idle")
	idle.history = func() metrics.History { return metrics.History{Since: time.Now()} }
	broken := busy("broken")
	broken.panics = true
	p := pageOf(t, named("none"), panics, idle, busy("busy"), broken)
	for pool, want := range map[string]string{"none": "keeps no history", "panics": "keeps no history", "idle": "too little was measured"} {
		if a := adviceOf(t, p, "pool="+pool); !strings.Contains(a.Problem, want) || a.MaxSize != 0 {
			t.Errorf("%s: %+v", pool, a)
		}
	}
	if a := adviceOf(t, p, "pool=unnamed"); !strings.Contains(a.Problem, "no snapshot today") {
		t.Errorf("of a pool that cannot be shown: %+v", a)
	}
	for query, want := range map[string][]string{
		"pool=busy&wait=soon&quantile=2&growth=x&sort=odd": {"wait must", "quantile must", "growth must", "sort must"},
		"pool=busy&wait=-1s&quantile=NaN&growth=0":         {"wait must", "quantile must", "growth must"},
		"pool=busy&wait=2h":                                {"wait must"},
	} {
		r, text := get(t, p, "GET", "/p/advice.json?"+query)
		for _, w := range want {
			if r.StatusCode != http.StatusBadRequest || !strings.Contains(text, w) {
				t.Errorf("%s: %s: %s", query, r.Status, text)
			}
		}
	}
	if r, _ := get(t, p, "GET", "/p/advice.json?pool=nowhere"); r.StatusCode != http.StatusNotFound {
		t.Errorf("of no pool: %s", r.Status)
	}
	if r, text := get(t, p, "HEAD", "/p/advice.json?pool=busy"); r.StatusCode != http.StatusOK || text != "" {
		t.Errorf("HEAD: %s, %q", r.Status, text)
	}
}

// An advice is computed once while it is fresh, for any number of requests, and after each one the adviser
// rests for nine times as long as that took: whatever is asked, it works a tenth of the time.
func TestAdviser_Bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes, lasts = time.Second, 5 * time.Minute
		a := newAdviser()
		var computed, running, most atomic.Int64
		compute := func() advice {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(takes) // the work
			running.Add(-1)
			return advice{MaxSize: int(computed.Add(1))}
		}
		one := adviceKey{"a", metrics.Goal{Wait: 1}}
		first, err := a.get(t.Context(), nil, one, compute)
		if err != nil || time.Duration(first.Took) != takes || time.Duration(first.Fresh) != adviceLasts {
			t.Fatalf("%+v, %v", first, err)
		}
		time.Sleep(10 * time.Second)
		again, err := a.get(t.Context(), nil, one, compute)
		if err != nil || again.MaxSize != 1 || time.Duration(again.Age) != 10*time.Second || time.Duration(again.Fresh) != adviceLasts-10*time.Second {
			t.Errorf("it was computed again: %+v, %v", again, err)
		}
		time.Sleep(adviceLasts)
		if next, err := a.get(t.Context(), nil, one, compute); err != nil || next.MaxSize != 2 {
			t.Errorf("when it is old: %+v, %v", next, err)
		}
		computed.Store(0)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		var all sync.WaitGroup
		for i := range 20 { // as many readers with goals of their own
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					_, err := a.get(ctx, nil, adviceKey{"a", metrics.Goal{Wait: time.Duration(1000*i + n)}}, compute)
					if err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if n := computed.Load(); time.Duration(n)*takes > time.Since(begun)/idleShare+2*takes || n < int64(lasts/takes)/idleShare-2 {
			t.Errorf("in %v %d were computed", time.Since(begun), n)
		}
		if most.Load() != 1 {
			t.Errorf("%d were computed at once", most.Load())
		}
		if n := len(a.kept); n > maxAdvices {
			t.Errorf("%d are kept", n)
		}
	})
}

// What is kept is bounded, however many goals are asked for within its time.
func TestAdviser_Keeps(t *testing.T) {
	a := newAdviser()
	for i := range 3 * maxAdvices {
		if _, err := a.get(t.Context(), nil, adviceKey{"a", metrics.Goal{Wait: time.Duration(i)}}, func() advice { return advice{} }); err != nil {
			t.Fatal(err)
		}
		if n := len(a.kept); n > maxAdvices {
			t.Fatalf("%d are kept", n)
		}
	}
}

// A request that is given up, and a page that is closed, end the wait for an advice, and the
// next one gets its turn.
func TestAdviser_GivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdviser()
		slow := func() advice {
			time.Sleep(time.Minute) // the work
			return advice{MaxSize: 1}
		}
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := a.get(t.Context(), nil, adviceKey{pool: "a"}, slow); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 2 { // in line for the turn, and at rest
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begun := time.Now()
			if _, err := a.get(ctx, nil, adviceKey{pool: "b"}, slow); err == nil || time.Since(begun) != time.Second {
				t.Errorf("after %v: %v", time.Since(begun), err)
			}
			cancel()
			closed := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(closed) })
			begun = time.Now()
			if _, err := a.get(t.Context(), closed, adviceKey{pool: "b"}, slow); err != errClosed || time.Since(begun) != time.Second {
				t.Errorf("after %v: %v", time.Since(begun), err)
			}
			all.Wait()
		}
		begun := time.Now()
		if one, err := a.get(t.Context(), nil, adviceKey{pool: "b"}, slow); err != nil || one.MaxSize != 1 || time.Since(begun) > (idleShare+1)*time.Minute {
			t.Errorf("after %v: %+v, %v", time.Since(begun), one, err)
		}
	})
}

// After Close an advice that is kept is answered, and for any other the request fails, also while
// the turn is free.
func TestAdvice_Closed(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	for range 50 { // new ones: after an advice the adviser rests
		a := newAdviser()
		one, err := a.get(t.Context(), closed, adviceKey{pool: "a"}, func() advice { return advice{MaxSize: 1} })
		if err != errClosed {
			t.Fatalf("%+v, %v", one, err)
		}
	}
	p := pageOf(t, busy("busy"))
	adviceOf(t, p, "pool=busy")
	p.Close()
	r, text := get(t, p, "GET", "/p/advice.json?pool=busy&wait=1s")
	if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, errClosed.Error()) || r.Header.Get("Retry-After") == "" {
		t.Errorf("after Close: %s: %s", r.Status, text)
	}
	if a := adviceOf(t, p, "pool=busy"); a.Problem != "" || a.MaxSize == 0 {
		t.Errorf("the advice that is kept: %+v", a)
	}
	for _, name := range []string{"pools.json", "pool.json?pool=busy", "report.txt", "history.json"} {
		if r, _ := get(t, p, "GET", "/p/"+name); r.StatusCode != http.StatusOK {
			t.Errorf("%s after Close: %s", name, r.Status)
		}
	}
}

// While an advice is computed, updates and other answers come as ever.
func TestAdvice_DelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := busy("busy")
		h := m.history
		m.history = func() metrics.History {
			time.Sleep(time.Hour) // in the time of a bubble
			return h()
		}
		s := serve(t, m)
		var all sync.WaitGroup
		all.Go(func() {
			w := httptest.NewRecorder()
			s.page.ServeHTTP(w, httptest.NewRequest("GET", "/p/advice.json?pool=busy", nil))
			if w.Code != http.StatusOK {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		})
		synctest.Wait()
		begun := time.Now()
		w := s.watch("pool=busy", 1<<20)
		for range 20 {
			w.next()
		}
		if r, _ := get(t, s.page, "GET", "/p/pool.json?pool=busy"); r.StatusCode != http.StatusOK {
			t.Errorf("%s", r.Status)
		}
		if d := time.Since(begun); d > 20*defaultEvery {
			t.Errorf("20 events took %v", d)
		}
		w.conn.Close()
		all.Wait()
		s.stop()
	})
}

// What an advice costs, for a pool with 200,000 acquires in its history.
func BenchmarkAdvice(b *testing.B) {
	m := busy("busy")
	h := m.history()
	for i := range h.Points {
		h.Points[i].Acquired *= 34
	}
	m.history = func() metrics.History { return h }
	p := pageOf(b, m)
	k := p.update().find("busy")
	b.ReportAllocs()
	for b.Loop() {
		if a := k.advise(metrics.Goal{}); a.Problem != "" {
			b.Fatal(a.Problem)
		}
	}
}
