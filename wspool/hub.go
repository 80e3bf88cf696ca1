package wspool

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// hub is what all connections of a pool share.
type hub struct {
	cfg     Config
	gate    *dialGate
	tls     tlsSessions
	keeper  keeper
	clock   wsconn.Clock
	suspect atomic.Int64    // what has not been heard since then must prove that it is alive
	count   *counts         // of all that share it
	closing chan struct{}   // holds a token for each closing handshake that runs
	ctx     context.Context // ends when the pool is closed

	addresses addressBook
	usual     handshakes
	scouting  atomic.Bool // a dial sends scouts: see race
	lookup    func(ctx context.Context, host string) ([]netip.Addr, error)
}

func newHub(ctx context.Context, cfg Config, count *counts) *hub {
	h := &hub{ctx: ctx, count: count, cfg: cfg.withDefaults(), clock: wsconn.NewClock(), closing: make(chan struct{}, maxClosing), lookup: lookup}
	h.gate = newDialGate(&h.cfg)
	h.gate.contained = h.contained
	h.tls.start(h.cfg.TLS, &count.resets, h.contained)
	h.keeper.start(h)
	return h
}

// config is what the pool of h's connections is like.
func (h *hub) config() resource.Config[*link] {
	c := &h.cfg
	return resource.Config[*link]{
		Make:           h.dial,
		Destroy:        (*link).destroy,
		Watch:          (*link).watched,
		OnRelease:      h.onRelease(),
		Broken:         c.Broken,
		MaxSize:        c.MaxSize,
		MinIdle:        c.MinIdle,
		MakeTimeout:    c.DialTimeout,
		ReleaseTimeout: c.Quiet + QuietPatience + 2*quietWait, // it bounds itself
		SweepInterval:  c.SweepInterval,
		Order:          c.Order,
		Queue:          c.Queue,
		Outage:         c.Outage,
		Admission:      c.Admission,
		MakeGate:       h.gate,
		Quota:          c.Quota,
		Health:         checker(c.Health),
		Eviction:       c.Eviction,
		Trace:          c.Trace,
		SampleLeases:   c.sampleLeases(),
		Describe:       (*link).describe,
	}
}

// stale is told of a connection that turned out dead when it was used again.
// Others that have been idle for as long may be as dead: none is lent before
// something has come in from it.
func (h *hub) stale() {
	h.count.stale.Add(1)
	h.suspectBefore(h.clock.Now())
	h.keeper.hurry()
}

// suspectBefore has every connection from which nothing has come since t prove
// that it is alive before it is lent.
func (h *hub) suspectBefore(t int64) {
	for {
		old := h.suspect.Load()
		if t <= old || h.suspect.CompareAndSwap(old, t) {
			return
		}
	}
}

// longestSilence is how long nothing may come in from a peer that is alive: after
// KeepAlive it is sent a ping, and answers within PongWait. It is 0 where none are
// sent.
func (h *hub) longestSilence() int64 {
	if h.cfg.KeepAlive <= 0 {
		return 0
	}
	return int64(h.cfg.KeepAlive) + int64(h.cfg.PongWait)
}
