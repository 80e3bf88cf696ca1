package resource_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// deadAfter is a Health that is due for what has been idle for a minute, and
// whose check ends at its time-out of 2 s once the server is dead.
type deadAfter struct{ dead *atomic.Bool }

func (d deadAfter) Due(i resource.Info) bool {
	return i.Idle >= time.Minute && i.Checked >= time.Minute
}

func (d deadAfter) Check(ctx context.Context, _ *keyedItem, _ resource.Info) error {
	if !d.dead.Load() {
		return nil
	}
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
	}
	return errSick
}

// A key whose idle resources are all dead serves its callers after one check,
// and what it has not verified gives way to callers of other keys meanwhile.
func TestKeyedAllDead(t *testing.T) {
	for _, total := range []int{20, 30} {
		t.Run(fmt.Sprintf("20 idle of %d", total), func(t *testing.T) {
			var dead atomic.Bool
			keyed(t, total, total, func(h *keyedHarness) {
				h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
					if key == "a" {
						cfg.SweepInterval = time.Hour
						cfg.Health = deadAfter{&dead}
					}
				}
			}, func(h *keyedHarness) {
				if err := h.pool("a").Warm(context.Background(), 20); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Minute)
				dead.Store(true)
				first := h.begin("a")
				time.Sleep(2200 * ms)
				defer first.wantLease().Release()
				if first.after > 2200*ms {
					t.Errorf("served after %v", first.after)
				}
				var others []*keyedCall
				for range 8 {
					others = append(others, h.begin("b"))
				}
				time.Sleep(300 * ms)
				for i, c := range others {
					defer c.wantLease().Release()
					if c.after > 300*ms {
						t.Errorf("caller %d of another key was served after %v", i+1, c.after)
					}
				}
				for range 3 {
					c := h.begin("a")
					time.Sleep(300 * ms)
					defer c.wantLease().Release()
				}
			})
		})
	}
}
