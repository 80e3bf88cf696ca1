// Package sync stands for sync in a program under the scheduler.
package sync

import (
	"math"

	"github.com/respool/respool/internal/explore/sched"
)

// Locker is sync.Locker.
type Locker interface {
	Lock()
	Unlock()
}

// Mutex is sync.Mutex.
type Mutex struct{ o sched.Obj }

// Lock is that of sync.Mutex.
func (m *Mutex) Lock() {
	sched.Wait(&m.o, sched.Lock)
	m.o.Busy = true
	sched.Write(&m.o)
}

// TryLock is that of sync.Mutex.
func (m *Mutex) TryLock() bool {
	sched.Before(&m.o, sched.TryLock)
	if m.o.Busy {
		sched.Read(&m.o)
		return false
	}
	m.o.Busy = true
	sched.Write(&m.o)
	return true
}

// Unlock is that of sync.Mutex.
func (m *Mutex) Unlock() {
	sched.Before(&m.o, sched.Unlock)
	if !m.o.Busy {
		panic("sync: unlock of unlocked mutex")
	}
	m.o.Busy = false
	sched.Write(&m.o)
}

// RWMutex is sync.RWMutex, without the preference of writers.
type RWMutex struct {
	o       sched.Obj // Busy: a writer has it
	readers int
}

// Lock is that of sync.RWMutex.
func (m *RWMutex) Lock() {
	sched.WaitFor(&m.o, sched.Lock, func() bool { return !m.o.Busy && m.readers == 0 })
	m.o.Busy = true
	sched.Write(&m.o)
}

// TryLock is that of sync.RWMutex.
func (m *RWMutex) TryLock() bool {
	sched.Before(&m.o, sched.TryLock)
	if m.o.Busy || m.readers > 0 {
		sched.Read(&m.o)
		return false
	}
	m.o.Busy = true
	sched.Write(&m.o)
	return true
}

// Unlock is that of sync.RWMutex.
func (m *RWMutex) Unlock() {
	sched.Before(&m.o, sched.Unlock)
	if !m.o.Busy {
		panic("sync: Unlock of unlocked RWMutex")
	}
	m.o.Busy = false
	sched.Write(&m.o)
}

// RLock is that of sync.RWMutex.
func (m *RWMutex) RLock() {
	sched.Wait(&m.o, sched.RLock)
	m.readers++
	sched.Write(&m.o)
}

// RUnlock is that of sync.RWMutex.
func (m *RWMutex) RUnlock() {
	sched.Before(&m.o, sched.RUnlock)
	if m.readers == 0 {
		panic("sync: RUnlock of unlocked RWMutex")
	}
	m.readers--
	sched.Write(&m.o)
}

// Once is sync.Once.
type Once struct {
	o    sched.Obj // Busy: the function runs
	done bool
}

// Do is that of sync.Once.
func (c *Once) Do(f func()) {
	sched.Wait(&c.o, sched.Lock)
	if c.done {
		sched.Read(&c.o)
		return
	}
	c.o.Busy = true
	sched.Write(&c.o)
	defer func() {
		sched.Before(&c.o, sched.Unlock)
		c.o.Busy, c.done = false, true
		sched.Write(&c.o)
	}()
	f()
}

// OnceFunc is that of sync.
func OnceFunc(f func()) func() {
	var once Once
	return func() { once.Do(f) }
}

// OnceValue is that of sync.
func OnceValue[T any](f func() T) func() T {
	var once Once
	var v T
	return func() T {
		once.Do(func() { v = f() })
		return v
	}
}

// WaitGroup is sync.WaitGroup.
type WaitGroup struct {
	o sched.Obj
	n int
}

// Add is that of sync.WaitGroup.
func (w *WaitGroup) Add(delta int) {
	sched.Before(&w.o, sched.Add)
	if w.n += delta; w.n < 0 {
		panic("sync: negative WaitGroup counter")
	}
	sched.Write(&w.o)
}

