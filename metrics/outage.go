package metrics

import (
	"sync"
	"time"
)

// outage counts outages and keeps when the present one began.
type outage struct {
	mu    sync.Mutex
	n     int64
	since time.Time // when the present one began; zero: there is none
}

func (o *outage) begin(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n++
	if o.since.IsZero() {
		o.since = now
	}
}

// end notes that there is no outage, unless one has begun since read returned begun.
func (o *outage) end(begun int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n == begun {
		o.since = time.Time{}
	}
}

func (o *outage) read() (n int64, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n, o.since
}
