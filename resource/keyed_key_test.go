package resource_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/respool/respool/resource"
)

// A key that a map cannot look up is an error that names its type, and not a
// panic, nor a new pool each time.
func TestKeyed_BadKey(t *testing.T) {
	type pair struct {
		name string
		more any
	}
	k, err := resource.NewKeyed(resource.KeyedConfig[any, int]{MaxTotal: 9, Config: func(any) (resource.Config[int], error) {
		return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 1, nil }}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, tc := range []struct {
		key any
		say string
	}{
		{[]string{"secret"}, "[]string"},
		{map[string]int{"secret": 1}, "map[string]int"},
		{func() {}, "func()"},
		{pair{"secret", []byte("secret")}, "[]uint8"},
		{[1]any{pair{"secret", []int{1}}}, "[]int"},
		{math.NaN(), "float64"},
		{pair{"secret", float32(math.NaN())}, "float32"},
		{complex(0, math.NaN()), "complex128"},
	} {
		check := func(method string, err error) {
			t.Helper()
			if !errors.Is(err, resource.ErrBadKey) || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s with a key that holds a %s: %v", method, tc.say, err)
			}
		}
		_, err := k.Acquire(ctx, tc.key)
		check("Acquire", err)
		_, err = k.AcquireWith(ctx, tc.key, resource.Request{})
		check("AcquireWith", err)
		check("Do", k.Do(ctx, tc.key, func(context.Context, int) error { return nil }))
		_, err = k.Pool(tc.key)
		check("Pool", err)
		if _, ok := k.TryAcquire(tc.key); ok {
			t.Error("TryAcquire")
		}
		if _, ok := k.Find(tc.key); ok {
			t.Error("Find")
		}
		if _, ok := k.InspectKey(tc.key, 1); ok {
			t.Error("InspectKey")
		}
		if err := k.Drain(ctx, tc.key); err != nil {
			t.Error(err)
		}
	}
	if k.Len() != 0 {
		t.Errorf("%d keys", k.Len())
	}
	for _, key := range []any{nil, 1, "a", pair{"a", nil}, pair{"a", 1.5}, [2]any{1, "b"}, &pair{}} {
		l, err := k.Acquire(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	if err := k.Close(ctx); err != nil {
		t.Error(err)
	}
}

// Value tells a lease that has ended from one that never began.
func TestLease_ValuePanics(t *testing.T) {
	p, err := resource.New(resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 1, nil }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	for want, l := range map[string]resource.Lease[int]{"has ended": l, "no lease began": {}} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.Contains(s, want) {
					t.Errorf("%q does not say %q", s, want)
				}
			}()
			l.Value()
		}()
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
