package suite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// massRow: the server tells every connection at once to go away, and takes its
// time over each handshake when they all come back.
func massRow(name string) row {
	return row{name, []entrant{{"respool", func(_ context.Context, s size) (session, error) {
		return session{measure: func(ctx context.Context) (sample, error) { return mass(ctx, s) }}, nil
	}}}}
}

func mass(ctx context.Context, s size) (sample, error) {
	dial, err := slowestDial(ctx, s.wsHandshake, s.wsMassDials)
	if err != nil {
		return nil, err
	}
	var made atomic.Int64
	var last atomic.Int64 // since base
	base := time.Now()
	back := make(chan struct{})
	edit := func(c *wspool.Config) {
		c.MaxSize, c.MinIdle, c.MaxDials = s.wsMass, s.wsMass, s.wsMassDials
		c.Redial = func(error, int) time.Duration { return rand.N(s.wsRedial) }
		c.Trace = &resource.Trace{Made: func(_ context.Context, e resource.MakeEvent) {
			if e.Err != nil {
				return
			}
			if made.Add(1) == int64(2*s.wsMass) {
				raise(&last, time.Since(base))
				close(back)
			}
		}}
	}
	return withCloser("ws", s.wsHandshake, edit, func(c *closer, p *wspool.Pool) (sample, error) {
		if err := p.Warm(ctx, s.wsMass); err != nil {
			return nil, err
		}
		if err := useAll(ctx, p, s.wsMass); err != nil {
			return nil, err
		}
		if err := pause(ctx, s.wsSettle); err != nil {
			return nil, err
		}
		c.peak.Store(0)
		start, err := c.goAway(s.wsMass)
		if err != nil {
			return nil, err
		}
		if err := await(ctx, back, "all connections to be back"); err != nil {
			return nil, fmt.Errorf("%w: %d of %d", err, made.Load(), 2*s.wsMass)
		}
		took := base.Add(time.Duration(last.Load())).Sub(start)
		return sample{
			"peak":     float64(c.peak.Load()),
			"back ms":  millis(took),
			"dial ms":  millis(dial),
			"dials":    float64(took-s.wsRedial) / float64(dial),
			"of bound": float64(took) / float64(3*dial+s.wsRedial),
		}, nil
	})
}

// useAll leases n connections, all at once. Those that die before they did any work
// are a sign that the server is ill, and are replaced one by one at first.
func useAll(ctx context.Context, p *wspool.Pool, n int) error {
	var all []*wspool.Conn
	defer func() {
		for _, c := range all {
			c.Release()
		}
	}()
	for range n {
		c, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	return nil
}

// slowestDial is what a dial takes among n at once, with gorilla alone: until
// the last of them is there.
func slowestDial(ctx context.Context, takes time.Duration, n int) (time.Duration, error) {
	c, err := openCloser("ws", takes)
	if err != nil {
		return 0, err
	}
	d, err := c.addr.dialer("ws")
	if err != nil {
		return 0, errors.Join(err, c.close())
	}
	var slowest atomic.Int64
	all := make([]*websocket.Conn, n)
	begin := time.Now()
	start, err := crowd(ctx, n, func(ctx context.Context, i int) (err error) {
		all[i], err = d.dial(ctx)
		raise(&slowest, time.Since(begin))
		return err
	})
	for _, ws := range all {
		if ws != nil {
			err = errors.Join(err, closeBare(ws))
		}
	}
	return time.Duration(slowest.Load()) - start.Sub(begin), errors.Join(err, c.close())
}
