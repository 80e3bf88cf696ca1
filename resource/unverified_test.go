package resource

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// quietPool returns a pool in a bubble, of size resources that have been leased and are idle.
func quietPool(t *testing.T, size int) *Pool[int] {
	t.Helper()
	return quietPoolOf(t, Config[int]{MaxSize: size, Make: func(context.Context) (int, error) { return 0, nil }})
}

// quietPoolOf is quietPool with all of a Config.
func quietPoolOf(t *testing.T, cfg Config[int]) *Pool[int] {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ls := make([]Lease[int], cfg.MaxSize)
	for i := range ls {
		if ls[i], err = p.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range ls {
		l.Release()
	}
	return p
}

// TestUnverified_Counts: an unverified resource is idle, and not leased.
func TestUnverified_Counts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quietPool(t, 4)
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		p.lock()
		defer p.unlock()
		for range 2 {
			p.health.hold(p.idle.take(nil, 0), p.clock.nowTick(), p.cfg.Order)
		}
		if n := p.leasedLocked(); n != 1 {
			t.Errorf("%d leased, want 1", n)
		}
		if n := p.idlersLocked(); n != 3 {
			t.Errorf("%d idle, want 3", n)
		}
		p.readmitLocked()
		if n := p.leasedLocked(); n != 1 || p.health.unverified.n != 0 {
			t.Errorf("%d leased, %d unverified after the readmission", n, p.health.unverified.n)
		}
	})
}

// TestUnverified_Readmitted: when the suspicion ends, resources that are readmitted make room for a
// caller that can use none of them, at once, and the scan goes on.
func TestUnverified_Readmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quietPool(t, 1)
		p.lock()
		p.health.hold(p.idle.take(nil, 0), p.clock.nowTick(), p.cfg.Order)
		p.unlock()
		served := make(chan Lease[int])
		began := time.Now()
		go func() {
			l, err := p.AcquireWith(context.Background(), Request{Fresh: true})
			if err != nil {
				t.Error(err)
			}
			served <- l
		}()
		synctest.Wait()
		if s := p.Stats(); s.Waiting != 1 {
			t.Errorf("%+v", s)
		}
		p.lock()
		p.health.scanning = true // as if the scan waited for a check to end
		p.endSuspicionLocked()
		p.health.scanning = false
		if len(p.health.freed) != 1 {
			t.Error("the scan is not woken")
		}
		p.unlock()
		l := <-served
		if took := time.Since(began); took > 0 {
			t.Errorf("served after %v", took)
		}
		l.Release()
	})
}

// TestUnverified_RoomAfterFailure: also where the last creation has failed, an unverified resource
// makes room for a waiter, but only one for all of them, whose creation shows whether it is over.
func TestUnverified_RoomAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const makes = 50 * time.Millisecond
		p := quietPoolOf(t, Config[int]{MaxSize: 4, Make: func(context.Context) (int, error) {
			time.Sleep(makes)
			return 0, nil
		}})
		p.lock()
		for range 4 {
			p.health.hold(p.idle.take(nil, 0), p.clock.nowTick(), p.cfg.Order)
		}
		p.health.since = p.clock.now()
		p.health.scanning = true // as if the scan waited for a check to end
		p.maker.last = errors.New("refused")
		p.unlock()
		served := make(chan Lease[int], 2)
		began := time.Now()
		for range 2 {
			go func() {
				l, err := p.Acquire(context.Background())
				if err != nil {
					t.Error(err)
				}
				served <- l
			}()
		}
		time.Sleep(minSuspicion + makes/2)
		p.lock()
		if n := p.health.unverified.n; n != 3 {
			t.Errorf("%d unverified during the first creation, want 3", n)
		}
		p.unlock()
		ls := []Lease[int]{<-served, <-served}
		if took := time.Since(began); took > minSuspicion+2*makes {
			t.Errorf("served after %v, want the checks' %v and two creations", took, minSuspicion)
		}
		p.lock()
		p.health.scanning = false
		p.endSuspicionLocked()
		p.unlock()
		for _, l := range ls {
			l.Release()
		}
	})
}

// slowFailure is a Health whose checks take 200 ms and fail, except that of a new resource.
type slowFailure struct{}

func (slowFailure) Due(i Info) bool { return i.Leases > 0 }

func (slowFailure) Check(context.Context, int, Info) error {
	time.Sleep(200 * time.Millisecond) // virtual: it is called in a bubble
	return errors.New("dead")
}

// TestSuspicion_AllFailed: a suspicion ends with the check of the last suspect resource, also if
// that fails.
func TestSuspicion_AllFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quietPoolOf(t, Config[int]{
			// Two of seven suspect ones are checked at once: the scan does not wait for the last check.
			MaxSize: 8, Health: slowFailure{}, Make: func(context.Context) (int, error) { return 0, nil },
		})
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.lock()
		if p.health.suspect.Active() || p.health.alert.Load() {
			t.Error("resources are suspect when all have been checked")
		}
		p.unlock()
		l.Release()
	})
}

// TestListed_AfterWaiters: a caller that finds the pool without waiters, and one comes before the
// caller has the lock, does not overtake it.
func TestListed_AfterWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quietPool(t, 1)
		p.lock()
		e := p.idle.take(nil, 0) // as if it was leased
		p.unlock()
		served := make(chan Lease[int])
		go func() {
			l, err := p.Acquire(context.Background())
			if err != nil {
				t.Error(err)
			}
			served <- l
		}()
		synctest.Wait()
		p.lock()
		p.idle.list.pushUnder(e)
		p.unlock()
		if l, ok := p.listed(0); ok {
			t.Error("a caller overtakes one that waits")
			l.Release()
		}
		p.lock()
		p.serveLocked()
		p.unlock()
		l := <-served
		l.Release()
	})
}

// TestHit_IdleTime: a lease from the hit path knows how long its resource was idle.
func TestHit_IdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quietPool(t, 2)
		other, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		time.Sleep(3 * tickLen / 2)
		other.Release() // the clock runs on
		time.Sleep(tickLen)
		p.slowPath.CompareAndSwap(timeNext, 0) // the next acquire is to be timed
		l, ok := p.hit(localIndex(len(p.slots)), false)
		if !ok {
			t.Fatalf("no hit: slowPath %d, slots %b", p.slowPath.Load(), p.idle.occupied)
		}
		if i := l.Info(); i.Idle < tickLen || i.Idle > 3*tickLen {
			t.Errorf("idle for %v", i.Idle)
		}
		l.Release()
	})
}
