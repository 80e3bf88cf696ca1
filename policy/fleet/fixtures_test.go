package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

const lease = 10 * time.Second

var ctx = context.Background()

// rtt is how long an operation of the ledger takes in these tests.
const rtt = 2 * time.Millisecond

// engine is a Ledger with faults: each operation takes rtt of virtual time, and may be lost
// on the way there or back.
type engine struct {
	*fleet.Memory
	claims atomic.Int64

	mu       sync.Mutex
	down     error                                                                    // every operation fails
	hang     bool                                                                     // every operation waits for its context
	toll     func(c fleet.Claim) (there, back bool)                                   // which operations are lost; nil: none
	override func(c fleet.Claim, do func() (fleet.Grant, error)) (fleet.Grant, error) // replaces an operation
	seen     []fleet.Claim
}

func newEngine(began ...string) *engine {
	e := &engine{Memory: fleet.NewMemory()}
	for _, quota := range began {
		e.Begin(quota)
	}
	return e
}

var errLost = errors.New("test: message lost")

func (e *engine) set(f func(*engine)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e)
}

func (e *engine) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	e.claims.Add(1)
	e.mu.Lock()
	down, hang, toll, override := e.down, e.hang, e.toll, e.override
	e.seen = append(e.seen, c)
	e.mu.Unlock()
	if hang {
		<-ctx.Done()
		return fleet.Grant{}, context.Cause(ctx)
	}
	pause(ctx, rtt/2)
	if down != nil {
		return fleet.Grant{}, down
	}
	there, back := true, true
	if toll != nil {
		there, back = toll(c)
	}
	if !there {
		return fleet.Grant{}, errLost
	}
	do := func() (fleet.Grant, error) { return e.Memory.Claim(ctx, c) }
	if override != nil {
		inner := do
		do = func() (fleet.Grant, error) { return override(c, inner) }
	}
	g, err := do()
	pause(ctx, rtt/2)
	if !back {
		return fleet.Grant{}, errLost
	}
	return g, err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func newQuota(t *testing.T, cfg fleet.Config) *fleet.Quota {
	t.Helper()
	if cfg.Quota == "" {
		cfg.Quota = "account"
	}
	if cfg.Limit == 0 {
		cfg.Limit = 100
	}
	if cfg.Lease == 0 {
		cfg.Lease = lease
	}
	q, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// end closes q, whose units need not have come back.
func end(q *fleet.Quota) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_ = q.Close(ended)
}

// admit admits n at once, or fails the test.
func admit(t *testing.T, a resource.Admission, n int) (dones []resource.Done) {
	t.Helper()
	for i := range n {
		short, cancel := context.WithTimeout(ctx, time.Second)
		done, err := a.Admit(short, resource.Request{})
		cancel()
		if err != nil {
			t.Fatalf("admission %d of %d: %v", i+1, n, err)
		}
		dones = append(dones, done)
	}
	return dones
}

// returnAll gives permits back.
func returnAll(dones []resource.Done) {
	for _, done := range dones {
		done(resource.Outcome{Verdict: resource.OK})
	}
}

// eventually waits in virtual time until ok.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(began)
}

// provider counts the sessions that exist at the remote, by the process that has them. It is
// the judge: it knows nothing of quotas.
type provider struct {
	mu     sync.Mutex
	live   map[*session]struct{}
	most   int
	limit  int   // refuses above; 0: never
	served int64 // integral of live sessions over time, in session nanoseconds
	at     time.Time
}

type session struct {
	p       *provider
	replica int
	closed  bool
}

var errTooManySessions = errors.New("test: too many sessions")

func newProvider() *provider { return &provider{live: make(map[*session]struct{}), at: time.Now()} }

func (p *provider) accrueLocked() {
	now := time.Now()
	p.served += int64(len(p.live)) * int64(now.Sub(p.at))
	p.at = now
}

func (p *provider) open(replica int) (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit > 0 && len(p.live) >= p.limit {
		return nil, errTooManySessions
	}
	p.accrueLocked()
	s := &session{p: p, replica: replica}
	p.live[s] = struct{}{}
	p.most = max(p.most, len(p.live))
	return s, nil
}

