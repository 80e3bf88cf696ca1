package metrics

import (
	"sync"
	"time"

	"github.com/respool/respool/metrics/internal/text"
)

const (
	maxEvents = 200
	burst     = time.Second // an event this soon after one of its kind and label is counted with it
	lookBack  = 8           // number of events that are searched for one of the same kind and label
)

// ring holds the last events.
type ring struct {
	mu     sync.Mutex
	events [maxEvents]Event
	labels [maxEvents]string
	n      int64 // events since the start
}

// add adds an event, or counts it with an event of the same kind and label of the
// last second: a burst of one kind must not displace all others. say returns the
// text. It is called only if it is needed, without the lock.
func (r *ring) add(kind, label string, say func() string) {
	now := time.Now()
	r.mu.Lock()
	for i := r.n - 1; i >= max(0, r.n-lookBack); i-- {
		e := &r.events[i%maxEvents]
		if e.Kind == kind && r.labels[i%maxEvents] == label && now.Sub(e.Time) < burst {
			e.More++
			r.mu.Unlock()
			return
		}
	}
	r.mu.Unlock()
	t := text.Clean(say(), text.MaxError)
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.n % maxEvents
	r.events[i], r.labels[i] = Event{Time: now, Kind: kind, Text: t}, label
	r.n++
}

// list returns the events, the newest first.
func (r *ring) list() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Event, 0, min(r.n, maxEvents))
	for i := r.n - 1; i >= max(0, r.n-maxEvents); i-- {
		list = append(list, r.events[i%maxEvents])
	}
	return list
}
