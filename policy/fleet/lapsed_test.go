package fleet_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// answers is a ledger that fails, or answers each claim with what the holder has.
type answers struct{ fails, learns, grants atomic.Bool }

func (a *answers) Claim(_ context.Context, c fleet.Claim) (fleet.Grant, error) {
	if a.fails.Load() {
		return fleet.Grant{}, errors.New("lost")
	}
	g := fleet.Grant{Granted: c.Has, Target: c.Want, Limit: c.Limit, Highest: c.Limit, Holders: 1, Lease: c.Lease, Fence: c.Seq, Learning: a.learns.Load()}
	if a.grants.Load() {
		g.Granted = c.Want
	}
	g.Total = g.Granted
	return g, nil
}

// A process whose lease was over states what it still has to a ledger that has lost all data.
// The ledger does not know that others got these units meanwhile: as they come back they
// must not be used again before the ledger has learned.
func TestLapsedWhileLearning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a answers
		a.grants.Store(true)
		q, err := fleet.New(fleet.Config{Ledger: &a, Quota: "q", Limit: 10, Lease: 3 * time.Second, OnLost: fleet.FailClosed, Slack: -1})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		var dones []resource.Done
		for range 3 {
			done, err := q.Admit(ctx, resource.Request{})
			if err != nil {
				t.Fatal(err)
			}
			dones = append(dones, done)
		}
		a.fails.Store(true)
		time.Sleep(4 * time.Second)
		a.grants.Store(false)
		a.learns.Store(true)
		a.fails.Store(false)
		time.Sleep(2 * time.Second)
		if s := q.Snapshot(); s.Granted != 3 || !s.Learning {
			t.Fatalf("the ledger is not learning what the process has: %+v", s)
		}
		for i, done := range dones {
			done(resource.Outcome{})
			if again, err := q.Admit(ctx, resource.Request{NoWait: true}); !errors.Is(err, fleet.ErrFull) {
				if err == nil {
					again(resource.Outcome{})
				}
				t.Errorf("when %d of 3 units had come back one was used again: %v", i+1, err)
			}
			time.Sleep(time.Second) // a renewal changes nothing about that
		}
		a.learns.Store(false)
		a.grants.Store(true)
		done, err := q.Admit(ctx, resource.Request{})
		if err != nil {
			t.Fatalf("after the learning: %v", err)
		}
		done(resource.Outcome{})
		if err := q.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}
