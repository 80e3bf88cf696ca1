package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// adversary is a Ledger that a network and an engine with faults lie before: messages are
// lost, late beyond the lease, come twice and out of order, and answers come after the
// context of the claim has ended, which it does not respect.
type adversary struct {
	*fleet.Memory
	mu    sync.Mutex
	rand  *rand.Rand
	lease time.Duration
	later sync.WaitGroup // what is still under way: a Quota does not wait for a claim that takes too long
	calm  atomic.Bool
}

func (a *adversary) number(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rand.IntN(n)
}

// below returns a duration below d.
func (a *adversary) below(d time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Duration(a.rand.Int64N(int64(d)))
}

// upTo sleeps for up to d.
func (a *adversary) upTo(d time.Duration) { time.Sleep(a.below(d)) }

func (a *adversary) Claim(_ context.Context, c fleet.Claim) (fleet.Grant, error) {
	a.later.Add(1)
	defer a.later.Done()
	if a.calm.Load() {
		return a.Memory.Claim(context.Background(), c)
	}
	switch a.number(12) {
	case 0: // the request is lost
		a.upTo(a.lease / 4)
		return fleet.Grant{}, errLost
	case 1: // the request arrives much later than the caller has given up
		a.again(c, 3*a.lease)
		return fleet.Grant{}, errLost
	case 2: // it arrives twice, or three times
		a.again(c, a.lease/2)
		a.again(c, 3*a.lease)
	case 3: // it is late
		a.upTo(2 * a.lease)
	}
	g, err := a.Memory.Claim(context.Background(), c)
	switch a.number(12) {
	case 0: // the answer is lost
		return fleet.Grant{}, errLost
	case 1: // it is lost, and the claim comes again
		a.again(c, a.lease)
		return fleet.Grant{}, errLost
	case 2: // it is late
		a.upTo(2 * a.lease)
	case 3:
		a.upTo(a.lease / 3)
	}
	return g, err
}

// again delivers a copy of the claim within d.
func (a *adversary) again(c fleet.Claim, d time.Duration) {
	a.later.Go(func() {
		a.upTo(d)
		_, _ = a.Memory.Claim(context.Background(), c)
	})
}

// Processes whose ledger is an adversary never have more than the limit together, with
// FailClosed and CloseBeforeExpiry, while the engine loses its data now and then.
func TestAdversary(t *testing.T) {
	seed, runs := rand.Uint64(), 12
	if testing.Short() {
		runs = 4
	}
	if s := os.Getenv("RESPOOL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, runs = n, 1
	}
	most, admitted := 0, 0
	for i := range uint64(runs) {
		synctest.Test(t, func(t *testing.T) {
			m, n := runAdversary(t, seed+i)
			most, admitted = max(most, m), admitted+n
		})
	}
	t.Logf("RESPOOL_SEED=%d: %d sessions, at most %d at once", seed, admitted, most)
	if admitted < 100*runs {
		t.Errorf("only %d sessions in %d runs: nothing was tested", admitted, runs)
	}
}

func runAdversary(t *testing.T, seed uint64) (most, admitted int) {
	const limit, processes, users = 20, 6, 8
	a := &adversary{Memory: fleet.NewMemory(), rand: rand.New(rand.NewPCG(seed, 0)), lease: lease}
	running, stop := context.WithTimeout(ctx, 40*lease)
	defer stop()
	var mu sync.Mutex
	inUse := 0
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		if inUse += n; inUse > limit {
			t.Errorf("RESPOOL_SEED=%d: %d sessions at %v, and the limit is %d", seed, inUse, time.Since(bubbleBegan()), limit)
		}
		most = max(most, inUse)
	}
	var quotas []*fleet.Quota
	var all sync.WaitGroup
	for p := range processes {
		q := newQuota(t, fleet.Config{Ledger: a, Limit: limit, OnLost: fleet.FailClosed, CloseBeforeExpiry: true, Min: p % 3, Priority: p % 2})
		quotas = append(quotas, q)
		for range users {
			all.Go(func() {
				for running.Err() == nil {
					patience, cancel := context.WithTimeout(running, 3*lease)
					done, err := q.Admit(patience, resource.Request{})
					cancel()
					if err != nil {
						a.upTo(time.Second)
						continue
					}
					// A session lasts until its user has finished or the lease ends.
					expired := make(chan struct{})
					var once sync.Once
					release := func() {
						once.Do(func() { count(-1) })
					}
					count(1)
					mu.Lock()
					admitted++
					mu.Unlock()
					unhook := q.OnExpiry(func(error) {
						release()
						close(expired)
					})
					select {
					case <-expired:
					case <-time.After(1 + a.below(lease)):
						if unhook() {
							release()
						} else {
							<-expired
						}
					}
					done(resource.Outcome{Verdict: resource.OK})
					a.upTo(lease / 10)
				}
			})
		}
	}
	for range 4 {
		time.Sleep(time.Duration(5+a.number(5)) * lease)
		a.Forget()
	}
	all.Wait()
	a.calm.Store(true)
	for _, q := range quotas {
		patience, cancel := context.WithTimeout(ctx, 10*lease)
		if err := q.Close(patience); err != nil {
			t.Errorf("RESPOOL_SEED=%d: Close: %v", seed, err)
		}
		cancel()
	}
	a.later.Wait()
	if inUse != 0 {
		t.Errorf("RESPOOL_SEED=%d: %d sessions are left", seed, inUse)
	}
	return most, admitted
}

