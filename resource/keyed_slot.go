package resource

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// fill makes the pool of s, or says why there is none.
func (k *Keyed[K, T]) fill(s *slot[K, T]) {
	began := false
	s.err = fmt.Errorf("%w: Config", ErrGoexit) // unless it returns
	defer func() {
		if s.pool.Load() == nil {
			k.slots.Delete(s.key, s)
			if began {
				k.end()
			}
		}
	}()
	if began = k.begin(); !began {
		s.err = &AcquireError{Err: ErrClosed, Reason: ReasonClosed}
		return
	}
	cfg, err := k.configure(s.key)
	if err != nil {
		s.err = err
		return
	}
	p, err := newPool(cfg, &k.common, s)
	if err != nil {
		s.err = err
		return
	}
	s.pool.Store(p)
	if k.closed.Load() {
		p.beginClose() // Close may not have seen it
	}
	k.arm()
}

// begin counts a pool that is to be made, unless the Keyed is closed.
func (k *Keyed[K, T]) begin() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed.Load() {
		k.open++
		return true
	}
	return false
}

// end counts one that is gone.
func (k *Keyed[K, T]) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open--; k.open == 0 && k.closed.Load() {
		close(k.empty)
	}
}

// configure calls Config. The error does not say for which key: that may be a
// secret.
func (k *Keyed[K, T]) configure(key K) (cfg Config[T], err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Where: "Config", Value: v, Stack: debug.Stack()}
		}
	}()
	if cfg, err = k.cfg.Config(key); err != nil {
		err = fmt.Errorf("resource: no pool for this key: %w", err)
	}
	return cfg, err
}

// again reports whether an acquire from p failed with err only since p had gone
// between being found and being asked: it was forgotten, or else nothing of it
// was left before; but who waited was there when it was drained.
func (k *Keyed[K, T]) again(p *Pool[T], err error) bool {
	var failed *AcquireError
	if k.closed.Load() || !errors.As(err, &failed) || failed.Err != ErrClosed {
		return false
	}
	s := p.keyedSlot.(*slot[K, T])
	if failed.Waited > 0 && !s.over.Load() {
		return false
	}
	select {
	case <-p.drained:
		k.drop(s)
		return true
	default:
		return false
	}
}

// drop takes the pool of s, of which nothing is left, out of the map.
func (k *Keyed[K, T]) drop(s *slot[K, T]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.slots.Delete(s.key, s) {
		k.gone.add(s.pool.Load().Stats())
	}
}

// ended sees p out, which has just been drained.
func (k *Keyed[K, T]) ended(p *Pool[T]) {
	p.life.close()
	k.drop(p.keyedSlot.(*slot[K, T]))
	k.end()
}

// arm sees to it that tidy runs by and by.
func (k *Keyed[K, T]) arm() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.armed || k.closed.Load() {
		return
	}
	k.armed = true
	if k.tidy == nil {
		k.tidy = time.AfterFunc(k.cfg.ForgetAfter, k.onTidy)
	} else {
		k.tidy.Reset(k.cfg.ForgetAfter)
	}
}

// onTidy forgets the keys that have long been empty.
func (k *Keyed[K, T]) onTidy() {
	k.tidying.Lock()
	defer k.tidying.Unlock()
	for _, e := range k.slots.Entries() {
		k.forget(e.Value)
	}
	k.mu.Lock()
	k.armed = false
	k.mu.Unlock()
	if k.slots.Len() > 0 {
		k.arm()
	}
}

// forget closes the pool of s if it has nothing and has not been used for a
// while, and if there is nothing to remember about it: an outage, say.
func (k *Keyed[K, T]) forget(s *slot[K, T]) {
	p := s.pool.Load()
	if p == nil {
		return
	}
	p.lock()
	var tries chan struct{}
	defer func() {
		p.unlock()
		notifyTries(tries)
	}()
	now := p.clock.now()
	used := p.cap.live > 0 || p.maker.lost > 0 || p.busy > 0 || p.waiters.n > 0 || len(p.maker.warming) > 0 ||
		p.ticking || now-time.Duration(p.clock.tick.Load())*tickLen < k.cfg.ForgetAfter
	awaited := p.cfg.MinIdle > 0 || p.maker.breaker.RetryAfter(now) > 0 || p.maker.barred > now
	if p.closed || used || awaited {
		return
	}
	s.over.Store(true)
	p.closed = true
	p.setSlowPath()
	p.shut()
	p.cancel()
	tries = p.maker.takeTries()
}

// Close ends all keys: waiters get [ErrClosed] at once, and so does whoever asks
// from now on; makes are cancelled, idle resources destroyed, leased ones when
// their lease ends. It returns nil when nothing of it runs any more, or a
// [*CloseError] for all keys together when ctx ends before; the closing goes on,
// and Close may be called again to wait for it. Give ctx a deadline: behind a lease
// that leaked Close waits until ctx ends.
func (k *Keyed[K, T]) Close(ctx context.Context) error {
	k.mu.Lock()
	if !k.closed.Swap(true) && k.open == 0 {
		close(k.empty)
	}
	if k.tidy != nil {
		k.tidy.Stop()
	}
	k.mu.Unlock()
	for _, p := range k.All() {
		p.beginClose()
	}
	select {
	case <-k.empty:
	default:
		select {
		case <-k.empty:
		case <-ctx.Done():
			return k.closeError(ctx)
		}
	}
	k.tidying.Lock()
	defer k.tidying.Unlock()
	k.common.budget.Rest()
	return nil
}

// closeError is what all pools together still have.
func (k *Keyed[K, T]) closeError(ctx context.Context) error {
	sum := &CloseError{Err: ctxError(ctx)}
	for _, p := range k.All() {
		p.addOut(sum)
	}
	sum.Load.Max, _, _ = k.common.budget.Levels()
	return sum
}