// Done is that of sync.WaitGroup.
func (w *WaitGroup) Done() { w.Add(-1) }

// Wait is that of sync.WaitGroup.
func (w *WaitGroup) Wait() {
	sched.WaitFor(&w.o, sched.WaitGroupWait, func() bool { return w.n == 0 })
	sched.Read(&w.o)
}

// Go is that of sync.WaitGroup.
func (w *WaitGroup) Go(f func()) {
	w.Add(1)
	sched.Go(func() {
		defer w.Done()
		f()
	})
}

// Cond is sync.Cond.
type Cond struct {
	L       Locker
	o       sched.Obj
	waiting []*waiter
}

// waiter is a goroutine in Wait.
type waiter struct{ woken bool }

// NewCond is that of sync.
func NewCond(l Locker) *Cond { return &Cond{L: l} }

// Wait is that of sync.Cond.
func (c *Cond) Wait() {
	w := new(waiter)
	sched.Before(&c.o, sched.Store)
	c.waiting = append(c.waiting, w)
	sched.Write(&c.o)
	c.L.Unlock()
	sched.WaitFor(&c.o, sched.CondWait, func() bool { return w.woken })
	sched.Write(&c.o)
	c.L.Lock()
}

// Signal is that of sync.Cond: the goroutine that waits longest is woken.
func (c *Cond) Signal() { c.wake(1) }

// Broadcast is that of sync.Cond.
func (c *Cond) Broadcast() { c.wake(math.MaxInt) }

func (c *Cond) wake(n int) {
	sched.Before(&c.o, sched.Wake)
	for ; n > 0 && len(c.waiting) > 0; n-- {
		c.waiting[0].woken = true
		c.waiting = c.waiting[1:]
	}
	sched.Write(&c.o)
}

// Pool is sync.Pool.
type Pool struct {
	New  func() any
	pool sched.Pool
}

// Get is that of sync.Pool.
func (p *Pool) Get() any {
	if v := p.pool.Get(); v != nil || p.New == nil {
		return v
	}
	return p.New()
}

// Put is that of sync.Pool.
func (p *Pool) Put(v any) { p.pool.Put(v) }

// Map is sync.Map, which Range visits in the order of insertion.
type Map struct {
	o    sched.Obj
	keys []any
	m    map[any]any
}

// Load is that of sync.Map.
func (m *Map) Load(key any) (value any, ok bool) {
	sched.Before(&m.o, sched.Load)
	value, ok = m.m[key]
	sched.Read(&m.o)
	return value, ok
}

// Store is that of sync.Map.
func (m *Map) Store(key, value any) {
	sched.Before(&m.o, sched.Store)
	m.put(key, value)
	sched.Write(&m.o)
}

func (m *Map) put(key, value any) {
	if m.m == nil {
		m.m = make(map[any]any)
	}
	if _, ok := m.m[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.m[key] = value
}

// LoadOrStore is that of sync.Map.
func (m *Map) LoadOrStore(key, value any) (actual any, loaded bool) {
	sched.Before(&m.o, sched.Swap)
	if actual, loaded = m.m[key]; !loaded {
		actual = value
		m.put(key, value)
	}
	sched.Write(&m.o)
	return actual, loaded
}

// Delete is that of sync.Map.
func (m *Map) Delete(key any) { m.LoadAndDelete(key) }

// LoadAndDelete is that of sync.Map.
func (m *Map) LoadAndDelete(key any) (value any, loaded bool) {
	sched.Before(&m.o, sched.Swap)
	if value, loaded = m.m[key]; loaded {
		delete(m.m, key)
		for i, k := range m.keys {
			if k == key {
				m.keys = append(m.keys[:i:i], m.keys[i+1:]...)
				break
			}
		}
	}
	sched.Write(&m.o)
	return value, loaded
}

// Range is that of sync.Map.
func (m *Map) Range(f func(key, value any) bool) {
	for _, k := range append([]any(nil), m.keys...) {
		if v, ok := m.Load(k); ok && !f(k, v) {
			return
		}
	}
}