// bubbleBegan is when time begins in a bubble.
func bubbleBegan() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// liar is a ledger whose grants are changed.
type liar struct {
	*fleet.Memory
	lie atomic.Pointer[func(c fleet.Claim, g *fleet.Grant)]
}

func (l *liar) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	g, err := l.Memory.Claim(ctx, c)
	if lie := l.lie.Load(); lie != nil && err == nil {
		(*lie)(c, &g)
	}
	return g, err
}

// A grant that breaks the contract is an error and admits nothing: the engine, or what is
// between, is another one than the process believes.
func TestImpossibleGrants(t *testing.T) {
	for name, lie := range map[string]func(c fleet.Claim, g *fleet.Grant){
		"fewer than it has":             func(c fleet.Claim, g *fleet.Grant) { g.Granted = c.Has - 1 },
		"more than it wants":            func(c fleet.Claim, g *fleet.Grant) { g.Granted, g.Total = c.Want+1, c.Want+1 },
		"a target beyond what it wants": func(c fleet.Claim, g *fleet.Grant) { g.Target = c.Want + 1 },
		"no limit":                      func(_ fleet.Claim, g *fleet.Grant) { g.Limit = 0 },
		"a limit beyond its own":        func(c fleet.Claim, g *fleet.Grant) { g.Limit = c.Limit + 1 },
		"less in total than it has":     func(_ fleet.Claim, g *fleet.Grant) { g.Total = g.Granted - 1 },
		"no lease":                      func(_ fleet.Claim, g *fleet.Grant) { g.Lease = 0 },
		"a negative target":             func(_ fleet.Claim, g *fleet.Grant) { g.Target = -1 },
		"no holders":                    func(_ fleet.Claim, g *fleet.Grant) { g.Holders = 0 },
		"more holders than units":       func(_ fleet.Claim, g *fleet.Grant) { g.Granted, g.Holders, g.Next = 0, math.MaxInt, time.Millisecond },
		"a highest limit without bound": func(_ fleet.Claim, g *fleet.Grant) { g.Highest = math.MaxInt },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &liar{Memory: fleet.NewMemory()}
				l.Begin("account")
				l.lie.Store(&lie)
				q := newQuota(t, fleet.Config{Ledger: l, Limit: 10, OnLost: fleet.FailClosed})
				short, cancel := context.WithTimeout(ctx, lease/2)
				_, err := q.Admit(short, resource.Request{})
				cancel()
				if err == nil {
					t.Error("a unit was admitted")
				}
				if s := q.Snapshot(); s.LostCause == nil || !strings.Contains(s.LostCause.Error(), "invalid grant") || s.Failed == 0 {
					t.Errorf("the cause is %v after %d failures, want that the grant is invalid", s.LostCause, s.Failed)
				}
				l.lie.Store(nil)
				short, cancel = context.WithTimeout(ctx, lease)
				done, err := q.Admit(short, resource.Request{})
				cancel()
				if errors.Is(err, fleet.ErrLost) { // refused at once while the last claim has failed
					time.Sleep(lease)
					done, err = q.Admit(ctx, resource.Request{})
				}
				if err != nil {
					t.Fatal(fmt.Errorf("the ledger tells the truth again: %w", err))
				}
				done(resource.Outcome{})
				end(q)
			})
		})
	}
}
