package metrics

import (
	"io"
	"time"

	"github.com/respool/respool/metrics/internal/profile"
)

// WriteLeases writes the leases that are held as a profile for go tool pprof, by the stacks of
// their acquires: the sample type "leases" is their number, "held" the sum of their durations, and
// the tag pool is the name of the meter. It writes the leases that [Snapshot.Held] lists, of the
// meters given or, without any, of [All]. It returns the error of w. The pools are not blocked
// meanwhile. If w fails, a part may have been written.
func WriteLeases(w io.Writer, meters ...*Meter) error {
	if len(meters) == 0 {
		meters = All()
	}
	now := time.Now()
	p := profile.New(now, profile.Type{Name: "leases", Unit: "count"}, profile.Type{Name: "held", Unit: "nanoseconds"})
	for _, m := range meters {
		for _, h := range m.leases.list(-1) {
			stack := []profile.Frame{{Func: "beginning not sampled"}}
			if len(h.Stack) > 0 {
				stack = list(h.Stack, func(f Frame) profile.Frame { return profile.Frame(f) })
			}
			p.Add(stack, "pool", m.name, 1, int64(h.For))
		}
	}
	_, err := p.WriteTo(w)
	return err
}
