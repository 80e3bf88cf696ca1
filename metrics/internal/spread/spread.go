// Package spread makes endpoints fit to be labels of metrics.
package spread

import (
	"math"

	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Most is how many endpoints have labels of their own; the others are counted together under
// Other, since each label is a set of time series.
const (
	Most  = 64
	Other = "other"
)

// Labeled returns the endpoints of e with unique labels as Addr, without what looks like a secret,
// and at most Most of them and Other.
func Labeled(e *resource.Endpoints) []resource.EndpointInfo {
	if e == nil {
		return nil
	}
	var names label.Names
	out := make([]resource.EndpointInfo, 0, min(len(e.All), Most+1))
	for i, one := range e.All {
		one.Share = Finite(one.Share)
		if i < Most {
			one.Addr = names.Unique(text.Discreet(one.Addr))
			out = append(out, one)
			continue
		}
		if i == Most {
			out = append(out, resource.EndpointInfo{Addr: names.Unique(Other)})
		}
		add(&out[Most], &one)
	}
	return out
}

// add adds the figures of one to sum.
func add(sum, one *resource.EndpointInfo) {
	sum.Share += one.Share
	sum.Load += one.Load
	sum.Latency = max(sum.Latency, one.Latency)
	sum.Idle += one.Idle
	sum.Leased += one.Leased
	sum.Shared += one.Shared
	sum.Making += one.Making
	sum.Begun += one.Begun
	sum.Good += one.Good
	sum.Bad += one.Bad
	sum.Refused += one.Refused
	sum.Ejections += one.Ejections
	sum.Probes += one.Probes
	sum.Moved += one.Moved
}

// Finite returns f, or 0 if it is infinite or not a number, which JSON cannot have.
func Finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
