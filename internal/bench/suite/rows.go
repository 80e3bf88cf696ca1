package suite

import (
	"context"
	"slices"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// kinds are the pools under test that any Go programmer can have at once. Ours is
// the first.
func kinds() []peer.Kind {
	return []peer.Kind{peer.Respool, peer.Puddle, peer.Pgxpool, peer.SQL, peer.Commons, peer.Transport, peer.Channel}
}

// making are those of kinds that make what they lend when somebody asks.
func making(kinds []peer.Kind) (out []peer.Kind) {
	for _, k := range kinds {
		if !k.Filled {
			out = append(out, k)
		}
	}
	return out
}

// telling are those of kinds that tell a caller who waits that what the pool makes
// meanwhile has failed, sooner or later.
func telling(kinds []peer.Kind) (out []peer.Kind) {
	for _, k := range kinds {
		if !k.Untold {
			out = append(out, k)
		}
	}
	return out
}

// rows returns every row, in the order of the table.
func rows(all []peer.Kind) []row {
	makers := making(all)
	echo := &echoPeer{}
	var out []row
	for _, c := range crews() {
		out = append(out, loopRow(c, all))
	}
	out = append(out,
		spikeRow("spike-short", makers, func(s size) time.Duration { return s.spikeShort }),
		spikeRow("spike-long", makers, func(s size) time.Duration { return s.spikeLong }),
		jobRow("zero-work", makers, zeroWork),
		jobRow("dead-factory", telling(makers), deadFactory),
		jobRow("lost-wakeup", all, lostWakeup),
		jobRow("hand-off", all, handOff),
		socketsRow("release-64-on-16", all, echo, 64, 16),
		socketsRow("release-alone", all, echo, 1, 1),
		jobRow("fair-hold-1ms", all, fairSleep),
		jobRow("fair-hold-20us", all, fairSpin),
		jobRow("fair-hold-0", all, fairNone),
		jobRow("timeout-storm", all, timeoutStorm),
		idleAcquireRow(),
		sweepRow(),
		statsRow(),
		keyedRow(),
	)
	return slices.Concat(out, sweepRows(all), policyRows(), watchRows(), wsRows(), []row{floorsRow()})
}

// A job is one measurement of one pool, which it opens and closes itself.
type job func(ctx context.Context, k peer.Kind, s size) (sample, error)

// jobRow has each kind do j.
func jobRow(name string, kinds []peer.Kind, j job) row {
	r := row{name: name}
	for _, k := range kinds {
		r.entrants = append(r.entrants, entrant{k.Name, func(_ context.Context, s size) (session, error) {
			return session{measure: func(ctx context.Context) (sample, error) { return j(ctx, k, s) }}, nil
		}})
	}
	return r
}

// loopRow times the loops of a crew. The context can be cancelled, as that of
// nearly every real caller can.
func loopRow(c crew, kinds []peer.Kind) row {
	r := row{name: c.name}
	for _, k := range kinds {
		if k.Loops == nil {
			continue
		}
		r.entrants = append(r.entrants, entrant{k.Name, func(ctx context.Context, s size) (session, error) {
			l, err := k.Loops(ctx, c.resources)
			if err != nil {
				return session{}, err
			}
			return session{measure: meterCancellable(s, c.loop(l)), close: l.Close}, nil
		}})
	}
	return r
}

// meterCancellable meters l with a context that can be cancelled.
func meterCancellable(s size, l peer.Loop) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return meter(ctx, s.micro, l)
	}
}
