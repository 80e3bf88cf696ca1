package wspool

import (
	"context"
	"runtime"
	"sync"

	"github.com/respool/respool/resource"
)

// reclaimable has the lease of c ended if c is lost.
func (c *Conn) reclaimable() {
	if c.link.hub.cfg.Reclaim {
		c.lost = runtime.AddCleanup(c, (*tenant).dropped, c.tenant)
	}
}

// dropped ends a lease whose Conn is gone. To end it may take a while, and calls
// what is not ours; the collector must not wait for that.
func (c *tenant) dropped() {
	count := c.link.hub.count
	count.reclaims.begin()
	go func() {
		defer count.reclaims.end()
		c.end(ErrDropped, true, func(l resource.Lease[*link]) {
			count.dropped.Add(1)
			l.Discard(ErrDropped)
		})
	}()
}

// reclaims counts goroutines that end a lease nobody has. They may be at it, in
// an Admission or Trace, when the connection is gone already.
type reclaims struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0; nil: nobody waits for that
}

func (r *reclaims) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
}

func (r *reclaims) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 && r.none != nil {
		close(r.none)
		r.none = nil
	}
}

// await waits until there are none. If ctx ends before it returns a
// *resource.CloseError.
func (r *reclaims) await(ctx context.Context, load func() resource.Load) error {
	r.mu.Lock()
	n := r.n
	if n > 0 && r.none == nil {
		r.none = make(chan struct{})
	}
	none := r.none
	r.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return &resource.CloseError{Err: ctx.Err(), Load: load(), Busy: n}
	}
}
