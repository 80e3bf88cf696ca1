// Package bridge gives package cluster what it needs of package wspool and what is no part of the
// API of wspool. Package wspool sets the functions when it is initialized.
//
// A cluster has a *wspool.Manager[string], which is the m of these functions, and an [Observer] for
// each key. The functions find the connections of a key by its Observer, which they compare.
package bridge

import (
	"context"

	"github.com/respool/respool/resource"
)

// Observer is notified about the connections of one pool.
type Observer interface {
	// Key returns the key of the pool.
	Key() string
	// ConnEnded is called once for each connection that ended and that the pool did not end, with
	// the cause. answered says that its lease, which has not ended, had read a message. It is
	// called with no lock held, on the goroutine that found the end; it must return soon and
	// must not panic.
	ConnEnded(err error, answered bool)
}

// Use is one use of a connection. Its methods are called with no lock held and must not panic.
type Use interface {
	// Lent is called when a connection of key is about to be lent. If that turns out to be unfit
	// Lent is called again for another one, or the acquire fails.
	Lent(key string)
	// Ended is called once for each lease that AcquireAny returned, when it has ended, also if
	// the pool ended it. It may be called before AcquireAny has returned.
	Ended(LeaseEnd)
}

// LeaseEnd says how a lease ended.
type LeaseEnd struct {
	Answered bool // it had read a message after the last one that it wrote, and the connection was alive
	GaveUp   bool // a read was given up before its message began, and the connection was alive
	Hijacked bool // the pool does not have the connection any more
}

// Claim is the request of one caller for a connection of any of some keys. AcquireAny and Exchange
// use it until they return.
type Claim struct {
	Manager any
	Keys    []string // in order of preference
	Use     Use
}

// The functions that package wspool provides.
var (
	// Observe sets the Observer of the pools that are made with cfg, a *wspool.Config. Inspect
	// shows of their settings what cfg has now, whatever hooks are put into it later.
	Observe func(cfg any, o Observer)

	// AcquireAny is wspool.Manager.AcquireAny. It returns a *wspool.Conn.
	AcquireAny func(ctx context.Context, c *Claim, r resource.Request) (conn any, err error)

	// Exchange is wspool.Manager.ExchangeWith for several keys, without repetition. Ended is not
	// called for its lease, which has ended when Exchange returns. unsent says that the
	// connection ended before anything was sent.
	Exchange func(ctx context.Context, c *Claim, r resource.Request, kind int, data []byte) (replyKind int, reply []byte, unsent bool, err error)

	// KeyOf returns the address of the endpoint of conn, a *wspool.Conn whose lease has begun with
	// AcquireAny.
	KeyOf func(conn any) string

	// Unsent reports whether err is why the connection of conn, a *wspool.Conn, ended, and the
	// lease, which has not ended, has written nothing.
	Unsent func(conn any, err error) bool

	// Open makes the pool of key, if there is none.
	Open func(m any, key string) error

	// MakeOne dials one connection of key and waits for it: see [resource.Pool.MakeOne].
	MakeOne func(ctx context.Context, m any, key string) error

	// RetryNow is [resource.Pool.RetryNow] for key, if that is in use.
	RetryNow func(m any, key string)

	// TurnAway has callers that wait for connections of key, and those that come to wait, fail
	// with that cause as if its MakeGate had refused a dial, until it is called with nil.
	TurnAway func(m any, key string, cause error)

	// Reset is [wspool.Manager.ResetKey], but connections dialled later may resume TLS sessions.
	Reset func(m any, key string, cause error)

	// StatsOf returns the statistics of key; false: it is not in use.
	StatsOf func(m any, key string) (resource.Stats, bool)

	// Count returns how many connections each Observer has, those that are retired or ending left
	// out.
	Count func(m any) map[Observer]int

	// Retire has up to n connections of o closed with that cause: idle ones at once, and leased
	// ones, whose holders are notified ([wspool.Conn.OnRecall]), when their lease ends. It
	// prefers idle ones, then those whose holders can be notified. It returns how many of each it
	// has chosen.
	Retire func(m any, o Observer, n int, cause error) (idle, leased int)

	// Retirable returns how many connections of o Retire can choose.
	Retirable func(m any, o Observer) int

	// Doubt makes the idle connections of o prove that their peer lives before they are lent, and
	// pings all.
	Doubt func(m any, o Observer)

	// CutOff ends all connections of o at once, and their leases, with that cause.
	CutOff func(m any, o Observer, cause error)
)
