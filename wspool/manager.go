package wspool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/attached"
	"github.com/respool/respool/internal/settings"
	"github.com/respool/respool/resource"
)

// ManagerConfig configures the pools of a [Manager]. [NewManager] copies it.
type ManagerConfig[K comparable] struct {
	// Config returns the Config of the pool for key. A key is usually an endpoint; where
	// OnConnect or Prepare signs connections in it must contain the identity too, because a
	// connection that was signed in for one identity must not be lent to another. MaxSize is
	// the limit of this key. Required. It is called when a key is first used, and again after
	// the key was forgotten, and must not block: see [resource.KeyedConfig.Config].
	Config func(key K) (Config, error)
	// MaxTotal is how many connections of all keys may exist at once.
	// Required, at least 1.
	MaxTotal int
	// ForgetAfter is how long a key must be unused and without connections to be forgotten.
	// Zero: resource.DefaultForgetAfter.
	ForgetAfter time.Duration
}

// Manager lends WebSocket connections by key: one pool for each endpoint, or each endpoint
// and identity, under one total. It follows the rules of [resource.Keyed] for pre-emption
// and fairness. Make one with [NewManager]. Any number of goroutines may call its methods at
// once.
type Manager[K comparable] struct {
	keyed  *resource.Keyed[K, *link]
	ctx    context.Context // ends when the Manager is closed
	end    context.CancelFunc
	config string // the name of ManagerConfig.Config
	count  registry

	attached attached.List[K]
}

// NewManager returns a manager for cfg, which it copies, without any pool. The error names
// every bad field. Call [Manager.Close] when done.
func NewManager[K comparable](cfg ManagerConfig[K]) (*Manager[K], error) {
	if cfg.Config == nil {
		return nil, errors.New("wspool: bad ManagerConfig: Config is nil")
	}
	m := &Manager[K]{config: settings.Function(cfg.Config)}
	m.ctx, m.end = context.WithCancel(context.Background())
	var err error
	m.keyed, err = resource.NewKeyed(resource.KeyedConfig[K, *link]{
		Config: func(key K) (resource.Config[*link], error) {
			c, err := cfg.Config(key)
			if err == nil {
				err = c.check()
			}
			if err != nil {
				return resource.Config[*link]{}, err
			}
			return newHub(m.ctx, c, &m.count).config(), nil
		},
		MaxTotal:    cfg.MaxTotal,
		ForgetAfter: cfg.ForgetAfter,
	})
	if err != nil {
		m.end()
		return nil, fmt.Errorf("wspool: bad ManagerConfig: %w", err)
	}
	return m, nil
}

// Acquire lends a connection of key, as [Pool.Acquire] does. It also fails with the error of
// ManagerConfig.Config for that key, and with [resource.ErrBadKey] for a key that cannot be
// looked up.
func (m *Manager[K]) Acquire(ctx context.Context, key K) (*Conn, error) {
	return borrow(ctx, of[K]{m.keyed, key}, resource.Request{})
}

// AcquireWith is [Pool.AcquireWith] for key.
func (m *Manager[K]) AcquireWith(ctx context.Context, key K, r resource.Request) (*Conn, error) {
	return borrow(ctx, of[K]{m.keyed, key}, r)
}

// AcquireAny lends a connection of any of the keys, which are in order of preference, as
// [resource.Keyed.AcquireAny] does, and returns its key: an idle one of the first key that
// has one, or else the first that any of them gives back or dials. It dials for the caller
// at the first key, and at the next one when that fails or takes longer than a quarter of
// a second. If the connection turns out to be unfit to be lent, it continues with all of
// the keys. It blocks and fails as [resource.Keyed.AcquireAny] does.
func (m *Manager[K]) AcquireAny(ctx context.Context, keys []K, r resource.Request) (K, *Conn, error) {
	from := anyOf[K]{keyed: m.keyed, keys: keys}
	c, err := borrow(ctx, &from, r)
	if err != nil {
		var none K
		return none, nil, err
	}
	return from.key, c, nil
}

// TryAcquire is [Pool.TryAcquire] for key. A key that is not in use has no idle connection.
func (m *Manager[K]) TryAcquire(key K) (*Conn, bool) { return tryBorrow(of[K]{m.keyed, key}) }

// Do is [Pool.Do] for key.
func (m *Manager[K]) Do(ctx context.Context, key K, f func(context.Context, *Conn) error) error {
	return do(ctx, of[K]{m.keyed, key}, resource.Request{}, f)
}

// DoWith is [Pool.DoWith] for key.
func (m *Manager[K]) DoWith(ctx context.Context, key K, r resource.Request, f func(context.Context, *Conn) error) error {
	return do(ctx, of[K]{m.keyed, key}, r, f)
}

// DoIdempotent is [Pool.DoIdempotent] for key.
func (m *Manager[K]) DoIdempotent(ctx context.Context, key K, f func(context.Context, *Conn) error) error {
	return doIdempotent(ctx, of[K]{m.keyed, key}, f)
}

// Exchange is [Pool.Exchange] for key.
func (m *Manager[K]) Exchange(ctx context.Context, key K, messageType int, data []byte) (replyType int, reply []byte, err error) {
	return m.ExchangeWith(ctx, key, ExchangeOptions{}, messageType, data)
}

// ExchangeWith is [Pool.ExchangeWith] for key.
func (m *Manager[K]) ExchangeWith(ctx context.Context, key K, o ExchangeOptions, messageType int, data []byte) (replyType int, reply []byte, err error) {
	answer, err := exchange(ctx, of[K]{m.keyed, key}, o, Message{messageType, data})
	return answer.Type, answer.Data, err
}

