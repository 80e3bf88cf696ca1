package resource_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// The error of a caller that waited in vain for a slot of the total says that the
// total is used up, whether or not others wait for the same key.
func TestKeyedStarved_ErrorSaysWhy(t *testing.T) {
	for _, others := range []int{0, 1} {
		keyed(t, 1, 1, nil, func(h *keyedHarness) {
			leaked := h.acquire("leaky")
			defer leaked.Release()
			for range others {
				c := h.begin("quiet")
				c.wantWaiting()
				defer func() { c.cancel(); c.poll() }()
			}
			check := func(how string, err error) {
				h.t.Helper()
				var failed *resource.AcquireError
				if !errors.As(err, &failed) || failed.Load.Wanting != 1 {
					h.t.Errorf("%s: %+v", how, err)
				} else if text := fmt.Sprintf("%+v", err); !strings.Contains(text, "1 more wanted of a total that is used up") {
					h.t.Errorf("%s: %s", how, text)
				}
			}
			_, err := h.acquireFor("quiet", 300*ms)
			check("deadline", err)
			_, err = h.k.AcquireWith(h.t.Context(), "quiet", resource.Request{MaxWait: time.Second})
			check("MaxWait", err)
			ctx, cancel := context.WithCancel(h.t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err = h.k.Acquire(ctx, "quiet")
			check("canceled", err)
			_, err = h.acquireFor("leaky", time.Second) // it lacks a slot of its own MaxSize
			var failed *resource.AcquireError
			if !errors.As(err, &failed) || failed.Load.Wanting != 0 {
				h.t.Errorf("the key that has the slot: %+v", err)
			}
			if others == 0 && h.k.Stats().Wanting != 0 {
				h.t.Errorf("nothing waits: %v", h.k.Stats())
			}
		})
	}
}
