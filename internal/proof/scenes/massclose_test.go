package scenes_test

import (
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
)

// After a server has closed 200 connections at once, the clients return after one pause, a
// few at a time: the first 50, and the rest only after one of those has succeeded.
func TestMassClose(t *testing.T) {
	const shake = 50 * time.Millisecond
	schemes(t, false, func(t *testing.T, g *stage) {
		g.server.shaking = func() { time.Sleep(shake) } // duration of a dial in the network and the server
		g.cfg.MinIdle, g.cfg.MaxDials = g.n, g.n*3/8
		var mu sync.Mutex
		var pause time.Duration
		var asked int
		g.cfg.Redial = func(cause error, streak int) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			asked++
			pause = wspool.DefaultRedial(cause, streak)
			return pause
		}
		g.raise()
		g.warm()
		g.server.most.Store(0)
		s := g.pool.Stats()
		dial := s.MakeTime / time.Duration(s.Made)

		began := time.Now()
		detected := g.strike(func(x *session) { x.write(goingAway()) })
		took := detected(closed(1001))
		until(t, "all are back", func() bool { return g.pool.Stats().Idle == g.n })
		back := time.Since(began)
		mu.Lock()
		defer mu.Unlock()
		t.Logf("found out: %s; all back after %v: a pause of %v and %v more; a dial takes %v, %d at once",
			spread(took), back, pause, back-pause, dial, g.server.most.Load())
		if most := g.server.most.Load(); most > int64(g.cfg.MaxDials) {
			t.Errorf("%d dials at once, more than %d", most, g.cfg.MaxDials)
		}
		if asked != 1 {
			t.Errorf("asked %d times how long to wait", asked)
		}
		if limit := pause + 3*shake + 5*time.Second; back > limit {
			t.Errorf("all back after %v, more than %v", back, limit)
		}
		g.check()
		if s := g.pool.Stats(); s.Made != 2*int64(g.n) || s.Failed != 0 {
			t.Errorf("%v", s)
		}
		g.finish()
	})
}
