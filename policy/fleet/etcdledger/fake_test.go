package etcdledger

import (
	"context"
	"maps"
	"sort"
	"sync"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// fake is a store in memory that behaves as etcd does, with faults. Its clock is package
// time.
type fake struct {
	mu       sync.Mutex
	pairs    map[string]pair
	leases   map[int64]*fakeLease
	revision int64
	cluster  uint64
	term     uint64
	lastID   int64
	requests map[string]int // by operation
	smallest int64          // time of a lease in seconds
	lag      time.Duration  // how late an ended lease is noticed
	stopped  chan struct{}  // open while it does not answer

	// before runs before each operation, without a lock. Its error is that of the operation.
	before func(op string) error
	// after runs after each operation, without a lock. Its error replaces the answer.
	after func(op string) error
}

type fakeLease struct {
	seconds int64
	ends    time.Time
}

func newFake() *fake {
	return &fake{pairs: make(map[string]pair), leases: make(map[int64]*fakeLease), requests: make(map[string]int), term: 2, cluster: 0xc1, smallest: 1}
}

func (f *fake) lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pairs, f.leases, f.revision = make(map[string]pair), make(map[int64]*fakeLease), 0
}

// backup returns what puts the present data back. Leases begin anew then, as in etcd.
func (f *fake) backup() (restore func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, leases, revision := maps.Clone(f.pairs), maps.Clone(f.leases), f.revision
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.pairs, f.leases, f.revision = all, leases, revision
		for _, l := range leases {
			l.ends = time.Now().Add(time.Duration(l.seconds) * time.Second)
		}
	}
}

// stall makes it stop answering.
func (f *fake) stall() (resume func()) {
	c := make(chan struct{})
	f.mu.Lock()
	f.stopped = c
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		f.stopped = nil
		f.mu.Unlock()
		close(c)
	}
}

// do runs one operation.
func (f *fake) do(ctx context.Context, op string, run func() error) error {
	f.mu.Lock()
	f.requests[op]++
	stopped, before, after := f.stopped, f.before, f.after
	f.mu.Unlock()
	if stopped != nil {
		select {
		case <-stopped:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if before != nil {
		if err := before(op); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.expire()
	err := run()
	f.mu.Unlock()
	if after != nil {
		if err := after(op); err != nil {
			return err
		}
	}
	return err
}

// expire deletes what is attached to leases that have ended.
func (f *fake) expire() {
	for id, l := range f.leases {
		if !time.Now().Before(l.ends.Add(f.lag)) {
			f.end(id)
		}
	}
}

func (f *fake) end(id int64) {
	delete(f.leases, id)
	for key, p := range f.pairs {
		if p.lease == id {
			f.revision++
			delete(f.pairs, key)
		}
	}
}

func (f *fake) within(from, end string) content {
	all := []pair{}
	for key, p := range f.pairs {
		if key >= from && key < end {
			all = append(all, p)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].key < all[j].key })
	return content{all, f.revision, f.cluster}
}

func (f *fake) read(ctx context.Context, from, end string) (all content, err error) {
	err = f.do(ctx, "read", func() error {
		all = f.within(from, end)
		return nil
	})
	return all, err
}

func (f *fake) commit(ctx context.Context, t txn) (c committed, all content, err error) {
	err = f.do(ctx, "commit", func() error {
		for _, g := range t.guards {
			if f.pairs[g.key].modified != g.seen {
				c = committed{revision: f.revision, term: f.term}
				all = f.within(t.from, t.end)
				return nil
			}
		}
		for _, p := range t.puts {
			if p.lease != 0 && f.leases[p.lease] == nil {
				return errNoLease
			}
		}
		f.revision++
		for _, p := range t.puts {
			p.modified = f.revision
			f.pairs[p.key] = p
		}
		for _, key := range t.deletes {
			delete(f.pairs, key)
		}
		c = committed{ok: true, revision: f.revision, term: f.term}
		return nil
	})
	return c, all, err
}

func (f *fake) grant(ctx context.Context, ttl int64) (id, seconds int64, err error) {
	err = f.do(ctx, "grant", func() error {
		f.lastID++
		id, seconds = f.lastID, max(ttl, f.smallest)
		f.leases[id] = &fakeLease{seconds, time.Now().Add(time.Duration(seconds) * time.Second)}
		return nil
	})
	return id, seconds, err
}

func (f *fake) renew(ctx context.Context, id int64) (seconds int64, term uint64, err error) {
	err = f.do(ctx, "renew", func() error {
		term = f.term
		if l := f.leases[id]; l != nil {
			seconds = l.seconds
			l.ends = time.Now().Add(time.Duration(seconds) * time.Second)
		}
		return nil
	})
	return seconds, term, err
}

func (f *fake) left(ctx context.Context, id int64) (seconds int64, err error) {
	err = f.do(ctx, "left", func() error {
		seconds = -1
		if l := f.leases[id]; l != nil {
			seconds = int64(time.Until(l.ends) / time.Second)
		}
		return nil
	})
	return seconds, err
}

func (f *fake) revoke(ctx context.Context, id int64) error {
	return f.do(ctx, "revoke", func() error {
		f.end(id)
		return nil
	})
}

// count returns the requests since the last call.
func (f *fake) count() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.requests
	f.requests = make(map[string]int)
	return n
}

// put writes a key as a foreign program does.
func (f *fake) put(key, value string, lease int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revision++
	f.pairs[key] = pair{key: key, value: value, modified: f.revision, lease: lease}
}

// claim returns a valid claim.
func claim(holder string, seq uint64, has, want int) fleet.Claim {
	return fleet.Claim{Quota: "q", Holder: holder, Seq: seq, Has: has, Want: want, Limit: 10, Lease: 10 * time.Second}
}
