package proof_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// What callers of a full pool with n resources see must be explained by some
// order in which the calls happened one after the other, each at one instant
// between its start and its return.
//
// An acquire is two such steps in one interval, to join the line and to be
// served or to leave; what Stats says of the line pins the first of them down.
// Without that a pool that serves the last comer could not be told from a fair
// one, as nobody sees when a call of Acquire begins to wait.

// act is what a step does.
type act uint8

const (
	join   act = iota
	serve      // it got thing
	expire     // its context ended: it is passed over, though Stats counts it still
	leave      // it went without
	try        // it got thing, or none
	release
	look // Stats said so many wait
)

// none stands for no resource.
const none = -1

// step is the input of one operation in a history, and says what came out.
type step struct {
	act   act
	who   byte // which acquire: unique among those that overlap
	thing int
	n     int
}

// line is a state of the model: which things are free, who waits, the first in
// front, and whose context has ended.
type line struct {
	free       uint32
	wait, dead string
}

// next says whether s can happen in l, and what is then.
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

// lineModel is the model of a pool of n things that all exist.
func lineModel(n int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return line{free: 1<<n - 1} },
		Step: func(state, input, _ any) (bool, any) { return state.(line).next(input.(step)) },
	}
}

// explain asks for an order that explains a history.
func explain(n int, history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(lineModel(n), history, 20*time.Second)
}
