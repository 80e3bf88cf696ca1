package proof_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// The history of a full pool with n resources must be linearizable: there must be an order
// of the calls, each at one instant between its start and its return, that explains the
// results.
//
// An acquire has two such instants: it joins the queue, and it is served or leaves. The
// queue length in Stats determines the first one. Without that a LIFO pool could not be
// distinguished from a fair one, since the instant at which Acquire begins to wait is not
// observable.

// act is the kind of a step.
type act uint8

const (
	join   act = iota
	serve      // it got thing
	expire     // its context ended: it is skipped, although Stats still counts it
	leave      // it failed
	try        // it got thing, or none
	release
	look // Stats returned the number of waiters
)

// none means no resource.
const none = -1

// step is one operation of a history, with its result.
type step struct {
	act   act
	who   byte // the acquire: unique among overlapping ones
	thing int
	n     int
}

// line is a state of the model: the free resources, the waiters in order, and the waiters
// whose context has ended.
type line struct {
	free       uint32
	wait, dead string
}

// next reports whether s is possible in state l, and the state after it.
func (l line) next(s step) (bool, line) {
	bit := uint32(0)
	if s.thing >= 0 {
		bit = 1 << s.thing
	}
	free := l.free&bit != 0
	who := string(rune(s.who))
	var ok bool
	switch s.act {
	case join:
		ok, l.wait = true, l.wait+who
	case serve:
		ok = free && strings.HasPrefix(l.wait, who)
		l.free, l.wait = l.free&^bit, strings.TrimPrefix(l.wait, who)
	case expire:
		ok = strings.Contains(l.wait, who)
		l.wait, l.dead = strings.Replace(l.wait, who, "", 1), l.dead+who
	case leave:
		ok = strings.Contains(l.dead, who)
		l.dead = strings.Replace(l.dead, who, "", 1)
	case try:
		ok = free && l.wait == ""
		if s.thing == none {
			ok = tryMayMiss || l.free == 0 || l.wait != ""
		}
		l.free &^= bit
	case release:
		ok, l.free = !free, l.free|bit
	case look:
		ok = len(l.wait)+len(l.dead) == s.n
	}
	return ok, l
}

func (s step) String() string {
	name := []string{"join", "serve", "expire", "leave", "try", "release", "look"}[s.act]
	return fmt.Sprintf("%s who %d thing %d waiting %d", name, s.who, s.thing, s.n)
}

// lineModel is the model of a full pool of n resources.
func lineModel(n int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return line{free: 1<<n - 1} },
		Step: func(state, input, _ any) (bool, any) { return state.(line).next(input.(step)) },
	}
}

// explain reports whether a history is linearizable.
func explain(n int, history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(lineModel(n), history, 20*time.Second)
}
