package resource

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// State is what a resource is doing.
type State uint8

const (
	Idle     State = iota // ready to be lent
	Leased                // held by a caller
	Checking              // idle, while a Health check, OnRelease or the check of a ReleaseAfter runs
)

// String is the state's name in lower case.
func (s State) String() string {
	return [...]string{Idle: "idle", Leased: "leased", Checking: "checking"}[s]
}

// ResourceInfo is one resource as [Pool.Inspect] finds it.
type ResourceInfo struct {
	Info                      // Leases includes the current one
	State       State         // what it is doing
	Lease       uint64        // ordinal of the current lease on its resource, from 1, as in LeaseEvent; 0 unless leased
	Held        time.Duration // how long the current lease has lasted, exact if it was sampled, else to 100 ms; 0 unless leased
	Shared      bool          // the current lease was acquired with Request.Shared
	Invalidated error         // why it will be destroyed when its lease ends; nil: it may be lent again
	Detail      string        // what Config.Describe returned
}

// WaiterInfo is one caller that waits, as [Pool.Inspect] finds it.
type WaiterInfo struct {
	Request Request       // what it asked for
	Waited  time.Duration // so far
}

// PolicyState is one policy of a pool and its own account of its state.
type PolicyState struct {
	Moment string // the field of Config that has it
	Type   string // its Go type
	State  string // what its method State() string returned; "" if it has none
}

// Inspection is the state of a pool at one time, as [Pool.Inspect] finds it.
type Inspection struct {
	Stats
	MinIdle      int            // of its Config; of a Keyed, of all its keys together
	OldestWait   time.Duration  // of the callers that wait now; 0: none waits
	Resources    []ResourceInfo // some of those that exist, in no order; not those being destroyed
	Waiting      []WaiterInfo   // the first of the callers that wait, in the order of their arrival
	Policies     []PolicyState  // those that are set
	Quotas       []SharedQuota  // that its policies share with other processes; see QuotaReporter
	Multiplexers []Multiplexer  // that share its resources among calls, one for each name; see MultiplexReporter
	Endpoints    *Endpoints     // over which its resources are spread; nil: it has one endpoint, or does not know of them
	Facts        []Fact         // what a particular kind of pool adds, such as wspool's
	Settings     []Setting      // how it was configured; none if no resources are listed
}

// Fact is one more figure of a pool.
type Fact struct {
	Name  string // in words, such as "dirty"
	Value int64  // how many
	Level bool   // it rises and falls; else it only grows
}

// Inspect returns a snapshot with at most limit resources and as many waiting callers, and with
// the Settings; with a limit of 0 it lists none of these and is cheap however many there are. It
// does not wait, and holds the pool's lock for no more than a few microseconds at a time, so the
// lists are not of one instant: a resource that moves meanwhile is listed where it was or where
// it is, one that is created meanwhile may be missing, and none is listed twice. It also works
// when the pool is closed.
func (p *Pool[T]) Inspect(limit int) Inspection {
	var in Inspection
	p.mu.Lock()
	in.Stats = p.statsLocked().Stats
	if w := p.waiters.front(); w != nil {
		in.OldestWait = p.clock.now() - w.Since
	}
	p.mu.Unlock()
	in.MinIdle = p.cfg.MinIdle
	p.inspector.list(&in, limit)
	in.Waiting = p.inspector.waiting(limit, 0)
	in.Policies = p.policies.states()
	var quotas quotaSet
	p.policies.sharedQuotas(&quotas)
	in.Quotas = quotas.all
	if limit > 0 {
		in.Settings = settingsOf(&p.cfg, &p.guard, in.Max)
	}
	return in
}

// listChunk is how many resources, or waiters, are listed under one hold of the
// lock.
const listChunk = 64

// inspector lists resources and waiters, a few under each hold of the pool's lock.
type inspector[T any] struct {
	listing sync.Mutex // held during a listing; locked before mu

	// Constant.
	mu       *askMutex[snapshot] // the pool's
	clock    *clock
	registry *registry[T]
	waiters  *waitQueue[T]
	policies *policies[T]
}

// list adds resources to in until it has limit of them.
func (x *inspector[T]) list(in *Inspection, limit int) {
	if limit <= 0 {
		return
	}
	from := len(in.Resources)
	listed := x.resources(in, limit)
	if x.policies.cfg.Describe == nil {
		return
	}
	for i, e := range listed {
		r := &in.Resources[from+i]
		_ = x.policies.guard.call("Describe", func() { r.Detail = x.policies.cfg.Describe(e.value) })
	}
}

