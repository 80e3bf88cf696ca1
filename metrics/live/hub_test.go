package live

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Twenty viewers cost one snapshot of every pool each interval, and one with lists of
// the pool that they show.
func TestOneCollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := sample(), named("other")
		s := serve(t, a, b)
		var all []*watcher
		for i := range 20 {
			query := "pool=speech"
			if i%2 == 0 {
				query = "pool=speech&sort=held&state=leased"
			}
			all = append(all, s.watch(query, 1<<20))
		}
		const updates = 10
		for n := range updates {
			for _, w := range all {
				name, g := w.next()
				if pools, _ := g["pools"].([]any); name != "pools" || len(pools) != 2 || g["life"] != s.page.life {
					t.Fatalf("update %d begins with %s %v", n, name, g)
				}
				if name, d := w.next(); name != "pool" || d["name"] != "speech" || d["resources"] == nil {
					t.Fatalf("update %d goes on with %s %v", n, name, d)
				}
			}
		}
		full, brief := a.times()
		if full != updates || brief != updates {
			t.Errorf("in %d updates the pool they look at was asked %d times for lists, %d times for none", updates, full, brief)
		}
		if full, brief := b.times(); full != 0 || brief != updates {
			t.Errorf("in %d updates the other was asked %d times for lists, %d times for none", updates, full, brief)
		}
		for _, w := range all {
			w.conn.Close()
		}
		synctest.Wait()
		time.Sleep(time.Minute) // without viewers
		if full, brief := a.times(); full != updates || brief != updates {
			t.Error("snapshots are taken without viewers")
		}
		s.stop()
	})
}

// A viewer that joins between two updates gets the last one at once, without another
// snapshot unless it needs lists; so does the first viewer after all have left.
func TestNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := sample()
		s := serve(t, f)
		first := s.watch("", 1<<20)
		first.next()
		time.Sleep(defaultEvery / 2)
		begun := time.Now()
		for range 3 {
			w := s.watch("pool=speech", 1<<20)
			w.next()
			if name, _ := w.next(); name != "pool" {
				t.Fatalf("the newcomer is shown %q", name)
			}
			w.conn.Close()
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("it took %v", d)
		}
		if full, brief := f.times(); full != 1 || brief != 1 {
			t.Errorf("asked %d times for lists, %d times for none", full, brief)
		}
		first.conn.Close()
		synctest.Wait()
		again := s.watch("", 1<<20)
		if name, _ := again.next(); name != "pools" {
			t.Errorf("after a pause the first event is %q", name)
		}
		again.conn.Close()
		s.stop()
	})
}

// A slow viewer gets the newest frame, not those that it missed. A viewer that does not
// read is dropped. Other viewers are not affected.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, many(500))
		quick := s.watch("pool=many", 1<<20)
		slow := s.watch("pool=many", 4<<10)
		dead := s.watch("pool=many", 4<<10)
		at := func(w *watcher) time.Time {
			name, d := w.next()
			for name == "pools" {
				name, d = w.next()
			}
			if name == "" {
				return time.Time{}
			}
			when, err := time.Parse(time.RFC3339Nano, d["time"].(string))
			if err != nil {
				t.Fatal(err)
			}
			return when
		}
		seen := 0
		for range 60 {
			if age := time.Since(at(quick)); age != 0 {
				t.Fatalf("the quick viewer saw an update of %v ago", age)
			}
			if seen%5 == 0 { // it reads one update in five
				if age := time.Since(at(slow)); age > 6*defaultEvery {
					t.Fatalf("the slow viewer saw an update of %v ago", age)
				}
			}
			seen++
		}
		s.page.mu.Lock()
		left := len(s.page.viewers)
		s.page.mu.Unlock()
		if left != 2 {
			t.Errorf("there are %d viewers, want 2: not the one that does not read", left)
		}
		quick.conn.Close()
		slow.conn.Close()
		n, err := io.Copy(io.Discard, dead.in)
		if err != nil || n == 0 || n > 16<<10 {
			t.Errorf("the viewer that does not read was sent %d bytes, %v", n, err)
		}
		s.stop()
	})
}

// Close ends every stream, so that a server can end, and refuses new ones; other
// requests are still answered.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, sample())
		w := s.watch("", 1<<20)
		w.next()
		begun := time.Now()
		s.page.Close()
		s.page.Close()
		if name, _ := w.next(); name != "" || time.Since(begun) != 0 {
			t.Errorf("after Close came %q, after %v", name, time.Since(begun))
		}
		late := s.watch("", 1<<20)
		if r := late.begin(); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("after Close a stream is answered %s", r.Status)
		}
		if got := decoded(t, s.page, "/p/pools.json")["pools"].([]any); len(got) != 1 {
			t.Errorf("after Close there are %d pools", len(got))
		}
		w.conn.Close()
		late.conn.Close()
		s.stop()
	})
}

// A server that shuts down does not wait for viewers.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, sample())
		w := s.watch("", 1<<20)
		w.next()
		begun := time.Now()
		s.stop()
		if d := time.Since(begun); d > time.Second {
			t.Errorf("it took %v", d)
		}
		if name, _ := w.next(); name != "" {
			t.Errorf("then came %q", name)
		}
		w.conn.Close()
	})
}

