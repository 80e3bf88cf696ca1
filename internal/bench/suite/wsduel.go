package suite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/respool/respool/wspool"
)

// The entrants that own connections: bare ones of gorilla, and of coder, whose
// calls take a context.
const (
	bareName  = "gorilla"
	coderName = "coder"
)

// duelTurns is how often the two of a duel take turns in a round. What takes a
// few microseconds is soon disturbed, by more than a pool costs; so the best
// turn of each counts.
const duelTurns = 6

// A discipline is what a duel is about: what askers do for d, or a little
// longer, and how well.
type discipline struct {
	metric string
	better func(a, b float64) float64
	try    func(ctx context.Context, d time.Duration, ask []asker) (float64, error)
}

// timePerMessage has one worker take leases of so many exchanges back to back.
func timePerMessage(exchanges int) discipline {
	return discipline{"us/op", math.Min, func(ctx context.Context, d time.Duration, ask []asker) (float64, error) {
		begin := time.Now()
		for n := exchanges; ; n += exchanges {
			if err := ask[0](ctx, exchanges); err != nil {
				return 0, err
			}
			if took := time.Since(begin); took >= d {
				return micros(took) / float64(n), nil
			}
		}
	}}
}

// throughput has all workers ask at once, one exchange a lease.
func throughput() discipline { return discipline{"op/s", math.Max, perSecond} }

// A duel has askers do a discipline with a pool and with connections of their
// own, in short turns. One measurement finds the figures of all.
type duel struct {
	discipline
	pooled, bare, coder []asker
	theirs              map[string]sample // of bare and coder, until the row asks for it
}

// measure does one round of all.
func (d *duel) measure(ctx context.Context, s size) (sample, error) {
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	best := map[string]float64{}
	try := func(who string, ctx context.Context, ask []asker) error {
		runtime.GC() // so that the garbage of others is not collected meanwhile
		v, err := d.try(ctx, s.micro/duelTurns, ask)
		if old, ok := best[who]; ok {
			v = d.better(old, v)
		}
		best[who] = v
		return err
	}
	for range duelTurns {
		err := errors.Join(
			try("pooled", context.Background(), d.pooled),
			try(bareName, context.Background(), d.bare),
			try(coderName, context.Background(), d.coder),
			try("cancellable", cancellable, d.pooled),
			try("coder ctx", cancellable, d.coder),
			ctx.Err(),
		)
		if err != nil {
			return nil, err
		}
	}
	d.theirs = map[string]sample{ // gorilla has no use for a context
		bareName:  {d.metric: best[bareName], "ctx " + d.metric: best[bareName]},
		coderName: {d.metric: best[coderName], "ctx " + d.metric: best["coder ctx"]},
	}
	return sample{d.metric: best["pooled"], "ctx " + d.metric: best["cancellable"]}, nil
}

// duelRow is a duel of workers: through one pool of as many connections, and
// each on a gorilla connection of its own. With "ctx " before the metric the
// context is one that can be cancelled.
func duelRow(name, scheme string, workers int, peer *echoPeer, edit func(*wspool.Config), what discipline) row {
	d := &duel{discipline: what}
	open := func(ctx context.Context, s size) (session, error) {
		a, err := peer.open(ctx)
		if err != nil {
			return session{}, err
		}
		var endPooled, endBare func() error
		if d.pooled, endPooled, err = poolAskers(ctx, a, scheme, workers, edit); err != nil {
			return session{}, errors.Join(err, peer.close())
		}
		if d.bare, endBare, err = bareAskers(ctx, a, scheme, workers, nil); err != nil {
			return session{}, errors.Join(err, endPooled(), peer.close())
		}
		var endCoder func() error
		if d.coder, endCoder, err = coderAskers(ctx, a, scheme, workers); err != nil {
			return session{}, errors.Join(err, endPooled(), endBare(), peer.close())
		}
		return session{
			measure: func(ctx context.Context) (sample, error) { return d.measure(ctx, s) },
			close:   func() error { return errors.Join(endPooled(), endBare(), endCoder(), peer.close()) },
		}, nil
	}
	theirs := func(name string) entrant {
		return entrant{name, func(context.Context, size) (session, error) {
			return session{measure: func(context.Context) (sample, error) {
				got := d.theirs[name]
				delete(d.theirs, name)
				if got == nil {
					return nil, fmt.Errorf("%s is measured in turns with respool, which -pools leaves out", name)
				}
				return got, nil
			}}, nil
		}}
	}
	return row{name, []entrant{{"respool", open}, theirs(bareName), theirs(coderName)}}
}
