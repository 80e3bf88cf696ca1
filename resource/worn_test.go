package resource_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/claim"
	"github.com/respool/respool/resource"
)

// wearNoted is an Eviction that notes what it is told.
type wearNoted struct{ leases []int64 }

func (n *wearNoted) Evict(i resource.Info) error {
	n.leases = append(n.leases, i.Leases)
	return nil
}

// A resource whose lease numbers are nearly used up is replaced: the numbers
// never begin anew, wherever it lies between its leases.
func TestWornOut(t *testing.T) {
	for name, tc := range map[string]struct {
		order resource.Order
		noted *wearNoted
		pause time.Duration // after each lease
		most  int           // leases until the resource is replaced
	}{
		"on the shelf":             {order: resource.OldestFirst, most: 2},
		"on the shelf, judged":     {order: resource.OldestFirst, noted: new(wearNoted), most: 2},
		"on a seat":                {pause: time.Millisecond, most: 2100},
		"on a seat, judged":        {pause: time.Millisecond, noted: new(wearNoted), most: 2100},
		"on a seat, now and then":  {pause: 300 * time.Millisecond, most: 4},
		"on a seat, but much held": {pause: 0, most: 2100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var causes []error
				made := 0
				cfg := resource.Config[int]{
					MaxSize: 1, Order: tc.order,
					Make:    func(context.Context) (int, error) { made++; return made, nil },
					Destroy: func(_ int, cause error) { causes = append(causes, cause) },
				}
				if tc.noted != nil {
					cfg.Eviction = tc.noted
				}
				p, err := resource.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				lease := func() int {
					l, err := p.Acquire(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if l.Info().Leases < 1 {
						t.Fatalf("lease number %d", l.Info().Leases)
					}
					if tc.pause == 0 {
						time.Sleep(time.Millisecond)
					}
					v := l.Value()
					l.Release()
					time.Sleep(tc.pause)
					return v
				}
				for range 3 {
					lease()
				}
				before := 0
				if tc.noted != nil {
					before = len(tc.noted.leases)
				}
				p.Wear(claim.MaxLeases - 1)
				n := 1
				for lease() == 1 {
					if n++; n > tc.most {
						t.Fatalf("not replaced after %d leases", n)
					}
					if s := p.Stats(); s.Acquired != int64(3+n-1) || s.Released != s.Acquired {
						t.Fatalf("after %d leases: %v", 3+n-1, s)
					}
				}
				synctest.Wait()
				if len(causes) != 1 || !errors.Is(causes[0], resource.ErrWornOut) || made != 2 {
					t.Fatalf("%d made; ended for %v", made, causes)
				}
				if tc.noted != nil {
					old := tc.noted.leases[before:]
					for len(old) > 0 && old[len(old)-1] < 3 { // of its successor
						old = old[:len(old)-1]
					}
					for i, n := range old {
						if n < claim.MaxLeases-1 || i > 0 && n < old[i-1] {
							t.Fatalf("the Eviction was told of %d leases", n)
						}
					}
				}
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s := p.Stats(); s.Acquired != int64(3+n) || s.Released != s.Acquired || s.Made != s.Destroyed {
					t.Fatal(s)
				}
			})
		})
	}
}
