package fleet_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

var errDown = errors.New("test: connection refused")

// lostQuota returns a quota that has held units of 20 and whose ledger has not answered
// since, with the permits. Before that there were as many holders.
func lostQuota(t *testing.T, cfg fleet.Config, held, holders int) (*engine, *fleet.Quota, []resource.Done) {
	t.Helper()
	e := newEngine("account")
	cfg.Ledger, cfg.Limit = e, 20
	for i := range holders - 1 {
		c := fleet.Claim{Quota: "account", Holder: string(rune('a' + i)), Seq: 1, Want: 1, Limit: 20, Lease: time.Hour}
		if _, err := e.Memory.Claim(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	q := newQuota(t, cfg)
	dones := admit(t, q, held)
	time.Sleep(lease)
	e.set(func(e *engine) { e.down = errDown })
	return e, q, dones
}

func TestQuota_LostKeepsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, q, dones := lostQuota(t, fleet.Config{OnLost: fleet.FailClosed, Slack: 3}, 4, 2)
		defer end(q)
		time.Sleep(lease * 2 / 5) // the lease lasts, and so does what was granted
		s := q.Snapshot()
		if s.Lost == 0 || !errors.Is(s.LostCause, errDown) || s.Granted != 7 || s.LastError == "" {
			t.Errorf("the state is %+v", s)
		}
		dones = append(dones, admit(t, q, s.Granted-s.Held)...)
		returnAll(dones)
	})
}

func TestQuota_FailClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, q, dones := lostQuota(t, fleet.Config{OnLost: fleet.FailClosed, Slack: 3}, 4, 2)
		defer end(q)
		time.Sleep(lease)
		_, err := q.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrLost, resource.ErrRejected, errDown)
		var r *resource.Rejection
		if !errors.As(err, &r) || r.RetryAfter <= 0 || r.RetryAfter > lease/3 || r.Policy != "account" {
			t.Errorf("the refusal is %+v", r)
		}
		if s := q.Snapshot(); s.Granted != 0 || s.Held != 4 || s.Over != 4 || s.OverTotal != 4 || s.Lapses != 1 || s.Left != 0 || s.Refused != 1 {
			t.Errorf("the state is %+v", s)
		}
		e.set(func(e *engine) { e.down = nil })
		time.Sleep(lease / 3)
		synctest.Wait()
		dones = append(dones, admit(t, q, 1)...)
		if s := q.Snapshot(); s.Lost != 0 || s.LostCause != nil || s.Over != 0 || s.Held != 5 || s.Granted < 5 {
			t.Errorf("the state afterwards is %+v", s)
		}
		returnAll(dones)
	})
}

// A request that waits when the ledger is lost is refused at the end of the lease, and does
// not wait for its own context.
func TestQuota_LostRefusesWaiting(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e, q, dones := lostQuota(t, fleet.Config{OnLost: fleet.FailClosed}, 19, 2)
			defer end(q)
			if hang {
				e.set(func(e *engine) { e.down, e.hang = nil, true })
			}
			began := time.Now()
			_, err := q.Admit(ctx, resource.Request{})
			caused(t, err, fleet.ErrLost)
			if took := time.Since(began); took > lease*7/6 {
				t.Errorf("it was refused after %v", took)
			}
			returnAll(dones)
		})
	}
}

func TestQuota_LocalShare(t *testing.T) {
	for _, c := range []struct{ held, holders, min, want int }{
		{held: 1, holders: 4, want: 5},
		{held: 1, holders: 3, want: 6},
		{held: 8, holders: 4, want: 8}, // what is held stays
		{held: 1, holders: 3, min: 7, want: 7},
		{held: 0, holders: 1, want: 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, q, dones := lostQuota(t, fleet.Config{Min: c.min}, c.held, c.holders)
			defer end(q)
			time.Sleep(lease)
			dones = append(dones, admit(t, q, c.want-c.held)...)
			_, err := q.Admit(ctx, resource.Request{})
			caused(t, err, fleet.ErrLost)
			if s := q.Snapshot(); s.Held != c.want || s.Mode != "local share" {
				t.Errorf("the state is %+v", s)
			}
			returnAll(dones)
		})
	}
}

// A process that has never reached the ledger has its minimum, or one unit.
func TestQuota_LostFromTheStart(t *testing.T) {
	for least, want := range []int{1, 1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			e := newEngine("account")
			e.down = errDown
			q := newQuota(t, fleet.Config{Ledger: e, Min: least})
			defer end(q)
			dones := admit(t, q, want)
			_, err := q.Admit(ctx, resource.Request{})
			caused(t, err, fleet.ErrLost)
			returnAll(dones)
		})
	}
}

func TestQuota_FailOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, q, dones := lostQuota(t, fleet.Config{OnLost: fleet.FailOpen}, 2, 4)
		defer end(q)
		time.Sleep(lease)
		dones = append(dones, admit(t, q, 198)...)
		if s := q.Snapshot(); s.Over != 200 || s.Mode != "fail open" {
			t.Errorf("the state is %+v", s)
		}
		e.set(func(e *engine) { e.down = nil })
		time.Sleep(lease / 2)
		synctest.Wait()
		if s := q.Snapshot(); s.Granted != 200 || s.Total < 200 || s.Limit != 20 || s.Target > 19 {
			t.Errorf("the state afterwards is %+v", s)
		}
		returnAll(dones)
	})
}

