package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A server that accepts and hangs up at once is tried at the pace of an outage,
// though each make succeeds: those that began before the outage do not end it.
func TestOutage_AcceptsAndHangsUp(t *testing.T) {
	hungUp := errors.New("hung up")
	for _, c := range []struct {
		size        int
		make, lives time.Duration
	}{{8, time.Millisecond, 0}, {8, time.Millisecond, time.Millisecond}, {8, 20 * time.Millisecond, time.Millisecond}, {2, 20 * time.Millisecond, time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			around := func(d time.Duration) time.Duration {
				if d == 0 {
					return 0
				}
				return d/2 + rand.N(d)
			}
			var dials atomic.Int64
			p, err := resource.New(resource.Config[int]{
				MaxSize: c.size, MinIdle: c.size,
				Make: func(context.Context) (int, error) {
					dials.Add(1)
					time.Sleep(around(c.make))
					return 1, nil
				},
				Watch: func(_ int, invalidate func(error)) { time.AfterFunc(around(c.lives), func() { invalidate(hungUp) }) },
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			if n := dials.Load(); n > 20*120 { // 20 a second; without a bound it is up to 3,000
				t.Errorf("%+v: %d dials in two minutes", c, n)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second) // the timers of Watch
		})
	}
}
