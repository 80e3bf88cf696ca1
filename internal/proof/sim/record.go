package sim

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// Recorder records when the callers of a pool arrive and how long they hold their leases, to be
// played again: see [WriteArrivals]. Give its Trace to the Config of the pool, with
// SampleLeases: 1. Callers that got no lease are not recorded. Its methods are safe for
// concurrent use. Create it with [NewRecorder].
type Recorder struct {
	began time.Time

	mu   sync.Mutex
	held map[lease]time.Duration // when the callers of leases that have not ended arrived
	all  []Arrival
}

type lease struct{ id, ordinal uint64 }

// NewRecorder returns a Recorder whose beginning is now.
func NewRecorder() *Recorder {
	return &Recorder{began: time.Now(), held: make(map[lease]time.Duration)}
}

// Trace returns the Trace that records.
func (r *Recorder) Trace() *resource.Trace {
	return &resource.Trace{
		Leased: func(_ context.Context, e resource.LeaseEvent) {
			at := time.Since(r.began) - e.Waited
			r.mu.Lock()
			defer r.mu.Unlock()
			r.held[lease{e.ID, e.Lease}] = at
		},
		Ended: func(e resource.EndEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			key := lease{e.ID, e.Lease}
			if at, ok := r.held[key]; ok {
				delete(r.held, key)
				r.all = append(r.all, Arrival{at, max(1, e.Held)})
			}
		},
	}
}

// Arrivals returns the callers whose leases have ended, in order of arrival.
func (r *Recorder) Arrivals() []Arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedStableFunc(slices.Values(r.all), byArrival)
}
