package policy_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// In a quiet hour after a burst an idle timeout leaves MinIdle as they are, and
// MaxIdle ends them and has them made anew, as their docs say.
func TestIdleTimeout_InAQuietHour(t *testing.T) {
	const burst, minIdle = 8, 2
	quiet := func(t *testing.T, e resource.Eviction) (s resource.Stats) {
		synctest.Test(t, func(t *testing.T) {
			p, err := resource.New(resource.Config[int]{
				Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: burst, MinIdle: minIdle, Eviction: e,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Warm(t.Context(), burst); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour + 5*time.Second) // and half a sweep, so that nothing is being replaced
			if s = p.Stats(); s.Idle != minIdle {
				t.Errorf("%d idle after an hour, want %d", s.Idle, minIdle)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	if s := quiet(t, policy.SoftIdle(10*time.Minute, minIdle)); s.Made != burst || s.Evicted != burst-minIdle {
		t.Errorf("SoftIdle: %d made, %d evicted; want %d and %d", s.Made, s.Evicted, burst, burst-minIdle)
	}
	if s := quiet(t, policy.MaxIdle(10*time.Minute)); s.Made < burst+4*minIdle {
		t.Errorf("MaxIdle: %d made; it is documented to have them made anew each 10 minutes", s.Made)
	}
}
