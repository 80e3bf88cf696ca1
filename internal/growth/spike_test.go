package growth_test

import (
	"testing"
	"time"

	"github.com/respool/respool/internal/growth"
)

// spike is a pool and its callers, step by step: all come at once, each holds
// for work what it gets, and goes.
type spike struct {
	callers, idle, size int
	work, makeTime      time.Duration
	history             []time.Duration // of earlier makes; nil: one of makeTime
}

// run returns how many makes began and when the last caller was served.
func (s spike) run(t *testing.T) (makes int, last time.Duration) {
	const step = 100 * time.Microsecond
	g := after(s.makeTime)
	if s.history != nil {
		g = after(s.history...)
	}
	var leases, making []time.Duration // when each ends
	var returned int64
	waiting, idle := s.callers, s.idle
	due := time.Duration(0) // when Want is to be asked even if nothing happens
	for now := time.Duration(0); waiting > 0; now += step {
		if now > time.Minute {
			t.Fatalf("%d still wait", waiting)
		}
		n := len(leases)
		leases = running(leases, now)
		ends := n - len(leases)
		returned += int64(ends)
		n = len(making)
		making = running(making, now)
		ready := n - len(making)
		idle += ends + ready
		for ; idle > 0 && waiting > 0; idle-- {
			waiting, last = waiting-1, now
			leases = append(leases, now+s.work)
		}
		if waiting == 0 || now > 0 && ends+ready == 0 && now < due {
			continue
		}
		start, again := g.Want(growth.Facts{
			Now: now, Waiting: waiting, Coming: len(making), Held: len(leases), Returned: returned,
			Room: s.size - len(leases) - len(making) - idle,
		})
		for range start {
			making = append(making, now+s.makeTime)
		}
		g.Began(start)
		makes += start
		if due = now + again; again == 0 {
			due = time.Hour
		}
		if len(leases)+len(making)+idle > s.size {
			t.Fatalf("at %v there are more than %d", now, s.size)
		}
	}
	return makes, last
}

// running returns those that have not ended by now.
func running(ends []time.Duration, now time.Duration) []time.Duration {
	var left []time.Duration
	for _, end := range ends {
		if end > now {
			left = append(left, end)
		}
	}
	return left
}

func TestSpikes(t *testing.T) {
	for _, c := range []struct {
		name         string
		s            spike
		least, most  int           // makes
		from, within time.Duration // when the last is served
	}{
		{"short work", spike{callers: 50, idle: 5, size: 100, work: 2 * ms, makeTime: 150 * ms},
			1, 3, 18 * ms, 30 * ms},
		{"long work", spike{callers: 50, idle: 5, size: 100, work: 2 * time.Second, makeTime: 150 * ms},
			45, 45, 150 * ms, 180 * ms},
		{"long work, little room", spike{callers: 50, idle: 5, size: 25, work: 2 * time.Second, makeTime: 150 * ms},
			20, 20, 2 * time.Second, 2200 * ms},
		{"work as long as a make", spike{callers: 50, idle: 5, size: 100, work: 150 * ms, makeTime: 150 * ms},
			40, 45, 150 * ms, 180 * ms},
		{"nothing idle", spike{callers: 50, size: 100, work: 2 * ms, makeTime: 150 * ms},
			50, 50, 150 * ms, 151 * ms},
		{"nothing idle, no work", spike{callers: 5000, size: 50, work: 1, makeTime: 250 * ms},
			50, 50, 250 * ms, 375 * ms},
		{"a make's time not known", spike{callers: 50, idle: 5, size: 100, work: 2 * time.Second,
			makeTime: 150 * ms, history: []time.Duration{}}, 45, 45, 150 * ms, 156 * ms},
		{"short work, fast makes", spike{callers: 50, idle: 5, size: 100, work: 2 * ms, makeTime: 200 * time.Microsecond},
			1, 10, 10 * ms, 30 * ms},
		{"long work, fast makes", spike{callers: 50, idle: 5, size: 100, work: 2 * time.Second, makeTime: 200 * time.Microsecond},
			45, 45, 5 * ms, 6 * ms},
		{"makes were slower", spike{callers: 50, idle: 5, size: 100, work: 2 * time.Second,
			makeTime: 150 * ms, history: []time.Duration{300 * ms}}, 45, 45, 150 * ms, 181 * ms},
		{"a long queue of short work", spike{callers: 5000, idle: 1, size: 100, work: 10 * ms, makeTime: 50 * ms},
			30, 99, 500 * ms, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			makes, last := c.s.run(t)
			t.Logf("%d makes, the last served after %v", makes, last)
			if makes < c.least || makes > c.most {
				t.Errorf("%d makes, want %d to %d", makes, c.least, c.most)
			}
			if last < c.from || last > c.within {
				t.Errorf("the last served after %v, want %v to %v", last, c.from, c.within)
			}
		})
	}
}
