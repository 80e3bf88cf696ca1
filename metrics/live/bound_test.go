package live

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Viewers that reconnect with another view each time cost a tenth of the time at
// most, and a viewer that stays still gets its updates.
func TestNewcomersAreCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes, lasts = 50 * time.Millisecond, 60 * time.Second
		var spent atomic.Int64
		var all []Meter
		for i := range maxViews - 2 { // so that there is room for all, also before the page knows that a viewer has left
			all = append(all, slowLists{fmt.Sprint("pool ", i), takes, &spent})
		}
		s := serve(t, all...)
		stays := s.watch("", 1<<20)
		var updates atomic.Int64
		var viewers sync.WaitGroup
		viewers.Go(func() {
			for {
				if name, _ := stays.next(); name == "" {
					return
				}
				updates.Add(1)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		for i := range 20 {
			viewers.Go(func() {
				for n := i; ctx.Err() == nil; n += 20 {
					w := s.watch(fmt.Sprintf("pool=pool+%d", n%len(all)), 1<<20)
					stop := context.AfterFunc(ctx, func() { w.conn.Close() })
					w.next()
					stop()
					w.conn.Close()
				}
			})
		}
		<-ctx.Done()
		stays.conn.Close()
		viewers.Wait()
		synctest.Wait()
		if got := time.Duration(spent.Load()); got > lasts/idleShare+2*20*takes || got < takes {
			t.Errorf("in %v the page worked for %v", lasts, got)
		}
		if n := updates.Load(); n < int64(lasts/time.Second)/20 {
			t.Errorf("the viewer that stays had %d updates", n)
		}
		s.stop()
	})
}

// A viewer whose frame exists gets it at once, also while the collector rests.
func TestKnownViewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spent atomic.Int64
		s := serve(t, slowLists{"slow", time.Second, &spent})
		first := s.watch("pool=slow", 1<<20)
		first.next()
		begun := time.Now()
		second := s.watch("pool=slow", 1<<20)
		second.next()
		if d := time.Since(begun); d != 0 || spent.Load() != int64(time.Second) {
			t.Errorf("it took %v, and %v of work in all", d, time.Duration(spent.Load()))
		}
		for _, w := range []*watcher{first, second} {
			w.conn.Close()
		}
		synctest.Wait()
		s.stop()
	})
}

// At most maxViews different views are watched; more viewers may share them. After
// leastStay the first viewer that is alone with its view is dropped for a new one.
func TestDifferentViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, sample())
		var all []*watcher
		for i := range maxViews {
			w := s.watch(fmt.Sprintf("find=%d", i), 1<<20)
			w.next()
			all = append(all, w)
		}
		more := s.watch("find=x", 1<<20)
		if r := more.begin(); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("one view more is answered %s", r.Status)
		}
		for _, query := range []string{"find=1", "find=1&sort=held&state=idle"} { // of all pools these make no difference
			w := s.watch(query, 1<<20)
			if name, _ := w.next(); name != "pools" {
				t.Errorf("a view that is there is shown %q", name)
			}
			all = append(all, w)
		}
		time.Sleep(leastStay)
		w := s.watch("find=x", 1<<20)
		if name, _ := w.next(); name != "pools" {
			t.Errorf("after %v one view more is shown %q", leastStay, name)
		}
		name := "pools"
		for name != "" { // what it has not read so far
			name, _ = all[0].next()
		}
		for _, w := range append(all, w, more) {
			w.conn.Close()
		}
		synctest.Wait()
		s.stop()
	})
}

// Viewers that never read, and whose frames fit into the buffers of the network,
// are dropped for new ones.
func TestNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, sample())
		var all []*watcher
		for range maxViewers {
			all = append(all, s.watch("", 16<<20))
			synctest.Wait()
		}
		time.Sleep(leastStay)
		for i := range 5 {
			w := s.watch("", 1<<20)
			if r := w.begin(); r.StatusCode != 200 {
				t.Fatalf("newcomer %d is answered %s", i, r.Status)
			}
			if name, _ := w.next(); name != "pools" {
				t.Errorf("newcomer %d is shown %q", i, name)
			}
			all = append(all, w)
		}
		s.page.mu.Lock()
		n := len(s.page.viewers)
		s.page.mu.Unlock()
		if n != maxViewers {
			t.Errorf("%d watch", n)
		}
		for _, w := range all[:5] { // the first five were dropped
			if _, err := io.Copy(io.Discard, w.in); err != nil {
				t.Errorf("its stream ends with %v", err)
			}
		}
		for _, w := range all {
			w.conn.Close()
		}
		synctest.Wait()
		s.stop()
	})
}

// The frames that are kept have a bound, however many views are watched and however
// often viewers reconnect.
func TestFramesAreBounded(t *testing.T) {
	m := many(3_000)
	p := Handler(Config{Meters: func() []Meter { return []Meter{m} }, Limit: 3_000})
	defer p.Close()
	u := p.update()
	most := 0
	var texts []string // that many have, and all different
	for _, t := range []string{"r", "t", "rt", "tt", "rtt", "m", "s", "ms", "l", "e", "a", "d"} {
		texts = append(texts, t, strings.ToUpper(t))
	}
	var now []*viewer
	for i := range 2 * maxViews {
		v := &viewer{view: view{pool: "many", sort: "id", find: strings.Repeat(" ", i%2) + texts[i%len(texts)], state: states[i/len(texts)%2*2]}, next: make(chan []byte, 1), gone: make(chan struct{})}
		p.mu.Lock()
		if err := p.makeRoomLocked(v); err == nil {
			p.viewers[v] = struct{}{}
			now = append(now, v)
		} else {
			delete(p.viewers, now[0])
			now = append(now[1:], v)
			p.viewers[v] = struct{}{}
		}
		p.mu.Unlock()
		if len(now) == maxViews && i%16 == 0 { // as of an update
			clear(u.frames)
			for _, o := range now {
				p.give(u, o)
			}
		}
		p.give(u, v)
		sum := 0
		for _, b := range u.frames {
			sum += len(b)
		}
		most = max(most, sum)
	}
	if len(u.frames) > maxViews+1 || most > 10<<20 || most < 1<<20 {
		t.Errorf("%d frames are kept, %d bytes at most", len(u.frames), most)
	}
}
