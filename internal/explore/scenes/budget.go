package main

import (
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/budget"
	"github.com/respool/respool/internal/explore/sched"
)

var budgetScenes = []sched.Scene{
	{Name: "budget-continue", Doc: "budget: a claim against the goroutine that continues a Settle with much to do", Bound: 2, Run: budgetContinue},
}

// claimant is a member of a Budget that counts the slots that it is granted.
type claimant struct{ granted atomic.Int32 }

func (c *claimant) Granted() { c.granted.Add(1) }

func (c *claimant) GiveWay(time.Duration) (budget.Answer, time.Duration) { return budget.Nothing, 0 }

func (c *claimant) Attend() {}

// budgetContinue has a claim meet every step of the end of a Settle that another goroutine continues: it
// grants more slots than one caller does.
func budgetContinue(x *sched.X) {
	const much = 64
	b := budget.New(much+1, func() time.Duration { return 0 })
	busy, late := new(claimant), new(claimant)
	b.Join(busy).Claim(much, false)
	x.Actor("settles", b.Settle)
	x.Actor("claims", func() {
		b.Join(late).Claim(1, false)
		b.Settle()
	})
	x.Explore()
	x.Require(busy.granted.Load() == much && late.granted.Load() == 1, "I7: %d slots are granted of %d, and %d of 1", busy.granted.Load(), much, late.granted.Load())
}
