package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// tenants is an Admission that limits the leases of each tenant, named by Request.Class.
type tenants struct {
	each int

	mu   sync.Mutex
	held map[string]int
}

func newTenants(each int) *tenants { return &tenants{each: each, held: make(map[string]int)} }

// Admit implements resource.Admission.
func (t *tenants) Admit(_ context.Context, r resource.Request) (resource.Done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[r.Class] >= t.each {
		return nil, fmt.Errorf("tenant %q holds %d already", r.Class, t.each)
	}
	t.held[r.Class]++
	return func(resource.Outcome) { t.release(r.Class) }, nil
}

func (t *tenants) release(class string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[class]--; t.held[class] == 0 {
		delete(t.held, class)
	}
}

// errOldRelease is the cause that Destroy and the metrics see.
var errOldRelease = errors.New("made before the release")

// rollout is an Eviction: after a new release of the server, older connections are evicted,
// leased ones when their lease ends. It needs no clock and no list, since the IDs of
// resources only grow. The result of an Eviction may change when its user changes a
// setting, and at no other time.
type rollout struct{ upTo atomic.Uint64 }

// deployed marks all resources made so far as old; newest is the largest ID.
func (o *rollout) deployed(newest uint64) { o.upTo.Store(newest) }

// current reports whether the resource was made after the last release.
func (o *rollout) current(i resource.Info) bool { return i.ID > o.upTo.Load() }

// Evict implements resource.Eviction.
func (o *rollout) Evict(i resource.Info) error {
	if o.current(i) {
		return nil
	}
	return errOldRelease
}

// ping is a Health: a connection that was not used or checked for some time must answer a
// ping before it is lent.
type ping struct{ after time.Duration }

// Due implements resource.Scheduled: if it returns false Check is not called.
func (p ping) Due(i resource.Info) bool { return min(i.Idle, i.Checked) >= p.after }

// Check implements resource.Health. It has exclusive use of the connection.
func (p ping) Check(ctx context.Context, c *conn, _ resource.Info) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	reply, err := c.ask(ctx, "ping")
	if err == nil && reply != "pong" {
		err = fmt.Errorf("answered a ping with %q", reply)
	}
	return err
}
