package peer

import (
	"context"
	"fmt"
)

// Channel is a buffered channel that is filled once: the simplest way to lend items.
// It is no pool for items that take time to make or that break.
var Channel = Kind{Name: "channel", Prefilled: true, NoClose: true, Open: openChannel, Loops: LoopsOf(openChannel, channelLoop)}

type channel chan *Item

func openChannel(c Config) (Pool, error) {
	if err := c.lacks(true, true, true, true); err != nil {
		return nil, err
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
		return fmt.Errorf("channel: %d items wanted, capacity %d", n, cap(p))
	}
	return nil
}

func (p channel) Close(context.Context) error { return nil }

// A channelLease is the item itself.
type channelLease Item

func (l *channelLease) Item() *Item { return (*Item)(l) }
func (l *channelLease) Release()    { l.home <- (*Item)(l) }

// Destroy returns the item all the same: nothing would replace it.
func (l *channelLease) Destroy() { l.Release() }

func channelLoop(ctx context.Context, p channel, n int, yield bool) error {
	for range n {
		select {
		case it := <-p:
			Hold(yield)
			p <- it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
