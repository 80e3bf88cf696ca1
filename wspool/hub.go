package wspool

import (
	"context"
	"sync/atomic"
	"time"
)

// hub is what all connections of a pool share.
type hub struct {
	cfg     Config
	keeper  keeper
	suspect atomic.Int64 // what has not been heard since then must prove that it is alive
	count   counts
	clock   clock
	ctx     context.Context // ends when the pool is closed
	cancel  context.CancelFunc
}

// counts are events that resource does not know of.
type counts struct {
	unsolicited, tainted, stale atomic.Int64
}

func newHub(cfg Config) *hub {
	h := &hub{cfg: cfg.withDefaults(), clock: clock{time.Now()}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.keeper.start(h)
	return h
}

// stale is told of a connection that turned out dead when it was used again.
// Others that have been idle for as long may be as dead: none is lent before
// something has come in from it.
func (h *hub) stale(*link) {
	h.count.stale.Add(1)
	h.suspect.Store(h.clock.now())
	h.keeper.hurry()
}

// ended is told why a connection ended that nobody ended here.
func (h *hub) ended(cause error, l *link) {}

// proved is told that a new connection has served a lease.
func (h *hub) proved() {}

// clock is for comparing only. It counts nanoseconds, from 1.
type clock struct{ base time.Time }

func (c clock) now() int64 { return int64(time.Since(c.base)) + 1 }
