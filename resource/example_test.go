package resource_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// Session stands for anything that is slow to make and worth keeping.
type Session struct{ id int }

func (s *Session) Ask(question string) string { return fmt.Sprintf("%s? yes, says %d", question, s.id) }
func (s *Session) Close()                     { fmt.Println("closed", s.id) }

// dialer returns a Make that numbers its sessions.
func dialer() func(context.Context) (*Session, error) {
	n := 0
	return func(context.Context) (*Session, error) {
		n++
		return &Session{id: n}, nil
	}
}

func Example() {
	pool, err := resource.New(resource.Config[*Session]{
		Make:    dialer(),
		Destroy: func(s *Session, cause error) { s.Close() },
		MaxSize: 8,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()

	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Value().Ask("well"))
	lease.Release()

	stats := pool.Stats()
	fmt.Println(stats.Made, "made,", stats.Idle, "idle")
	fmt.Println(pool.Close(ctx))

	// Output:
	// well? yes, says 1
	// 1 made, 1 idle
	// closed 1
	// <nil>
}

// Do ends the lease by how the work went: an error destroys the resource,
// unless Broken says that it is still good.
func ExamplePool_Do() {
	errNotFound := errors.New("not found")
	pool, err := resource.New(resource.Config[*Session]{
		Make:    dialer(),
		Broken:  func(err error) bool { return !errors.Is(err, errNotFound) },
		MaxSize: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for _, result := range []error{nil, errNotFound, errors.New("reset by peer"), nil} {
		err := pool.Do(ctx, func(ctx context.Context, s *Session) error {
			fmt.Print(s.Ask("well"), ": ")
			return result
		})
		fmt.Println(err)
	}

	// Output:
	// well? yes, says 1: <nil>
	// well? yes, says 1: not found
	// well? yes, says 1: reset by peer
	// well? yes, says 2: <nil>
}

// quota admits only so many leases of each class at once.
type quota struct {
	slots map[string]chan struct{}
}

func (q quota) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	slots, ok := q.slots[r.Class]
	if !ok {
		return nil, nil // this class is not limited
	}
	select {
	case slots <- struct{}{}:
		return func(resource.Outcome) { <-slots }, nil
	default:
		return nil, &resource.Rejection{Policy: "quota", RetryAfter: time.Second}
	}
}

// An Admission decides which callers are admitted. Its permit lasts as long as the
// lease.
func ExampleAdmission() {
	pool, err := resource.New(resource.Config[*Session]{
		Make:      dialer(),
		MaxSize:   8,
		Admission: quota{slots: map[string]chan struct{}{"batch": make(chan struct{}, 1)}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	batch := resource.Request{Class: "batch"}
	first, err := pool.AcquireWith(ctx, batch)
	fmt.Println("first:", err)

	_, err = pool.AcquireWith(ctx, batch)
	var refusal *resource.AcquireError
	if errors.As(err, &refusal) && errors.Is(err, resource.ErrRejected) {
		fmt.Println("second: refused, again after", refusal.RetryAfter)
	}

	other, err := pool.Acquire(ctx)
	fmt.Println("another class:", err)
	other.Release()

	first.Release()
	again, err := pool.AcquireWith(ctx, batch)
	fmt.Println("after the first:", err)
	again.Release()

	// Output:
	// first: <nil>
	// second: refused, again after 1s
	// another class: <nil>
	// after the first: <nil>
}

// afterLeases evicts what has been lent so many times.
type afterLeases int64

// errLeases is a value, made once, and has no number in its text: the cause of an
// eviction becomes the label of a metric.
var errLeases = errors.New("lent too often")

func (n afterLeases) Evict(i resource.Info) error {
	if i.Leases >= int64(n) {
		return errLeases
	}
	return nil
}

// An Eviction decides by what is known about a resource. policytest.Eviction
// checks one of your own.
func ExampleEviction() {
	pool, err := resource.New(resource.Config[*Session]{
		Make:     dialer(),
		MaxSize:  1,
		Eviction: afterLeases(2),
		Destroy:  func(s *Session, cause error) { fmt.Println("destroyed", s.id, "-", cause) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for range 3 {
		pool.Do(ctx, func(ctx context.Context, s *Session) error {
			fmt.Println(s.Ask("well"))
			return nil
		})
	}

	// Output:
	// well? yes, says 1
	// well? yes, says 1
	// destroyed 1 - lent too often
	// well? yes, says 2
	// destroyed 2 - resource: pool is closed
}

// stream stands for a connection whose remote can announce that it will go away.
type stream struct {
	id       int
	draining atomic.Bool // set by the goroutine that reads from the remote
}

var errDraining = errors.New("remote is draining")

// EvictIf sees the resource. Here the remote of a leased one announces that it is
// draining: the lease goes on, and the connection is not lent again.
func ExampleConfig_evictIf() {
	made := 0
	pool, err := resource.New(resource.Config[*stream]{
		Make: func(context.Context) (*stream, error) { made++; return &stream{id: made}, nil },
		EvictIf: func(s *stream, _ resource.Info) error {
			if s.draining.Load() {
				return errDraining
			}
			return nil
		},
		Destroy: func(s *stream, cause error) { fmt.Println("destroyed", s.id, "-", cause) },
		MaxSize: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for range 3 {
		pool.Do(ctx, func(ctx context.Context, s *stream) error {
			fmt.Println("lent", s.id)
			s.draining.Store(s.id == 1)
			return nil
		})
	}

	// Output:
	// lent 1
	// destroyed 1 - remote is draining
	// lent 2
	// lent 2
	// destroyed 2 - resource: pool is closed
}

// A resource that knows when it dies is not lent dead: Watch keeps invalidate,
// which is called when the death is noticed.
func ExampleConfig_watch() {
	gone := make(chan struct{}, 2)
	var invalidate func(error)
	pool, err := resource.New(resource.Config[*Session]{
		Make:    dialer(),
		Destroy: func(s *Session, cause error) { fmt.Println("ended:", cause); gone <- struct{}{} },
		Watch:   func(s *Session, d func(cause error)) { invalidate = d },
		MaxSize: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()

	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	lease.Release()

	invalidate(errors.New("the server hung up")) // while it is idle
	<-gone

	lease, err = pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Value().Ask("well"))
	lease.Release()
	pool.Close(ctx)

	// Output:
	// ended: the server hung up
	// well? yes, says 2
	// ended: resource: pool is closed
}

// The parts of a Config, and the ways to end a lease.
func ExamplePool_Inspect() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	pool, err := resource.New(resource.Config[string]{
		MaxSize:  2,
		Make:     func(context.Context) (string, error) { return "a session", nil },
		Describe: func(v string) string { return v },
		Trace: &resource.Trace{
			Leased: func(_ context.Context, e resource.LeaseEvent) {
				fmt.Printf("lease %d of resource %d, for %s\n", e.Lease, e.ID, e.Request.Class)
			},
			Ended: func(e resource.EndEvent) { fmt.Printf("it has ended, and stands for %d\n", e.Sampled) },
		},
		SampleLeases: 1, // each; by default one in 128
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)

	lease, err := pool.AcquireWith(ctx, resource.Request{Class: "reports"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range pool.Inspect(100).Resources {
		fmt.Printf("resource %d is %v: %s\n", r.ID, r.State, r.Detail)
	}
	lease.Release()
	// Output:
	// lease 1 of resource 1, for reports
	// resource 1 is leased: a session
	// it has ended, and stands for 1
}

// Two connections in all, for any number of endpoints: the connection of the least
// recently used endpoint is preempted.
func ExampleKeyed() {
	pools, err := resource.NewKeyed(resource.KeyedConfig[string, string]{
		Config: func(endpoint string) (resource.Config[string], error) {
			cfg := resource.Config[string]{
				Make:    func(context.Context) (string, error) { return "connection to " + endpoint, nil },
				Destroy: func(c string, cause error) { fmt.Println(c, "ended:", cause) },
				MaxSize: 2,
			}
			if endpoint == "fragile" {
				cfg.MaxSize = 1 // what differs from key to key
			}
			return cfg, nil
		},
		MaxTotal: 2,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pools.Close(ctx)
	for _, endpoint := range []string{"eu", "us", "fragile"} {
		err := pools.Do(ctx, endpoint, func(_ context.Context, c string) error {
			fmt.Println("lent:", c)
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	s := pools.Stats()
	fmt.Printf("%d idle, %d made, %d preempted\n", s.Idle, s.Made, s.Preempted)
	if err := pools.Drain(ctx, "us"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// lent: connection to eu
	// lent: connection to us
	// connection to eu ended: resource: preempted by another key
	// lent: connection to fragile
	// 2 idle, 3 made, 1 preempted
	// connection to us ended: resource: pool is closed
	// connection to fragile ended: resource: pool is closed
}

// A round of keepalives of one's own: all that is idle is taken, looked at, and
// given back as it was, or discarded.
func ExamplePool_AcquireAllIdle() {
	pool, err := resource.New(resource.Config[*Session]{Make: dialer(), MaxSize: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)
	for range 3 {
		if err := pool.MakeOne(ctx); err != nil {
			fmt.Println(err)
			return
		}
	}

	for _, lease := range pool.AcquireAllIdle() {
		if lease.Value().id == 2 {
			lease.Discard(errors.New("no answer"))
			continue
		}
		lease.ReleaseUnused()
	}
	fmt.Println(pool.Stats().Idle, "idle")

	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the newest is still", lease.Value().id)
	lease.Release()
	// Output:
	// 2 idle
	// the newest is still 3
}
