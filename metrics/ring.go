package metrics

import (
	"sync"
	"time"

	"github.com/respool/respool/metrics/internal/text"
)

const (
	maxEvents = 200
	burst     = time.Second // what comes so soon after one of its like is counted with it
	lookBack  = 8           // so many are looked at for one of its like
)

// ring has the last events.
type ring struct {
	mu     sync.Mutex
	events [maxEvents]Event
	labels [maxEvents]string
	n      int64 // ever
}

// add adds an event, unless one of the same kind and label has just been: in a
// storm they would push out all others. say is called, with no lock held, only
// if it is needed.
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

// list returns them, the newest first.
func (r *ring) list() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Event, 0, min(r.n, maxEvents))
	for i := r.n - 1; i >= max(0, r.n-maxEvents); i-- {
		list = append(list, r.events[i%maxEvents])
	}
	return list
}
