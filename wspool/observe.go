package wspool

import (
	"context"
	"fmt"

	"github.com/respool/respool/internal/poolbridge"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
)

// What package cluster uses: see package bridge.
func init() {
	of := func(m any) *Manager[string] { return m.(*Manager[string]) }
	bridge.Observe = func(cfg any, o bridge.Observer) {
		c := cfg.(*Config)
		given := *c
		given.Trace = copyOf(c.Trace)
		c.given, c.observer = &given, o
	}
	bridge.AcquireAny = func(ctx context.Context, c *bridge.Claim, r resource.Request) (any, error) {
		conn, err := borrowFor(ctx, (*claim)(c), r, c)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	bridge.Exchange = func(ctx context.Context, c *bridge.Claim, r resource.Request, kind int, data []byte) (int, []byte, bool, error) {
		if !isData(kind) {
			return 0, nil, false, fmt.Errorf("wspool: write: %w", badType(kind))
		}
		reply, unsent, err := exchangeOnce(ctx, (*claim)(c), r, Message{kind, data})
		return reply.Type, reply.Data, unsent, err
	}
	bridge.KeyOf = func(conn any) string { return conn.(*Conn).link.hub.cfg.observer.Key() }
	bridge.Unsent = func(conn any, err error) bool { return conn.(*Conn).unsent(err) }
	bridge.Open = func(m any, key string) error {
		_, err := of(m).keyed.Pool(key)
		return err
	}
	bridge.MakeOne = func(ctx context.Context, m any, key string) error {
		p, err := of(m).keyed.Pool(key)
		if err != nil {
			return err
		}
		return p.MakeOne(ctx)
	}
	bridge.RetryNow = func(m any, key string) {
		if p, ok := of(m).keyed.Find(key); ok {
			p.RetryNow()
		}
	}
	bridge.TurnAway = func(m any, key string, cause error) {
		if p, ok := of(m).keyed.Find(key); ok {
			poolbridge.TurnAway(p, cause)
		}
	}
	bridge.Reset = func(m any, key string, cause error) {
		if p, ok := of(m).keyed.Find(key); ok {
			p.Reset(cause)
		}
	}
	bridge.StatsOf = func(m any, key string) (resource.Stats, bool) {
		p, ok := of(m).keyed.Find(key)
		if !ok {
			return resource.Stats{}, false
		}
		return p.Stats(), true
	}
	bridge.Count = func(m any) map[bridge.Observer]int {
		n := make(map[bridge.Observer]int)
		for _, l := range of(m).count.roster.list(false) {
			if (retiring{l}).willing() < isRetired {
				n[l.hub.cfg.observer]++
			}
		}
		return n
	}
	bridge.Retire = func(m any, o bridge.Observer, n int, cause error) (idle, leased int) {
		return retire(of(m).count.of(o), n, cause)
	}
	bridge.Retirable = func(m any, o bridge.Observer) (n int) {
		for _, l := range of(m).count.of(o) {
			if (retiring{l}).willing() < isNew {
				n++
			}
		}
		return n
	}
	bridge.Doubt = func(m any, o bridge.Observer) {
		if all := of(m).count.of(o); len(all) > 0 {
			all[0].hub.doubt()
		}
	}
	bridge.CutOff = func(m any, o bridge.Observer, cause error) {
		for _, l := range of(m).count.of(o) {
			l.cutOff()
			l.endNow(cause)
		}
	}
}

// claim is a bridge.Claim as a lender.
type claim bridge.Claim

func (c *claim) AcquireWith(ctx context.Context, r resource.Request) (resource.Lease[*link], error) {
	key, l, err := c.Manager.(*Manager[string]).keyed.AcquireAny(ctx, c.Keys, r)
	if err == nil {
		c.Use.Lent(key)
	}
	return l, err
}

// of returns the connections of the pool with that observer.
func (r *registry) of(o bridge.Observer) (all []*link) {
	for _, l := range r.roster.list(false) {
		if l.hub.cfg.observer == o {
			all = append(all, l)
		}
	}
	return all
}

// seenLocked returns how the lease ends, before it is detached.
func (c *lease) seenLocked() bridge.LeaseEnd {
	alive := c.link.end.cause == nil
	return bridge.LeaseEnd{Answered: alive && c.state.in > 0 && !c.state.awaits, GaveUp: alive && c.link.dirt.gaveUp}
}

// doubt makes every idle connection prove that its peer lives before it is lent, because a lease
// has awaited a message in vain.
func (h *hub) doubt() {
	if h.cfg.KeepAlive > 0 {
		h.suspectBefore(h.clock.Now())
		h.monitor.hurry()
	}
}

// willing says how little it costs to retire a connection.
type willing uint8

const (
	isIdle    willing = iota // no lease is interrupted
	listens                  // its holder has called OnRecall, and can move
	isLeased                 // its holder cannot be notified
	isNew                    // its end would count as that of a failed dial
	isRetired                // it was chosen before, or has ended
)

// retiring takes connections out of use one by one: see bridge.Retire.
type retiring struct{ l *link }

// willing returns what the connection is.
func (r retiring) willing() willing {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.retired || l.end.closing || l.end.cause != nil || l.end.invalidate == nil:
		return isRetired
	case l.lease != nil && l.holder.onRecall != nil:
		return listens
	case l.lease != nil:
		return isLeased
	case !l.ticket.proved && l.hub.clock.Now()-l.dialed <= int64(provenAfter):
		return isNew
	}
	return isIdle
}

// retire has up to n of all closed with that cause: see bridge.Retire. A connection that is leased
// between the choice and its end is closed when that lease ends.
func retire(all []*link, n int, cause error) (idle, leased int) {
	for want := isIdle; want < isNew; want++ {
		for _, l := range all {
			if idle+leased == n {
				return idle, leased
			}
			if r := (retiring{l}); r.willing() != want || !r.retire(cause) {
				continue
			}
			if want == listens || want == isLeased {
				leased++
			} else {
				idle++
			}
		}
	}
	return idle, leased
}

// retire keeps the connection from being lent again. It is closed when no lease has it, and a
// holder is asked for it. It returns false if it was called before.
func (r retiring) retire(cause error) bool {
	l := r.l
	l.mu.Lock()
	if l.retired {
		l.mu.Unlock()
		return false
	}
	l.retired = true
	invalidate := l.end.invalidate
	l.mu.Unlock()
	invalidate(cause)
	recallHolder(l, cause)
	return true
}