func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, sample())
		var all []*watcher
		for range maxViewers {
			w := s.watch("", 1<<20)
			w.next()
			all = append(all, w)
		}
		more := s.watch("", 1<<20)
		if r := more.begin(); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("one more is answered %s", r.Status)
		}
		all[0].conn.Close()
		synctest.Wait()
		w := s.watch("", 1<<20)
		if name, _ := w.next(); name != "pools" {
			t.Errorf("in a place that is free again came %q", name)
		}
		for _, w := range append(all, w, more) {
			w.conn.Close()
		}
		synctest.Wait()
		s.stop()
	})
}

// A pool that goes is said to be gone, and one that comes is shown.
func TestComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var there []Meter
		s := serve(t)
		s.page.cfg.Meters = func() []Meter {
			mu.Lock()
			defer mu.Unlock()
			return there
		}
		w := s.watch("pool=speech", 1<<20)
		for _, here := range []bool{false, true, false} {
			if _, g := w.next(); len(g["pools"].([]any)) != len(there) {
				t.Errorf("%v", g)
			}
			if _, d := w.next(); (d["gone"] != true) != here || d["name"] != "speech" {
				t.Errorf("there: %v, gone: %v", here, d["gone"])
			}
			mu.Lock()
			there = nil
			if !here {
				there = []Meter{sample()}
			}
			mu.Unlock()
		}
		w.conn.Close()
		synctest.Wait()
		s.stop()
	})
}

// A panic of a meter does not end the collector.
func TestPanicInCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := named("bad")
		bad.panics = true
		s := serve(t, bad)
		w := s.watch("pool=unnamed", 1<<20)
		for range 3 {
			w.next()
			if _, d := w.next(); d["problem"] == nil {
				t.Errorf("no problem in %v", d)
			}
		}
		w.conn.Close()
		synctest.Wait()
		s.stop()
	})
}

// A meter that takes long is asked more seldom, and the page says so.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heavy := &slowMeter{takes: 500 * time.Millisecond}
		s := serve(t, heavy)
		w := s.watch("", 1<<20)
		begun := time.Now()
		var g map[string]any
		for range 6 {
			_, g = w.next()
		}
		if d := time.Since(begun); d != 25*time.Second+heavy.takes || g["every_seconds"] != 5.0 {
			t.Errorf("6 updates of half a second came in %v, one in %v s", d, g["every_seconds"])
		}
		w.conn.Close()
		synctest.Wait()
		s.stop()
	})
}

// While a meter hangs, viewers that come and go leave one goroutine behind: the one in
// the meter.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &slowMeter{takes: time.Hour}
		s := serve(t, hung)
		for range 20 {
			w := s.watch("", 1<<20)
			time.Sleep(time.Second)
			w.conn.Close()
			synctest.Wait()
		}
		if n := hung.asked.Load(); n != 1 {
			t.Errorf("%d goroutines ask it", n)
		}
		s.stop()
	})
}

// Requests for JSON are answered one at a time; a request whose client leaves ends at once.
func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowMeter{takes: time.Second}
		p := pageOf(t, slow)
		begun := time.Now()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { decoded(t, p, "/p/pools.json") })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/p/pools.json", nil))
			if d := time.Since(begun); d != 0 {
				t.Errorf("the request of a client that left took %v", d)
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
		if n, d := slow.asked.Load(), time.Since(begun); n != 5 || d != 5*slow.takes {
			t.Errorf("%d snapshots in %v", n, d)
		}
	})
}

// If a middleware hides Flush, the answer is an error; no client waits for ever.
func TestNoFlush(t *testing.T) {
	p := pageOf(t, sample())
	w := httptest.NewRecorder()
	p.ServeHTTP(struct{ http.ResponseWriter }{w}, httptest.NewRequest("GET", "/p/events", nil))
	if w.Code != http.StatusNotImplemented || !strings.Contains(w.Body.String(), "Flush") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// Everything at once, for the race detector: streams that come and go, JSON,
// pools that change, and Close in the middle.
func TestAtOnce(t *testing.T) {
	f := many(300)
	p := Handler(Config{Every: 1, Meters: func() []Meter { return []Meter{f, metersOnly{}} }})
	srv := httptest.NewServer(p)
	defer srv.Close()
	var all sync.WaitGroup
	var closing atomic.Bool
	for i := range 12 {
		all.Go(func() {
			for n := range 6 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				target := fmt.Sprintf("%s/events?pool=many&sort=held&find=%d", srv.URL, (i+n)%3)
				if i%3 == 0 {
					target = srv.URL + "/pool.json?pool=many"
				}
				r, err := http.NewRequestWithContext(ctx, "GET", target, nil)
				if err != nil {
					t.Error(err)
				}
				got, err := srv.Client().Do(r)
				if err != nil {
					t.Error(err)
				} else {
					_, err = io.CopyN(io.Discard, got.Body, 2000)
					if err != nil && !closing.Load() {
						t.Errorf("%s: %v", target, err)
					}
					got.Body.Close()
				}
				cancel()
				if i == 0 && n == 3 {
					closing.Store(true)
					p.Close()
				}
			}
		})
	}
	all.Wait()
	p.Close()
}