// While the ledger is learning, holders keep what they have and get nothing more; LocalShare
// lets them have their share of before.
func TestQuota_Learning(t *testing.T) {
	for _, mode := range []fleet.LostMode{fleet.FailClosed, fleet.LocalShare, fleet.FailOpen} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine("account")
				old := newQuota(t, fleet.Config{Ledger: e, Limit: 20, OnLost: mode})
				other := newQuota(t, fleet.Config{Ledger: e, Limit: 20, OnLost: mode})
				defer end(old)
				defer end(other)
				dones := append(admit(t, old, 3), admit(t, other, 3)...)
				time.Sleep(lease)
				e.Forget()
				eventually(t, lease/2, "learning", func() bool { return old.Snapshot().Learning && other.Snapshot().Learning })
				forgot := time.Now()
				if s := old.Snapshot(); s.Granted < 3 || s.Total < 3 {
					t.Errorf("the state is %+v", s)
				}
				admitted := 0
				for range 30 {
					short, cancel := context.WithTimeout(ctx, time.Millisecond)
					done, err := old.Admit(short, resource.Request{})
					cancel()
					if err == nil {
						admitted++
						dones = append(dones, done)
					}
				}
				want := map[fleet.LostMode]int{fleet.FailClosed: 1, fleet.LocalShare: 7, fleet.FailOpen: 30}[mode]
				if admitted < want-1 || admitted > want { // with or without the unit of slack
					t.Errorf("%d admitted while learning, want %d", admitted, want)
				}
				if mode == fleet.FailClosed {
					dones = append(dones, admitWithin(t, old, lease+lease/10, 4)...)
					t.Logf("served %v after the ledger had forgotten", time.Since(forgot))
				}
				returnAll(dones)
			})
		})
	}
}

func admitWithin(t *testing.T, a resource.Admission, d time.Duration, n int) (dones []resource.Done) {
	t.Helper()
	within, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for range n {
		done, err := a.Admit(within, resource.Request{})
		if err != nil {
			t.Fatal(err)
		}
		dones = append(dones, done)
	}
	return dones
}

// freezer stops the goroutines of a process, as SIGSTOP does: their timers still fire in the
// bubble, but nothing happens before the process continues.
type freezer struct {
	mu     sync.Mutex
	frozen chan struct{} // closed when the process continues; nil: it runs
}

func (f *freezer) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = make(chan struct{})
}

func (f *freezer) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.frozen)
	f.frozen = nil
}

func (f *freezer) stopped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.frozen != nil
}

// wait blocks while the process is stopped.
func (f *freezer) wait() {
	f.mu.Lock()
	frozen := f.frozen
	f.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// A process that was stopped for longer than its lease closes what it has before it uses it,
// and admits nothing that the lease before would have allowed.
func TestQuota_StoppedProcess(t *testing.T) {
	for _, strict := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			e := newEngine("account")
			var f freezer
			q, err := fleet.NewStoppable(fleet.Config{
				Ledger: e, Quota: "account", Limit: 10, OnLost: fleet.FailClosed, CloseBeforeExpiry: strict,
			}, f.wait)
			if err != nil {
				t.Fatal(err)
			}
			defer end(q)
			other := newQuota(t, fleet.Config{Ledger: e, Limit: 10, OnLost: fleet.FailClosed, Slack: -1})
			defer end(other)
			dones := admit(t, q, 4)
			open := 4
			var mu sync.Mutex
			for range 4 {
				q.OnExpiry(func(cause error) {
					caused(t, cause, fleet.ErrExpired)
					mu.Lock()
					defer mu.Unlock()
					open--
				})
			}
			f.stop()
			time.Sleep(lease - lease/10)
			theirs := admitWithin(t, other, 2*lease, 10) // all of it, for the ledger has taken the 4 back
			f.resume()
			if strict { // the check in Admit does not depend on a timer that is about to fire
				soon, cancel := context.WithTimeout(ctx, time.Nanosecond)
				if _, err := q.Admit(soon, resource.Request{}); err == nil {
					t.Error("admitted although the lease has ended")
				}
				cancel()
			}
			synctest.Wait()
			time.Sleep(lease / 2)
			mu.Lock()
			left := open
			mu.Unlock()
			s := q.Snapshot()
			if strict && left != 0 || !strict && left != 4 {
				t.Errorf("%d of 4 are open", left)
			}
			if s.Lapses != 1 || s.OverTotal != 4 {
				t.Errorf("the state is %+v", s)
			}
			if !strict && s.Total != 14 {
				t.Errorf("the ledger knows of %d units, want 14: those in use are reported beyond the limit", s.Total)
			}
			returnAll(dones)
			returnAll(theirs)
		})
	}
}

// A ledger whose call ends its goroutine, or does not return when its context ends, is one
// that does not answer; the Quota makes no second call beside one that hangs.
func TestQuota_RudeLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		free := make(chan struct{})
		var calls atomic.Int64
		e.override = func(c fleet.Claim, do func() (fleet.Grant, error)) (fleet.Grant, error) {
			switch calls.Add(1) {
			case 1:
				runtime.Goexit()
			case 2:
				<-free
			}
			return do()
		}
		q := newQuota(t, fleet.Config{Ledger: e, OnLost: fleet.FailClosed})
		_, err := q.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrLost)
		time.Sleep(lease)
		_, err = q.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrLost)
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls, want 2: one has not returned", n)
		}
		close(free)
		time.Sleep(lease / 2)
		returnAll(admit(t, q, 1))
		end(q)
	})
}

// A classifier that ends its goroutine costs no unit.
func TestQuota_RudeClassifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), TooMany: func(error) bool { runtime.Goexit(); return true }})
		done := admit(t, q, 1)[0]
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			done(resource.Outcome{Verdict: resource.Failed, Err: errDown})
		}()
		<-ended
		if s := q.Snapshot(); s.Held != 0 {
			t.Errorf("%d units are held", s.Held)
		}
		end(q)
	})
}
