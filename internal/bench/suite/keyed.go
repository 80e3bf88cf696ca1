package suite

import (
	"context"
	"errors"
	"strconv"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
)

const manyKeys = 10_000

// keyedRow times an acquire by key among many, beside one of a pool that stands
// alone.
func keyedRow() row {
	return row{"keyed", []entrant{
		{"10,000 keys", openKeyed},
		{"one pool", func(ctx context.Context, s size) (session, error) {
			l, err := peer.Respool.Loops(ctx, 1)
			if err != nil {
				return session{}, err
			}
			return session{measure: meterCancellable(s, l.Plain), close: l.Close}, nil
		}},
	}}
}

// openKeyed makes a resource of each of many keys and has one key used.
func openKeyed(ctx context.Context, s size) (session, error) {
	n := min(manyKeys, s.manyIdle)
	k, err := resource.NewKeyed(resource.KeyedConfig[string, *peer.Item]{
		Config: func(string) (resource.Config[*peer.Item], error) {
			return resource.Config[*peer.Item]{Make: peer.Instant, MaxSize: 1}, nil
		},
		MaxTotal: n,
	})
	if err != nil {
		return session{}, err
	}
	shut := func() error { return k.Close(context.Background()) }
	for i := range n {
		l, err := k.Acquire(ctx, "key "+strconv.Itoa(i))
		if err != nil {
			return session{}, errors.Join(err, shut())
		}
		l.Release()
	}
	key := "key " + strconv.Itoa(n/2)
	return session{close: shut, measure: meterCancellable(s, func(ctx context.Context, n int) error {
		for range n {
			l, err := k.Acquire(ctx, key)
			if err != nil {
				return err
			}
			l.Release()
		}
		return nil
	})}, nil
}
