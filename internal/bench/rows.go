package main

import "context"

// rows returns every row, in the order of the table.
func rows() []row {
	both := []kind{respoolKind, puddleKind}
	all := []kind{respoolKind, puddleKind, channelKind, commonsKind}
	var out []row
	for _, c := range crews() {
		out = append(out, loopRow(c))
	}
	out = append(out,
		jobRow("spike-short", both, spikeShort),
		jobRow("spike-long", both, spikeLong),
		jobRow("zero-work", both, zeroWork),
		jobRow("dead-factory", both, deadFactory),
		jobRow("lost-wakeup", both, lostWakeup),
		jobRow("hand-off", both, handOff),
		jobRow("fair-hold-1ms", both, fairSleep),
		jobRow("fair-hold-20us", both, fairSpin),
		jobRow("fair-hold-0", both, fairNone),
		jobRow("timeout-storm", all, timeoutStorm),
		idleAcquireRow(),
		sweepRow(),
		statsRow(),
		keyedRow(),
	)
	return append(append(out, policyRows()...), wsRows()...)
}

// A job is one measurement of one pool, which it opens and closes itself.
type job func(ctx context.Context, k kind, s size) (sample, error)

// jobRow has each kind do j.
func jobRow(name string, kinds []kind, j job) row {
	r := row{name: name}
	for _, k := range kinds {
		r.entrants = append(r.entrants, entrant{k.name, func(_ context.Context, s size) (session, error) {
			return session{measure: func(ctx context.Context) (sample, error) { return j(ctx, k, s) }}, nil
		}})
	}
	return r
}

// loopRow times the loops of a crew. The context can be cancelled, as that of
// nearly every real caller can.
func loopRow(c crew) row {
	r := row{name: c.name}
	for _, k := range loopKinds() {
		if k.name == channelKind.name {
			continue // has no part in these goals; see the Go benchmarks
		}
		r.entrants = append(r.entrants, entrant{k.name, func(ctx context.Context, s size) (session, error) {
			l, err := k.open(ctx, c.resources)
			if err != nil {
				return session{}, err
			}
			return session{measure: meterCancellable(s, c.loop(l)), close: l.close}, nil
		}})
	}
	return r
}

// meterCancellable meters l with a context that can be cancelled.
func meterCancellable(s size, l loop) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return meter(ctx, s.micro, l)
	}
}
