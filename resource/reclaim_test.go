package resource_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A lease that was leaked is found with Inspect and reclaimed: its slot and permit
// are free, the resource is destroyed, and what its holder does then harms nobody.
func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var destroyed []error
		permits := 0
		p, err := resource.New(resource.Config[int]{
			MaxSize: 1,
			Make:    func(context.Context) (int, error) { return 1, nil },
			Destroy: func(_ int, cause error) { destroyed = append(destroyed, cause) },
			Admission: admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
				permits++
				return func(resource.Outcome) { permits-- }, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		leaked, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if row := p.Inspect(1).Resources[0]; p.Reclaim(row.ID, row.Lease) {
			t.Error("a lease was reclaimed that has just begun")
		}
		time.Sleep(2 * time.Second)
		row := p.Inspect(1).Resources[0]
		for _, wrong := range [][2]uint64{{row.ID + 1, row.Lease}, {row.ID, row.Lease + 1}, {row.ID, 0}} {
			if p.Reclaim(wrong[0], wrong[1]) {
				t.Errorf("lease %v was reclaimed", wrong)
			}
		}
		if !p.Reclaim(row.ID, row.Lease) {
			t.Fatalf("not reclaimed: %+v", row)
		}
		synctest.Wait()
		if len(destroyed) != 1 || destroyed[0] != resource.ErrReclaimed || permits != 0 {
			t.Errorf("destroyed with %v, %d permits are out", destroyed, permits)
		}
		if p.Reclaim(row.ID, row.Lease) {
			t.Error("reclaimed twice")
		}
		next, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaked.Release()
		if row := p.Inspect(1).Resources[0]; row.State != resource.Leased || row.Lease != 1 {
			t.Errorf("the end of the reclaimed lease touched the next: %+v", row)
		}
		next.Release()
		if row := p.Inspect(1).Resources[0]; row.Lease != 0 {
			t.Errorf("idle, but its lease is %d", row.Lease)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A lease that its acquire still has checked is not reclaimed, however long the
// check takes: its caller would be given one that has ended.
func TestReclaim_InCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		permits := 0
		slow := false
		p, err := resource.New(resource.Config[int]{
			MaxSize: 1,
			Make:    func(context.Context) (int, error) { return 1, nil },
			Health: boundedCheck(func(context.Context, int, resource.Info) error {
				if slow {
					time.Sleep(time.Minute)
				}
				return nil
			}),
			Admission: admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
				permits++
				return func(resource.Outcome) { permits-- }, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		slow = true
		go func() {
			time.Sleep(30 * time.Second)
			for _, row := range p.Inspect(1).Resources {
				if p.Reclaim(row.ID, row.Lease) {
					t.Errorf("reclaimed %+v", row)
				}
			}
		}()
		if l, err = p.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = l.Value()
		l.Release()
		if permits != 0 {
			t.Errorf("%d permits are out", permits)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
