package resource_test

import (
	"context"
	"errors"
	"testing"

	"github.com/respool/respool/resource"
)

// MakingID is the ID that the resource will have, and nobody's where Make fails;
// elsewhere it is 0.
func TestMakingID(t *testing.T) {
	calls, seen := 0, uint64(0)
	p, err := resource.New(resource.Config[int]{MaxSize: 4, Make: func(ctx context.Context) (int, error) {
		calls++
		id := resource.MakingID(ctx)
		if id == 0 || id == seen || id != resource.MakingID(ctx) {
			t.Errorf("made as %d, after %d", id, seen)
		}
		seen = id
		if calls == 1 {
			return 0, errors.New("not yet")
		}
		return calls, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	_ = p.Warm(t.Context(), 1) // the first make fails; Warm may try once more
	l, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if i := l.Info(); i.ID != seen {
		t.Errorf("%d was made as %d", i.ID, seen)
	}
	if id := resource.MakingID(t.Context()); id != 0 {
		t.Errorf("%d is made by nobody", id)
	}
}
