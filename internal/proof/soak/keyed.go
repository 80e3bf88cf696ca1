package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// keyed is the section of a resource.Keyed. Two of its keys have the same server.
type keyed struct {
	load    *load
	servers []*target
	secure  *tls.Config // of the first server
	total   int

	pool       *resource.Keyed[string, *session]
	book       *book
	meter      *metrics.Meter
	calls, got atomic.Int64
}

// keys is how many keys there are.
const keys = 6

// each is the MaxSize of a key.
const each = 5

func (k *keyed) label() string      { return "keyed" }
func (k *keyed) targets() []*target { return k.servers }

func (k *keyed) open() (err error) {
	k.book = newBook("keyed", k.load.journal, k.total, nil)
	if k.meter, err = newMeter("keyed", 1); err != nil {
		return err
	}
	k.pool, err = resource.NewKeyed(resource.KeyedConfig[string, *session]{
		MaxTotal: k.total, ForgetAfter: time.Second, Config: k.config,
	})
	if err != nil {
		return err
	}
	return k.meter.Watch(k.pool)
}

// config is the Config of a key. It fails for the key "bad".
func (k *keyed) config(key string) (c resource.Config[*session], err error) {
	n, err := strconv.Atoi(key)
	if err != nil {
		return c, err
	}
	t := k.servers[n%len(k.servers)]
	var secure *tls.Config
	if n%len(k.servers) == 0 {
		secure = k.secure
	}
	target := func() (string, *tls.Config) { return t.addr(), secure }
	c = resource.Config[*session]{
		Make:    func(ctx context.Context) (*session, error) { return k.book.makeFor(ctx, target) },
		Destroy: k.book.destroy, Watch: k.book.watch,
		MaxSize: each, MakeTimeout: 1500 * time.Millisecond, SweepInterval: 200 * time.Millisecond,
		Eviction: policy.AnyOf(policy.MaxAge(5*time.Second, 0.5), policy.MaxIdle(2*time.Second)),
		Trace:    k.meter.Trace(nil),
	}
	if n%2 == 0 {
		c.Admission = policy.BoundedQueue(each, 20)
		c.Health = policy.IfIdle(300*time.Millisecond, policy.CheckTimeout(300*time.Millisecond, policy.Check(k.book.ping)))
	}
	return c, nil
}

func (k *keyed) start(l *load) {
	l.begin("keyed", l.callers, k.op)
	l.keep(40*time.Millisecond, k.operate)
}

func (k *keyed) op(w *worker) {
	ctx, cancel := w.patience()
	defer cancel()
	began := time.Now()
	key := strconv.Itoa(min(w.rand.IntN(keys), w.rand.IntN(keys))) // the first ones more often
	var l resource.Lease[*session]
	var err error
	k.calls.Add(1)
	switch n := w.rand.IntN(10); {
	case n == 0:
		var ok bool
		if l, ok = k.pool.TryAcquire(key); !ok {
			err = resource.ErrNoneIdle
		}
	case n < 5:
		some := make([]string, 0, 3)
		for range 1 + w.rand.IntN(3) {
			some = append(some, strconv.Itoa(w.rand.IntN(keys)))
		}
		if key, l, err = k.pool.AcquireAny(ctx, some, w.request()); err == nil {
			if !slices.Contains(some, key) {
				w.violation("keyed", "AcquireAny of %v returned key %q", some, key)
			}
		}
	default:
		l, err = k.pool.AcquireWith(ctx, key, w.request())
	}
	if err == nil {
		k.got.Add(1)
		err = k.hold(ctx, w, l)
	}
	w.count(began, err)
	if w.chance(500) {
		if _, err := k.pool.Acquire(ctx, "bad"); err == nil {
			w.violation("keyed", "a key without a Config was lent")
		}
	}
}

// hold uses a lease and ends it.
func (k *keyed) hold(ctx context.Context, w *worker, l resource.Lease[*session]) (err error) {
	x := l.Value()
	x.take(w.tenant)
	for range w.rand.IntN(3) {
		if err = x.work(ctx, w.tenant, w.calls.Add(1), w.size(), "plain"); err != nil {
			break
		}
	}
	x.drop(w.tenant)
	switch n := w.rand.IntN(100); {
	case err != nil:
		l.Fail(err)
	case n < 2:
		l.Discard(errPlanned)
	case n < 3:
		k.book.hijack(l, x)
	default:
		l.Release()
	}
	return err
}