// resources adds to in as list does, and returns what it has added.
func (x *inspector[T]) resources(in *Inspection, limit int) (listed []*entry[T]) {
	x.mu.Lock()
	n := min(len(x.registry.all), limit-len(in.Resources))
	x.mu.Unlock()
	if n <= 0 {
		return nil
	}
	in.Resources = slices.Grow(in.Resources, n)
	listed = make([]*entry[T], 0, n)
	x.each(func(e *entry[T]) bool {
		if len(in.Resources) == limit {
			return false
		}
		if !e.discarded() {
			listed = append(listed, e)
			in.Resources = append(in.Resources, e.inspect(x.clock))
		}
		return true
	})
	return listed
}

// each calls f for each resource, with the pool locked, until f returns false.
func (x *inspector[T]) each(f func(e *entry[T]) bool) {
	x.listing.Lock()
	defer x.listing.Unlock()
	x.mu.Lock()
	from := len(x.registry.all)
	x.registry.listings++
	stamp := x.registry.listings
	x.mu.Unlock()
	more := true
	for holds := 1; from > 0 && more; holds++ {
		x.mu.Lock() // not Pool.lock: that would count as contention
		some, first := x.registry.before(from, listChunk)
		from = first
		for _, e := range slices.Backward(some) {
			if e.seen == stamp { // visited, and moved here since
				continue
			}
			e.seen = stamp
			if more = f(e); !more {
				break
			}
		}
		x.mu.Unlock()
		letOthersLock(holds)
	}
}

// waiting lists the waiters from the front of the queue, up to limit. With a listing, which is not
// 0, it leaves out callers of AcquireAny that the same listing has found in the queue of another
// key.
func (x *inspector[T]) waiting(limit int, listing uint64) (some []WaiterInfo) {
	x.listing.Lock()
	defer x.listing.Unlock()
	x.mu.Lock()
	limit = min(limit, x.waiters.n)
	x.mu.Unlock()
	if limit <= 0 {
		return nil
	}
	some = make([]WaiterInfo, 0, limit) // not under the lock, where to grow it would be to copy it
	x.mu.Lock()
	x.waiters.begin()
	for holds := 1; ; holds++ {
		now := x.clock.now()
		w := x.waiters.step()
		for n := 1; w != nil; n++ {
			if listing == 0 || !w.multi.listed(listing) {
				some = append(some, WaiterInfo{Request: w.Request, Waited: now - w.Since})
			}
			if n == listChunk || len(some) == limit {
				break
			}
			w = x.waiters.step()
		}
		if w == nil || len(some) == limit {
			x.waiters.walk = walk[T]{}
			x.mu.Unlock()
			return some
		}
		x.mu.Unlock()
		letOthersLock(holds)
		x.mu.Lock()
	}
}

// longestWait is how long the first waiter has waited.
func (x *inspector[T]) longestWait() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	if w := x.waiters.front(); w != nil {
		return x.clock.now() - w.Since
	}
	return 0
}

// yieldAfter is after how many holds of the lock the goroutines that wait for it are
// let in. Each time would be too often: where processors are busy it takes long to
// get the processor back.
const yieldAfter = 8

// letOthersLock is called after each hold of the lock. An unlocked mutex goes to the
// goroutine that runs, which is the one that lists: a goroutine that sleeps on it
// would get it a millisecond later, or when the listing has ended.
func letOthersLock(holds int) {
	if holds%yieldAfter == 0 {
		runtime.Gosched()
	}
}

// Reclaim ends, in place of its holder, a lease that was leaked, and destroys the resource
// with [ErrReclaimed]: its slot and its permits are free then, without a restart. The two
// numbers are those that [Pool.Inspect], LeaseEvent and the metrics show; the lease's
// ordinal keeps Reclaim from ending the next lease of that resource. It returns false, and
// does nothing, if that lease is not the current one. Its cost grows with the number of
// resources.
//
// It also returns false for a lease in its first second, and for one whose acquire has not
// returned yet because a Health check runs.
//
// It is for use when the holder is known to be gone or stuck, and dangerous where
// that is not so: Destroy runs while the holder still uses the value, which is a data race
// unless the value's type permits its Close beside other calls, as that of a net.Conn does.
// What the holder does afterwards fails: Value panics, and ending the lease does nothing.
func (p *Pool[T]) Reclaim(id, lease uint64) bool {
	var found *entry[T]
	var held time.Duration
	p.inspector.each(func(e *entry[T]) bool {
		if e.id == id {
			found, held = e, e.inspect(&p.clock).Held
		}
		return found == nil
	})
	if found == nil || lease == 0 || held < reclaimAfter || found.vetting.Load() == lease || !found.word.Holds(lease) {
		return false
	}
	Lease[T]{found, lease}.Discard(ErrReclaimed)
	return true
}

// reclaimAfter is how old a lease must be to be reclaimed. It is far longer than the
// time from the moment at which an acquire gets a resource to its return.
const reclaimAfter = time.Second
