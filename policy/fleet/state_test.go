package fleet_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// TestQuota_Snapshot: each field of the state, before the first answer, while the ledger answers,
// while it does not, and after a refusal of the provider.
func TestQuota_Snapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{
			Ledger: e, Limit: 10, Slack: 2, OnLost: fleet.FailClosed, TooMany: func(err error) bool { return err == errTooManySessions },
		})
		var s fleet.State
		is := func(when string, want fleet.State, text string) {
			t.Helper()
			s = q.Snapshot()
			want.Name, want.Mode, want.Holder = "account", "fail closed", s.Holder
			want.Operations, want.Failed, want.Fence, want.Left, want.Lost = s.Operations, s.Failed, s.Fence, s.Left, s.Lost
			want.LostCause, want.LastError = s.LostCause, s.LastError
			if s != want {
				t.Errorf("%s the state is %+v, want %+v", when, s, want)
			}
			if got := q.State(); got != text {
				t.Errorf("%s the state is %q, want %q", when, got, text)
			}
			if all := q.SharedQuotas(); len(all) != 1 || all[0] != s.SharedQuota {
				t.Errorf("%s SharedQuotas returns %+v", when, all)
			}
		}
		state := func(q resource.SharedQuota, s fleet.State) fleet.State {
			s.SharedQuota = q
			return s
		}
		synctest.Wait() // the first claim is under way
		is("before the first answer", state(resource.SharedQuota{Want: 2, Limit: 10, Highest: 10}, fleet.State{}),
			"account: 0 in use of 0 granted, target 0 of 10, 0 holders")
		if s.Fence != 0 || s.Left != 0 || s.Lost != 0 || s.Operations != 0 {
			t.Errorf("the state is %+v", s)
		}

		dones := admit(t, q, 3)
		c := fleet.Claim{Quota: "account", Holder: "other", Seq: 1, Has: 1, Want: 1, Limit: 8, Lease: time.Hour}
		if _, err := e.Memory.Claim(ctx, c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lease)
		is("with an answer",
			state(resource.SharedQuota{Held: 3, Granted: 5, Want: 5, Target: 5, Limit: 8, Highest: 10, Total: 6, Holders: 2},
				fleet.State{Slack: 2, Disagree: true, Waits: q.Snapshot().Waits}),
			"account: 3 in use of 5 granted, target 5 of 8, 2 holders, limits from 8 to 10")
		if s.Waits < 1 || s.Waits > 3 || s.Fence == 0 || s.Left <= lease/2 || s.Left > lease || s.Lost != 0 || s.LostCause != nil || s.LastError != "" || s.Failed != 0 || s.Operations < 3 {
			t.Errorf("the state is %+v", s)
		}
		waits := s.Waits
		refused := make(chan error)
		for _, cost := range []int{6, 1} { // the small one waits behind the large one
			go func() {
				_, err := q.Admit(ctx, resource.Request{Cost: cost})
				refused <- err
			}()
			synctest.Wait()
		}
		if s := q.Snapshot(); s.Waiting != 2 || s.Waits != waits+2 {
			t.Errorf("the state is %+v", s)
		}

		e.set(func(e *engine) { e.down = errDown })
		eventually(t, lease, "a claim fails", func() bool { return q.Snapshot().Failed > 0 })
		failed := time.Now()
		time.Sleep(2 * lease) // the lease is over
		for range 2 {
			if err := <-refused; !errors.Is(err, fleet.ErrLost) {
				t.Errorf("the error is %v", err)
			}
		}
		last := q.Snapshot() // what the last claim and its answer said depends on when it was made
		text := "account: 3 in use of 0 granted, target " + strconv.Itoa(last.Target) + " of 8, 2 holders, no answer for " + last.Lost.Round(time.Second/10).String() +
			", 3 over, limits from 8 to 10"
		is("without an answer",
			state(resource.SharedQuota{Held: 3, Want: last.Want, Target: last.Target, Limit: 8, Highest: 10, Total: last.Total, Holders: 2, Over: 3, OverTotal: 3},
				fleet.State{Disagree: true, Waits: waits + 2, Refused: 2, Lapses: 1}), text)
		if s.Want < 3 || s.Target < 5 || s.Target > 7 || s.Total != s.Target+1 {
			t.Errorf("the state is %+v", s)
		}
		if lost := time.Since(failed); s.Lost < lost || s.Lost > lost+20*time.Millisecond || s.LostCause != errDown || s.LastError != errDown.Error() || s.Left != 0 || s.Failed < 5 {
			t.Errorf("lost for %v; the state is %+v", lost, s)
		}
		if _, err := q.Admit(ctx, resource.Request{}); !errors.Is(err, fleet.ErrLost) || q.Snapshot().Refused != 3 {
			t.Errorf("the error is %v, the state %+v", err, q.Snapshot())
		}

		e.set(func(e *engine) { e.down = nil })
		time.Sleep(lease)
		if s := q.Snapshot(); s.Ceiling != 0 || s.TooMany != 0 || s.Lost != 0 || s.Over != 0 || s.OverTotal != 3 {
			t.Errorf("the state is %+v", s)
		}
		go func() {
			_, err := q.Admit(ctx, resource.Request{Cost: 6})
			refused <- err
		}()
		synctest.Wait()
		if !q.Report(errTooManySessions) {
			t.Error("not reported")
		}
		synctest.Wait()
		select { // it does not wait for the next answer of the ledger
		case err := <-refused:
			caused(t, err, fleet.ErrTooMany)
		default:
			t.Error("a request waits although the provider refuses")
		}
		if s := q.Snapshot(); s.Ceiling != 3 || s.TooMany != 1 || s.Refused != 4 {
			t.Errorf("the state is %+v", s)
		}
		returnAll(dones)
		if err := q.Close(ctx); err != nil || !q.Snapshot().Closing {
			t.Errorf("closed: %v, the state is %+v", err, q.Snapshot())
		}
	})
}

// A request beyond what was granted, which LocalShare admits while the ledger is learning, is
// stated to the ledger soon, and not with the next renewal.
func TestQuota_LearningIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine()
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 20, Min: 5})
		defer end(q)
		time.Sleep(time.Second)
		if s := q.Snapshot(); !s.Learning || s.Granted != 0 {
			t.Fatalf("the state is %+v", s)
		}
		dones := admit(t, q, 5)
		time.Sleep(lease / 50)
		if n := e.Granted("account")[q.Snapshot().Holder]; n != 5 {
			t.Errorf("the ledger knows of %d units, want 5", n)
		}
		returnAll(dones)
	})
}

// So is one that is admitted while a claim is under way, which was to ask for more than it says is
// in use.
func TestQuota_LearningIsToldDuringClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine()
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 20, Min: 5})
		defer end(q)
		time.Sleep(time.Second) // in the bubble
		var once sync.Once
		claimed, answer := make(chan struct{}), make(chan struct{})
		e.set(func(e *engine) {
			e.override = func(_ fleet.Claim, do func() (fleet.Grant, error)) (fleet.Grant, error) {
				once.Do(func() {
					close(claimed)
					<-answer
				})
				return do()
			}
		})
		dones := admit(t, q, 3)
		<-claimed
		dones = append(dones, admit(t, q, 2)...)
		close(answer)
		time.Sleep(lease / 50) // in the bubble
		if n := e.Granted("account")[q.Snapshot().Holder]; n != 5 {
			t.Errorf("the ledger knows of %d units, want 5", n)
		}
		returnAll(dones)
	})
}