func (k *keyed) operate(w *worker) {
	for _, text := range k.always() {
		w.violation("keyed", "%s", text)
	}
	key := strconv.Itoa(w.rand.IntN(keys))
	switch n := w.rand.IntN(200); {
	case n < 10:
		size := 1 + w.rand.IntN(k.total)
		w.event("keyed", "total resized to %d", size)
		if err := k.pool.Resize(size); err != nil {
			w.violation("keyed", "Resize: %v", err)
		}
	case n < 14:
		w.event("keyed", "key %s drained", key)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := k.pool.Drain(ctx, key); err != nil && !errors.Is(err, resource.ErrClosed) {
			w.violation("keyed", "Drain: %+v", err)
		}
	case n < 16:
		w.event("keyed", "reset")
		k.pool.Reset(errPlanned)
	case n < 20:
		if x := k.book.some(); x != nil {
			if f := x.invalidate.Load(); f != nil {
				(*f)(errPlanned)
			}
		}
	case n < 22:
		k.pool.RetryNow()
	case n < 26:
		if p, ok := k.pool.Find(key); ok {
			_ = p.Resize(1 + w.rand.IntN(each)) // the key may have been forgotten
		}
	}
}

func (k *keyed) calm() {}

func (k *keyed) probe(ctx context.Context) error {
	if err := k.pool.Resize(k.total); err != nil {
		return err
	}
	for n := range keys {
		err := again(ctx, func(ctx context.Context) error {
			k.calls.Add(1)
			return k.pool.Do(ctx, strconv.Itoa(n), func(ctx context.Context, x *session) error {
				k.got.Add(1)
				x.take(-1)
				defer x.drop(-1)
				return x.work(ctx, -1, k.load.calls.Add(1), 10, "plain")
			})
		})
		if err != nil {
			return fmt.Errorf("key %d: %w", n, err)
		}
	}
	return nil
}

// always returns nothing about the sum, which is read key by key, but looks at each key.
func (k *keyed) always() (bad []string) {
	for key, p := range k.pool.All() {
		bad = append(bad, equations("key "+key, p.Stats())...)
	}
	return bad
}

func (k *keyed) rest() string {
	n := k.pool.Stats().Stats
	if text := busy(n.Load); text != "" {
		return text
	}
	open := 0
	for _, t := range k.servers {
		open += t.server.open()
	}
	switch alive, slots := k.book.alive(), k.book.slots.Load(); {
	case alive != n.Idle:
		return fmt.Sprintf("I3: %d sessions exist, the pool has %v", alive, n.Load)
	case slots != int64(n.Idle):
		return fmt.Sprintf("I1: %d slots are taken, the pool has %v", slots, n.Load)
	case open != n.Idle:
		return fmt.Sprintf("the servers have %d connections, the pool %v", open, n.Load)
	}
	return disagrees(k.meter, n, true)
}

func (k *keyed) once() []string {
	n := k.pool.Stats().Stats
	bad := equations("keyed", n)
	if calls, sum := k.calls.Load(), k.got.Load()+n.Failures.Total(); calls != sum {
		bad = append(bad, fmt.Sprintf("%d acquires were called, %d got a lease, and %d failed: %+v", calls, k.got.Load(), n.Failures.Total(), n.Failures))
	}
	return bad
}

func (k *keyed) empty() { k.pool.Reset(errPlanned) }

func (k *keyed) bare() string {
	l := k.pool.Stats().Load
	if l.Idle > 0 || busy(l) != "" {
		return l.String()
	}
	for _, t := range k.servers {
		if text := t.left(); text != "" {
			return text
		}
	}
	return ""
}

func (k *keyed) close(ctx context.Context) (bad []string) {
	if err := k.pool.Close(ctx); err != nil {
		return []string{fmt.Sprintf("I6: Close: %+v", err)}
	}
	k.meter.Close()
	n := k.pool.Stats().Stats
	if n.Made != n.Destroyed+n.Hijacked || k.book.alive() > 0 || k.book.slots.Load() != 0 {
		bad = append(bad, fmt.Sprintf("I3: %d sessions exist after Close, %d slots are taken: %+v", k.book.alive(), k.book.slots.Load(), n))
	}
	return append(bad, equations("keyed", n)...)
}

func (k *keyed) dials() int64 { return k.pool.Stats().Begun.Total() }
