package resource_test

import (
	"context"
	"errors"
	"testing"

	"github.com/respool/respool/resource"
)

// Which cause Destroy sees after invalidate, as Config.Watch says.
func TestInvalidate_Cause(t *testing.T) {
	dead, late, other := errors.New("dead"), errors.New("late"), errors.New("other")
	for _, c := range []struct {
		name        string
		end         func(p *resource.Pool[int], l resource.Lease[int])
		want        error
		invalidated int64
	}{
		{"Release", func(_ *resource.Pool[int], l resource.Lease[int]) { l.Release() }, dead, 1},
		{"Fail that Broken counts", func(_ *resource.Pool[int], l resource.Lease[int]) { l.Fail(other) }, other, 0},
		{"Fail that Broken does not count", func(_ *resource.Pool[int], l resource.Lease[int]) { l.Fail(late) }, dead, 1},
		{"Discard", func(_ *resource.Pool[int], l resource.Lease[int]) { l.Discard(other) }, other, 0},
		{"Reset", func(p *resource.Pool[int], l resource.Lease[int]) { p.Reset(other); l.Release() }, dead, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var invalidate func(error)
			causes := make(chan error, 1)
			p, err := resource.New(resource.Config[int]{
				Make:    func(context.Context) (int, error) { return 1, nil },
				Watch:   func(_ int, f func(error)) { invalidate = f },
				Broken:  func(err error) bool { return err != late },
				Destroy: func(_ int, cause error) { causes <- cause },
				MaxSize: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			l, err := p.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			invalidate(dead)
			invalidate(late)
			c.end(p, l)
			if got := <-causes; got != c.want {
				t.Errorf("Destroy saw %v, want %v", got, c.want)
			}
			if err := p.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if n := p.Stats().Invalidated; n != c.invalidated {
				t.Errorf("Stats.Invalidated is %d, want %d", n, c.invalidated)
			}
		})
	}
}
