package suite

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// poolAskers share a pool.
func poolAskers(ctx context.Context, a address, scheme string, n int, edit func(*wspool.Config)) ([]asker, func() error, error) {
	p, err := openSockets(a, scheme, func(c *wspool.Config) {
		c.MaxSize = n
		if edit != nil {
			edit(c)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	end := func() error { return closePool(p) }
	if err := p.Warm(ctx, n); err != nil {
		return nil, nil, errors.Join(err, end())
	}
	ask := make([]asker, n)
	for i := range ask {
		ask[i] = func(ctx context.Context, exchanges int) error { return lease(ctx, p, exchanges) }
	}
	return ask, end, nil
}

// bareAskers have a connection each, and no use for a context.
func bareAskers(ctx context.Context, a address, scheme string, n int, buffers websocket.BufferPool) ([]asker, func() error, error) {
	var all []*websocket.Conn
	end := func() (err error) {
		for _, ws := range all {
			err = errors.Join(err, closeBare(ws))
		}
		return err
	}
	d, err := a.dialer(scheme)
	if err != nil {
		return nil, nil, err
	}
	d.WriteBufferPool = buffers
	ask := make([]asker, n)
	for i := range ask {
		ws, err := d.dial(ctx)
		if err != nil {
			return nil, nil, errors.Join(err, end())
		}
		all = append(all, ws)
		ask[i] = func(_ context.Context, exchanges int) error { return askBare(ws, exchanges) }
	}
	return ask, end, nil
}

// perSecond counts what the workers do in d, each at least one. A worker's
// context is ctx itself: what its asker makes of it is part of the work.
func perSecond(ctx context.Context, d time.Duration, ask []asker) (float64, error) {
	var done atomic.Int64
	var last atomic.Int64
	begin := time.Now()
	_, err := crowd(context.Background(), len(ask), func(others context.Context, i int) error {
		for others.Err() == nil {
			if err := ask[i](ctx, 1); err != nil {
				return err
			}
			done.Add(1)
			if took := time.Since(begin); took >= d {
				raise(&last, took)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return float64(done.Load()) / time.Duration(last.Load()).Seconds(), nil
}

// dialRow: a pool beside a dial for each request, with workers that do nothing
// else.
func dialRow(name, scheme string, peer *echoPeer) row {
	const workers = 16
	work := func(ask []asker, s size, end func() error) session {
		return session{
			measure: func(ctx context.Context) (sample, error) {
				n, err := perSecond(ctx, s.micro, ask)
				return sample{"op/s": n}, err
			},
			close: func() error { return errors.Join(end(), peer.close()) },
		}
	}
	pooled := func(ctx context.Context, s size) (session, error) {
		a, err := peer.open(ctx)
		if err != nil {
			return session{}, err
		}
		ask, end, err := poolAskers(ctx, a, scheme, workers, nil)
		if err != nil {
			return session{}, errors.Join(err, peer.close())
		}
		return work(ask, s, end), nil
	}
	dialling := func(ctx context.Context, s size) (session, error) {
		a, err := peer.open(ctx)
		if err != nil {
			return session{}, err
		}
		d, err := a.dialer(scheme)
		if err != nil {
			return session{}, errors.Join(err, peer.close())
		}
		one := func(ctx context.Context, _ int) error { return dialAndAsk(ctx, d) }
		return work(slices.Repeat([]asker{one}, workers), s, func() error { return nil }), nil
	}
	return row{name, []entrant{{"respool", pooled}, {"dialling", dialling}}}
}

// allocsRow counts what a lease of one exchange allocates beyond the exchange
// itself, on a connection of one's own. That one has its buffers for writing from
// a pool, too, as gorilla advises for connections that are mostly idle; it then
// allocates one more for each message than with a buffer that it keeps.
func allocsRow(name, scheme string, peer *echoPeer) row {
	return row{name, []entrant{{"respool", func(ctx context.Context, s size) (session, error) {
		a, err := peer.open(ctx)
		if err != nil {
			return session{}, err
		}
		pooled, endPooled, err := poolAskers(ctx, a, scheme, 1, nil)
		if err != nil {
			return session{}, errors.Join(err, peer.close())
		}
		bare, endBare, err := bareAskers(ctx, a, scheme, 1, new(sync.Pool))
		if err != nil {
			return session{}, errors.Join(err, endPooled(), peer.close())
		}
		return session{
			measure: func(ctx context.Context) (sample, error) { return addedAllocs(ctx, s, pooled[0], bare[0]) },
			close:   func() error { return errors.Join(endPooled(), endBare(), peer.close()) },
		}, nil
	}}}}
}

// addedAllocs is what pooled allocates for an exchange, less what bare does.
func addedAllocs(ctx context.Context, s size, pooled, bare asker) (sample, error) {
	each := func(ask asker) (float64, error) {
		got, err := meterCancellable(s, func(ctx context.Context, n int) error {
			for range n {
				if err := ask(ctx, 1); err != nil {
					return err
				}
			}
			return nil
		})(ctx)
		return got["allocs/op"], err
	}
	ours, err := each(pooled)
	if err != nil {
		return nil, err
	}
	own, err := each(bare)
	return sample{"pooled": ours, "bare": own, "added": math.Round(100*(ours-own)) / 100}, err
}
