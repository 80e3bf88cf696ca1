package peer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Channel is a buffered channel that was filled once: the simplest that lends what
// it holds, and no pool for items that take time to make or that break.
var Channel = Kind{Name: "channel", Filled: true, Lasting: true, Open: openChannel, Loops: channelLoops}

type channel chan *Item

func openChannel(c Config) (Pool, error) {
	if c.Check != nil || c.MaxAge > 0 || c.MinIdle > 0 {
		return nil, errors.ErrUnsupported
	}
	p := make(channel, c.Max)
	for range c.Max {
		it, err := c.Make(context.Background())
		if err != nil {
			return nil, err
		}
		it.home = p
		p <- it
	}
	return p, nil
}

func (p channel) Acquire(ctx context.Context) (Lease, error) {
	select {
	case it := <-p:
		return Lend((*channelLease)(it)), nil
	case <-ctx.Done():
		return Lease{}, ctx.Err()
	}
}

func (p channel) Warm(_ context.Context, n int) error {
	if n > cap(p) {
		return fmt.Errorf("channel: %d of %d", n, cap(p))
	}
	return nil
}

func (p channel) Close(context.Context) error { return nil }

// A channelLease is the item itself.
type channelLease Item

func (l *channelLease) Item() *Item { return (*Item)(l) }
func (l *channelLease) Release()    { l.home <- (*Item)(l) }

// Destroy gives it back all the same: there would be one less for ever.
func (l *channelLease) Destroy() { l.Release() }

func channelLoops(ctx context.Context, size int) (Loops, error) {
	p, err := warmed[channel](ctx, openChannel, size)
	if err != nil {
		return Loops{}, err
	}
	return Loops{
		Plain: func(ctx context.Context, n int) error { return channelPlain(ctx, p, n) },
		Yield: func(ctx context.Context, n int) error { return channelYield(ctx, p, n) },
		Close: closing(p),
	}, nil
}

func channelPlain(ctx context.Context, p chan *Item, n int) error {
	for range n {
		select {
		case it := <-p:
			p <- it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func channelYield(ctx context.Context, p chan *Item, n int) error {
	for range n {
		select {
		case it := <-p:
			runtime.Gosched()
			p <- it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
