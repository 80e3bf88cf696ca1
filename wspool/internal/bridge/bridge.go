// Package bridge gives package cluster what it needs of package wspool and what is no part of the
// API of wspool. Package wspool sets the functions when it is initialized.
//
// The cluster has a [wspool.Manager] whose keys are strings, and an [Observer] for each key. The
// functions find the connections of a key by its Observer, which is compared.
package bridge

import (
	"context"

	"github.com/respool/respool/resource"
)

// Observer is notified about the connections of one pool. Its methods are called on the goroutines
// of callers and of the pool, with no lock held, must return soon and must not panic.
type Observer interface {
	// LeaseEnded is called once for each lease of a Manager.AcquireWith or AcquireAny, when it
	// has ended, also if the pool ended it.
	LeaseEnded(LeaseEnd)
	// ConnEnded is called once for each connection that ended and that the pool did not end.
	ConnEnded(served, asked bool, err error)
}

// LeaseEnd says how a lease ended.
type LeaseEnd struct {
	Wrote bool // it had written a message
	Read  bool // it had read one
	// GaveUp says that it awaited a message when it ended, and the connection had not ended.
	GaveUp bool
	// Dead says that the connection had ended.
	Dead bool
}

// The functions that package wspool provides. cfg is a *wspool.Config, m a *wspool.Manager[string].
var (
	// Observe sets the Observer of the pools that are made with cfg.
	Observe func(cfg any, o Observer)

	// MakeOne dials one connection of key and waits for it, as [resource.Pool.MakeOne] does.
	MakeOne func(m any, ctx context.Context, key string) error

	// Retire has up to n connections of o closed with that cause: idle ones at once, and leased
	// ones, whose holders are asked to end their leases, when their lease ends. It prefers idle
	// ones, and those that have served a lease. It returns how many of each it has chosen.
	Retire func(m any, o Observer, n int, cause error) (idle, leased int)

	// Doubt makes idle connections of o prove that their peer lives before they are lent, and
	// pings all.
	Doubt func(m any, o Observer)

	// CutOff ends all connections of o at once, and their leases, with that cause.
	CutOff func(m any, o Observer, cause error)

	// Exchange is [wspool.Manager.ExchangeWith] for several keys, as Manager.AcquireAny is
	// [wspool.Manager.AcquireWith]: unsent says that the request was certainly not sent because
	// the connection had ended. lent is called with the key whenever a connection is acquired.
	Exchange func(m any, ctx context.Context, keys []string, r resource.Request, kind int, data []byte, lent func(key string)) (replyKind int, reply []byte, unsent bool, err error)
)
