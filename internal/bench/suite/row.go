package suite

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A row is one kind of work, done by every entrant in turns.
type row struct {
	name     string // in -only
	entrants []entrant
}

// An entrant is one pool under test, in one of its sizes. The first of a row
// is the one that the goals are about.
type entrant struct {
	name string
	open func(ctx context.Context, s size) (session, error)
}

// A session is an entrant that has been set up. It is measured once a round.
type session struct {
	measure func(ctx context.Context) (sample, error)
	close   func() error   // nil: nothing to end
	curve   func() []point // what happened in the last measurement, over time; nil: not told
}

// names are those of the entrants.
func (r row) names() (out []string) {
	for _, e := range r.entrants {
		out = append(out, e.name)
	}
	return out
}

// A point is how many of something there were by then.
type point struct {
	AtMs  float64 `json:"at_ms"`
	Count int     `json:"count"`
}

// A sample is what one measurement found, by metric.
type sample map[string]float64

// A result is all that one row found: by entrant, one sample a round.
type result struct {
	Row      string              `json:"row"`
	Main     string              `json:"main"`     // the first entrant
	Entrants []string            `json:"entrants"` // all, in their order
	Samples  map[string][]sample `json:"samples"`
	Curves   map[string][]point  `json:"curves,omitempty"` // by entrant, of its last round
	Errs     map[string]string   `json:"errors,omitempty"` // by entrant: why it has no more
}

// runRows measures the rows that o asks for and tells w how far it is.
func runRows(ctx context.Context, all []row, s size, o options, w io.Writer) []result {
	var chosen []row
	for _, r := range all {
		if o.only.MatchString(r.name) {
			chosen = append(chosen, r)
		}
	}
	var out []result
	for i, r := range chosen {
		progress := func(format string, args ...any) {
			fmt.Fprintf(w, "[%d/%d] %s: %s\n", i+1, len(chosen), r.name, fmt.Sprintf(format, args...))
		}
		start := time.Now()
		out = append(out, runRow(ctx, r, s, o, progress))
		progress("done in %.1fs", time.Since(start).Seconds())
	}
	return out
}

// measureTime bounds one measurement: one that hangs is an error of its entrant.
const measureTime = 3 * time.Minute

// runRow opens the entrants, measures them in turns and closes them. Who comes
// first changes from round to round. An entrant whose measurement fails has no more
// of them; the others go on.
func runRow(ctx context.Context, r row, s size, o options, progress func(string, ...any)) result {
	res := result{Row: r.name, Main: r.entrants[0].name, Entrants: r.names(), Samples: map[string][]sample{}, Curves: map[string][]point{}}
	sessions := make([]session, len(r.entrants))
	failed := func(e entrant, what string, err error) {
		progress("%s: %s: %v", e.name, what, err)
		if res.Errs == nil {
			res.Errs = map[string]string{}
		}
		if res.Errs[e.name] == "" { // what comes after it may follow from it
			res.Errs[e.name] = fmt.Sprintf("%s: %v", what, err)
		}
	}
	for i, e := range r.entrants {
		if !o.entrants.MatchString(e.name) {
			continue
		}
		var err error
		if sessions[i], err = e.open(ctx, s); err != nil {
			failed(e, "open", err)
		}
	}
	for round := range o.rounds {
		for turn := range r.entrants {
			i := (turn + round) % len(r.entrants)
			e, x := r.entrants[i], sessions[i]
			if x.measure == nil || res.Errs[e.name] != "" {
				continue
			}
			got, err := x.once(ctx)
			if err != nil {
				failed(e, fmt.Sprintf("round %d", round+1), err)
				continue
			}
			res.Samples[e.name] = append(res.Samples[e.name], got)
			if x.curve != nil {
				res.Curves[e.name] = x.curve()
			}
			progress("round %d/%d %s: %v", round+1, o.rounds, e.name, got)
		}
	}
	for i, x := range sessions {
		if x.close == nil {
			continue
		}
		if err := x.close(); err != nil {
			failed(r.entrants[i], "close", err)
		}
	}
	return res
}

// once measures, without the garbage of who came before.
func (x session) once(ctx context.Context) (sample, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	runtime.GC()
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	return x.measure(ctx)
}

// String lists the metrics in the order of their names.
func (s sample) String() string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(s)) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s", k, number(s[k]))
	}
	return b.String()
}
