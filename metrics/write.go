package metrics

import (
	"io"
	"time"

	"github.com/respool/respool/metrics/internal/profile"
)

// WriteLeases writes who holds what as a profile for go tool pprof, under the
// stacks of those who acquired: "leases" is how many, "held" for how long
// together, and the tag pool says of which meter. It has all leases that are
// noted, as [Snapshot.Held] has; meters are those given, or those of [All]. It
// fails as w does.
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
