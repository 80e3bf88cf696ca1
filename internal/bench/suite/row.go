package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	Err      string              `json:"error,omitempty"`  // why there are no more
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
		res := result{Row: r.name, Main: r.entrants[0].name, Entrants: r.names(), Samples: map[string][]sample{}, Curves: map[string][]point{}}
		start := time.Now()
		if err := runRow(ctx, r, s, o, res, progress); err != nil {
			res.Err = err.Error()
			progress("error: %v", err)
		}
		progress("done in %.1fs", time.Since(start).Seconds())
		out = append(out, res)
	}
	return out
}

// runRow opens the entrants, measures them in turns and closes them. What it
// found before an error stays in into.
func runRow(ctx context.Context, r row, s size, o options, into result, progress func(string, ...any)) (err error) {
	sessions := make([]session, len(r.entrants))
	defer func() {
		for i, ses := range sessions {
			if ses.close == nil {
				continue
			}
			if cerr := ses.close(); cerr != nil {
				err = errors.Join(err, fmt.Errorf("%s: close: %w", r.entrants[i].name, cerr))
			}
		}
	}()
	for i, e := range r.entrants {
		if !o.entrants.MatchString(e.name) {
			continue
		}
		if sessions[i], err = e.open(ctx, s); err != nil {
			return fmt.Errorf("%s: open: %w", e.name, err)
		}
	}
	for round := range o.rounds {
		for i, e := range r.entrants {
			if sessions[i].measure == nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			got, err := sessions[i].measure(ctx)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", e.name, round+1, err)
			}
			into.Samples[e.name] = append(into.Samples[e.name], got)
			if sessions[i].curve != nil {
				into.Curves[e.name] = sessions[i].curve()
			}
			progress("round %d/%d %s: %v", round+1, o.rounds, e.name, got)
		}
	}
	return nil
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
