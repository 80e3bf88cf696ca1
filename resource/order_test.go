package resource_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// NewestFirst lends the one given back last: under little load the others
// stay idle.
func TestOrder_NewestFirst(t *testing.T) {
	script(t, 4, nil, func(h *harness) {
		its := h.stock(4)
		for range 8 {
			l := h.acquire().wantItem(its[3])
			time.Sleep(time.Second)
			l.Release()
		}
		for _, want := range []*item{its[3], its[2], its[1], its[0]} {
			h.acquire().wantItem(want)
		}
	})
}

// OldestFirst lends the one idle longest: all are used in turn.
func TestOrder_OldestFirst(t *testing.T) {
	edit := func(h *harness) { h.cfg.Order = resource.OldestFirst }
	script(t, 4, edit, func(h *harness) {
		its := h.stock(4)
		for range 3 {
			for _, want := range its {
				h.acquire().wantItem(want).Release()
			}
		}
	})
}

// The order is that of giving back, not of making, whichever goroutine does
// it.
func TestOrder_FollowsReleases(t *testing.T) {
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) { h.cfg.Order = order }
			script(t, 4, edit, func(h *harness) {
				ls, its := h.lendN(4)
				back := []int{2, 0, 3, 1}
				for _, i := range back {
					done := make(chan struct{})
					go func() { ls[i].Release(); close(done) }()
					<-done
				}
				if order == resource.NewestFirst {
					slices.Reverse(back)
				}
				for _, i := range back {
					h.acquire().wantItem(its[i])
				}
			})
		})
	}
}

// One ended in the middle leaves the order of the others.
func TestOrder_AfterInvalidate(t *testing.T) {
	script(t, 4, nil, func(h *harness) {
		its := h.stock(4)
		its[2].invalidate(nil)
		for _, i := range []int{3, 1, 0} {
			h.acquire().wantItem(its[i])
		}
	})
}

// So does one given back with an error that is not Broken's, as its first lease:
// it goes to no seat, and the older one that has a seat comes below it.
func TestOrder_AfterMildFailure(t *testing.T) {
	edit := func(h *harness) { h.cfg.Broken = func(error) bool { return false } }
	script(t, 2, edit, func(h *harness) {
		ls, its := h.lendN(2)
		ls[1].Release()
		ls[0].Fail(errors.New("not found"))
		h.acquire().wantItem(its[0])
		h.acquire().wantItem(its[1])
	})
}
