package wspool

import (
	"context"
	"fmt"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
)

// What package cluster uses: see package bridge.
func init() {
	bridge.Observe = func(cfg any, o bridge.Observer) { cfg.(*Config).observer = o }
	bridge.MakeOne = func(m any, ctx context.Context, key string) error {
		p, err := m.(*Manager[string]).keyed.Pool(key)
		if err != nil {
			return err
		}
		return p.MakeOne(ctx)
	}
	bridge.Retire = func(m any, o bridge.Observer, n int, cause error) (idle, leased int) {
		return retire(m.(*Manager[string]).count.of(o), n, cause)
	}
	bridge.Doubt = func(m any, o bridge.Observer) {
		if all := m.(*Manager[string]).count.of(o); len(all) > 0 {
			all[0].hub.doubt()
		}
	}
	bridge.CutOff = func(m any, o bridge.Observer, cause error) {
		for _, l := range m.(*Manager[string]).count.of(o) {
			l.cutOff()
			l.endNow(cause)
		}
	}
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

// observedLocked returns what an observer is told about the end of the lease, before the lease is
// detached.
func (c *lease) observedLocked() bridge.LeaseEnd {
	l := c.link
	return bridge.LeaseEnd{
		Wrote:  c.state.out > 0,
		Read:   c.state.in > 0,
		GaveUp: c.state.awaits && l.end.cause == nil,
		Dead:   l.end.cause != nil,
	}
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

// willing returns what l is.
func (l *link) willing() willing {
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
			if l.willing() != want || !l.retire(cause) {
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
func (l *link) retire(cause error) bool {
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

// anyExchange is bridge.Exchange.
func anyExchange(ctx context.Context, from lender, r resource.Request, request Message) (reply Message, unsent bool, err error) {
	if !isData(request.Type) {
		return reply, false, fmt.Errorf("wspool: write: %w", badType(request.Type))
	}
	return exchangeOnce(ctx, from, r, request)
}
