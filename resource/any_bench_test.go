package resource_test

import (
	"context"
	"testing"

	"github.com/respool/respool/resource"
)

// benchKeyed returns a Keyed of three keys that are in use; one of the last has an idle resource.
func benchKeyed(b *testing.B, idle string) (*resource.Keyed[string, int], []string) {
	k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{MaxTotal: 9, Config: func(string) (resource.Config[int], error) {
		return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 1, nil }}, nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { k.Close(context.Background()) })
	keys := []string{"a", "b", "c"}
	for _, key := range keys {
		l, err := k.Acquire(b.Context(), key)
		if err != nil {
			b.Fatal(err)
		}
		if key == idle {
			l.Release()
		} else {
			b.Cleanup(l.Release)
		}
	}
	return k, keys
}

// BenchmarkHit_Any: an acquire of any key and its release, where the first has something idle, or
// the third, beside an acquire of one key.
func BenchmarkHit_Any(b *testing.B) {
	b.Run("one key", func(b *testing.B) {
		k, keys := benchKeyed(b, "a")
		b.ReportAllocs()
		for b.Loop() {
			l, err := k.Acquire(context.Background(), keys[0])
			if err != nil {
				b.Fatal(err)
			}
			l.Release()
		}
	})
	for _, idle := range []string{"a", "c"} {
		b.Run("any, idle at "+idle, func(b *testing.B) {
			k, keys := benchKeyed(b, idle)
			b.ReportAllocs()
			for b.Loop() {
				_, l, err := k.AcquireAny(context.Background(), keys, resource.Request{})
				if err != nil {
					b.Fatal(err)
				}
				l.Release()
			}
		})
	}
}
