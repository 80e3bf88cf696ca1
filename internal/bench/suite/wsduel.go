package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/respool/respool/wspool"
)

// The entrants that own connections: bare ones of gorilla, and of coder, whose
// calls take a context.
const (
	bareName  = "gorilla"
	coderName = "coder"
	tunedName = "gorilla, tuned" // for many that are idle
)

// duelTurns is how often all take turns in a round.
const duelTurns = 7

// A discipline is what a duel is about: what askers do for d, or a little
// longer, and how well.
type discipline struct {
	metric string
	try    func(ctx context.Context, d time.Duration, ask []asker) (float64, error)
}

// timePerMessage has one worker take leases of so many exchanges back to back.
func timePerMessage(exchanges int) discipline {
	return discipline{"us/op", func(ctx context.Context, d time.Duration, ask []asker) (float64, error) {
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
func throughput() discipline { return discipline{"op/s", perSecond} }

// A duel has askers do a discipline with a pool and with connections of their
// own, in short turns. One measurement finds the figures of all.
type duel struct {
	discipline
	pooled, bare, coder []asker
	found               map[string]sample // of the round that is under way, until they are asked for
}

// take returns what that entrant found in this round, which is measured for all of
// them when the first asks.
func (d *duel) take(ctx context.Context, s size, name string) (sample, error) {
	if d.pooled == nil {
		return nil, fmt.Errorf("%s is measured in turns with respool, which -pools leaves out", name)
	}
	if d.found[name] == nil {
		var err error
		if d.found, err = d.measure(ctx, s); err != nil {
			return nil, err
		}
	}
	got := d.found[name]
	delete(d.found, name)
	return got, nil
}

// measure does one round of all. What takes a few microseconds is soon disturbed by
// more than a pool costs: the median of the turns counts.
func (d *duel) measure(ctx context.Context, s size) (map[string]sample, error) {
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	plain := context.Background() // cannot be cancelled; gorilla has no use for another
	turns := []struct {
		who string
		ctx context.Context
		ask []asker
	}{
		{"respool", plain, d.pooled}, {bareName, plain, d.bare}, {coderName, plain, d.coder},
		{"respool ctx", cancellable, d.pooled}, {"coder ctx", cancellable, d.coder},
	}
	tries := map[string][]float64{}
	for n := range duelTurns {
		for i := range turns {
			t := turns[(i+n)%len(turns)]
			runtime.GC() // so that the garbage of others is not collected meanwhile
			v, err := d.try(t.ctx, s.micro/4, t.ask)
			if err := errors.Join(err, ctx.Err()); err != nil {
				return nil, err
			}
			tries[t.who] = append(tries[t.who], v)
		}
	}
	figures := func(who, with string) sample {
		return sample{d.metric: spreadOf(tries[who]).Median, "ctx " + d.metric: spreadOf(tries[with]).Median}
	}
	return map[string]sample{
		"respool": figures("respool", "respool ctx"), bareName: figures(bareName, bareName), coderName: figures(coderName, "coder ctx"),
	}, nil
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
			measure: func(ctx context.Context) (sample, error) { return d.take(ctx, s, "respool") },
			close:   func() error { return errors.Join(endPooled(), endBare(), endCoder(), peer.close()) },
		}, nil
	}
	theirs := func(name string) entrant {
		return entrant{name, func(_ context.Context, s size) (session, error) {
			return session{measure: func(ctx context.Context) (sample, error) { return d.take(ctx, s, name) }}, nil
		}}
	}
	return row{name, []entrant{{"respool", open}, theirs(bareName), theirs(coderName)}}
}
