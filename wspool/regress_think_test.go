package wspool_test

import (
	"testing"
	"time"
)

// However long a connection may be hot once it is given back, the pings that
// come while a lease thinks are answered in about a second.
func TestRegressThinkWhileLongHot(t *testing.T) {
	for _, after := range []time.Duration{time.Second, 3 * time.Second, time.Hour} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.cfg.KeepAlive = -1
			w.cfg.WatchAfter = after
			p := pool(t, w.cfg)
			c := acquire(t, p)
			ask(t, c, "x")
			asked := w.now()
			w.ping(0, "p")
			time.Sleep(3 * time.Second)
			if pongs := w.saw("pong p"); len(pongs) != 1 || pongs[0]-asked > 2*time.Second {
				t.Errorf("WatchAfter %v: answered at %v, asked at %v", after, pongs, asked)
			}
			c.Release()

			c = acquire(t, p)
			ask(t, c, "x")
			c.Release() // clean, and hot for as long as it may be
			if after > time.Minute {
				after = time.Minute // that is seen well enough
			}
			given := w.now()
			w.ping(0, "q")
			time.Sleep(3 * after)
			pongs := w.saw("pong q")
			switch {
			case w.cfg.WatchAfter > after && len(pongs) != 0, len(pongs) == 1 && pongs[0]-given < after:
				t.Errorf("WatchAfter %v: watched at %v, given back at %v", w.cfg.WatchAfter, pongs, given)
			case w.cfg.WatchAfter == after && (len(pongs) != 1 || pongs[0]-given > 2*after):
				t.Errorf("WatchAfter %v: watched at %v, given back at %v", after, pongs, given)
			}
		})
	}
}