// ExchangeJSON is [Pool.ExchangeJSON] for key.
func (m *Manager[K]) ExchangeJSON(ctx context.Context, key K, request, reply any) error {
	return exchangeJSON(request, reply, func(data []byte) ([]byte, error) {
		_, answer, err := m.Exchange(ctx, key, websocket.TextMessage, data)
		return answer, err
	})
}

// of is the pool of one key.
type of[K comparable] struct {
	keyed *resource.Keyed[K, *link]
	key   K
}

func (o of[K]) AcquireWith(ctx context.Context, r resource.Request) (resource.Lease[*link], error) {
	return o.keyed.AcquireWith(ctx, o.key, r)
}

func (o of[K]) TryAcquire() (resource.Lease[*link], bool) { return o.keyed.TryAcquire(o.key) }

// anyOf is the pools of several keys, for one caller.
type anyOf[K comparable] struct {
	keyed *resource.Keyed[K, *link]
	keys  []K
	key   K // that of the last lease
}

func (o *anyOf[K]) AcquireWith(ctx context.Context, r resource.Request) (resource.Lease[*link], error) {
	key, l, err := o.keyed.AcquireAny(ctx, o.keys, r)
	o.key = key
	return l, err
}

// All iterates over the keys in use and the statistics of their pools, in no particular
// order. It may or may not yield keys that begin or cease to be used meanwhile. After a
// [Manager.Drain] the counters of a key begin at 0 again, and those of [Manager.Stats]
// continue; after [Manager.Close] no key is in use.
func (m *Manager[K]) All() iter.Seq2[K, resource.Stats] {
	return func(yield func(K, resource.Stats) bool) {
		for key, p := range m.keyed.All() {
			if !yield(key, p.Stats()) {
				return
			}
		}
	}
}

// Len returns how many keys are in use.
func (m *Manager[K]) Len() int { return m.keyed.Len() }

// Warm dials until key has n connections, as [Pool.Warm] does, as far as the total has room.
func (m *Manager[K]) Warm(ctx context.Context, key K, n int) error {
	p, err := m.keyed.Pool(key)
	if err != nil {
		return err
	}
	return p.Warm(ctx, n)
}

// Resize changes how many connections of all keys may exist at once, as
// [resource.Keyed.Resize] does; each key keeps the MaxSize of its Config. It fails if max is
// less than 1, or with [resource.ErrClosed].
func (m *Manager[K]) Resize(max int) error { return m.keyed.Resize(max) }

// Reset replaces every connection made before it, as [Pool.Reset] does. It does not wait.
func (m *Manager[K]) Reset(cause error) {
	m.count.resets.Add(1)
	m.keyed.Reset(cause)
}

// ResetNow is Reset without closing handshakes, as [Pool.ResetNow] does. It ends the pauses
// of all keys.
func (m *Manager[K]) ResetNow(cause error) {
	m.count.lifts.Add(1)
	cutOffAll(&m.count.roster)
	m.Reset(cause)
	m.keyed.RetryNow()
}

// ResetKey is Reset for the connections of key alone. It reports whether the key was in
// use. It does not wait.
func (m *Manager[K]) ResetKey(key K, cause error) bool {
	p, ok := m.keyed.Find(key)
	if ok {
		m.count.resets.Add(1)
		p.Reset(cause)
	}
	return ok
}

// Drain closes the pool of key and forgets the key, as [resource.Keyed.Drain] does: the first
// Acquire of the key after Drain has returned nil makes a new pool, with a new Config. Until
// then an Acquire of the key fails with [resource.ErrDraining], which matches
// [resource.ErrClosed] too; once the Manager is closed it fails with ErrClosed alone. So a
// leaked lease keeps the key out of use until the lease ends: see [Manager.Reclaim], and
// [Manager.ResetKey], which keeps the key in use.
func (m *Manager[K]) Drain(ctx context.Context, key K) error { return m.keyed.Drain(ctx, key) }

// Reclaim is [Pool.Reclaim] for a connection of any key: an ID is unique among the
// connections of all keys.
func (m *Manager[K]) Reclaim(id, lease uint64) bool { return m.keyed.Reclaim(id, lease) }

// Stats returns a snapshot. Its cost grows with the number of keys.
func (m *Manager[K]) Stats() ManagerStats {
	s := ManagerStats{KeyedStats: m.keyed.Stats(), Sockets: m.count.sockets()}
	s.Panics += m.count.panics.Load()
	return s
}

// ManagerStats is a snapshot of a [Manager].
type ManagerStats struct {
	resource.KeyedStats // statistics of all its connections as resources
	Sockets
}

// String returns s in one line.
func (s ManagerStats) String() string { return s.KeyedStats.String() + "; " + s.Sockets.String() }

// Close ends all pools, as [Pool.Close] does: it returns nil when nothing of them runs any
// more, or an error when ctx ends before; the closing goes on, and Close may be called again
// to wait for it.
func (m *Manager[K]) Close(ctx context.Context) error {
	m.end()
	if err := m.keyed.Close(ctx); err != nil {
		return err
	}
	return m.count.reclaims.await(ctx, func() resource.Load { return m.keyed.Stats().Load })
}

// CloseNow ends all pools by force, as [Pool.CloseNow] does.
func (m *Manager[K]) CloseNow() {
	m.end()
	_ = m.keyed.Close(noTime)
	endAllNow(&m.count.roster)
}