func (s *session) close() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if !s.closed {
		s.p.accrueLocked()
		s.closed = true
		delete(s.p.live, s)
	}
}

// dropAll closes the sessions of a process that died.
func (p *provider) dropAll(replica int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accrueLocked()
	for s := range p.live {
		if s.replica == replica {
			s.closed = true
			delete(p.live, s)
		}
	}
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

func (p *provider) of(replica int) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.live {
		if s.replica == replica {
			n++
		}
	}
	return n
}

// peak returns the most sessions since the last call.
func (p *provider) peak() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.most
	p.most = len(p.live)
	return most
}

// mean returns how many sessions there were on average since the last call.
func (p *provider) mean(since time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accrueLocked()
	n := float64(p.served) / float64(time.Since(since))
	p.served = 0
	return n
}

// replica is one process: a Quota, a pool of sessions, and callers that use them.
type replica struct {
	q    *fleet.Quota
	pool *resource.Pool[*session]
	stop context.CancelFunc
	busy sync.WaitGroup
}

// newReplica begins a process with as many callers, each of which uses a session for hold
// and then waits for rest.
func newReplica(t *testing.T, p *provider, id int, cfg fleet.Config, callers int, hold, rest time.Duration) *replica {
	t.Helper()
	return newReplicaWith(t, p, id, cfg, callers, hold, rest)
}

// newReplicaWith is newReplica with more evictions.
func newReplicaWith(t *testing.T, p *provider, id int, cfg fleet.Config, callers int, hold, rest time.Duration, evictions ...resource.Eviction) *replica {
	t.Helper()
	r := &replica{q: newQuota(t, cfg)}
	pool, err := resource.New(resource.Config[*session]{
		MaxSize: max(callers, 1),
		Make: func(ctx context.Context) (*session, error) {
			pause(ctx, 5*time.Millisecond)
			s, err := p.open(id)
			if err == nil {
				stop := r.q.OnExpiry(func(error) { s.close() })
				context.AfterFunc(ctx, func() { stop() })
			}
			return s, err
		},
		Destroy:       func(s *session, _ error) { s.close() },
		Quota:         r.q,
		Eviction:      policy.AnyOf(append(evictions, r.q.Surplus())...),
		SweepInterval: time.Second,
		Outage:        resource.KeepWaiting,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.pool = pool
	working, stop := context.WithCancel(ctx)
	r.stop = stop
	for range callers {
		r.busy.Go(func() {
			for working.Err() == nil {
				l, err := pool.Acquire(working)
				if err != nil {
					pause(working, 100*time.Millisecond)
					continue
				}
				pause(working, hold/2+rand.N(hold))
				l.Release()
				if rest > 0 {
					pause(working, rest)
				}
			}
		})
	}
	return r
}

// leave ends the process in order.
func (r *replica) leave(t *testing.T) {
	t.Helper()
	r.stop()
	r.busy.Wait()
	r.pool.Close(ctx)
	short, cancel := context.WithTimeout(ctx, 3*lease)
	defer cancel()
	if err := r.q.Close(short); err != nil {
		t.Error(err)
	}
}

// kill ends the process without telling the ledger.
func (r *replica) kill(p *provider, id int) {
	end(r.q)
	p.dropAll(id)
	r.stop()
	r.busy.Wait()
	r.pool.Close(ctx)
}

// seed returns the seed of a random test and logs it.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	s := rand.Uint64()
	if given, err := strconv.ParseUint(os.Getenv("RESPOOL_SEED"), 10, 64); err == nil {
		s = given
	}
	t.Logf("RESPOOL_SEED=%d", s)
	return rand.New(rand.NewPCG(s, s))
}

// caused fails the test unless err matches all.
func caused(t *testing.T, err error, all ...error) {
	t.Helper()
	for _, target := range all {
		if !errors.Is(err, target) {
			t.Errorf("the error is %v, want one that matches %v", err, target)
		}
	}
}

var _ = fmt.Sprint
