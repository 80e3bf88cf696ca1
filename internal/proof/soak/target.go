package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/internal/relay"
)

// A server is what a target hides behind its relay.
type server interface {
	addr() string
	open() int                            // connections
	accepted() int64                      // connections that were served, so far
	misbehave(r *rand.Rand) (what string) // begins one of the server's own faults, which draws three numbers
	heal()                                // ends its faults
	close()
}

// A target is a server with a relay before it, and the script of faults of both. A script draws the
// same number of random numbers in each step, whatever it finds, so the seed repeats it.
type target struct {
	name    string
	journal *journal
	server  server
	splits  bool // the relay may split what the server sends at once

	mu       sync.Mutex // guards what follows
	rand     *rand.Rand
	relay    *relay.Relay
	undos    []undo
	dark     bool  // an outage is on
	waiting  bool  // an outage has ended, and nothing was served since
	lifted   int64 // server.accepted when it ended
	survived int64 // outages after which a connection was served
}

// undo ends a fault.
type undo struct {
	at   time.Time
	what string // "": not noted
	do   func()
}

func newTarget(name string, j *journal, s server, splits bool, r *rand.Rand) (*target, error) {
	t := &target{name: name, journal: j, server: s, splits: splits, rand: r}
	var err error
	t.relay, err = relay.New(s.addr())
	return t, err
}

// addr is the address for clients.
func (t *target) addr() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.relay.Addr()
}

// script takes a step again and again until stop is closed. A step waits while the gate is closed.
func (t *target) script(stop <-chan struct{}, gate *sync.RWMutex) {
	for {
		t.mu.Lock()
		pause := time.Duration(t.rand.ExpFloat64() * float64(250*time.Millisecond))
		t.mu.Unlock()
		select {
		case <-stop:
			return
		case <-time.After(pause): // the pace of the script
		}
		gate.RLock()
		t.step(time.Now())
		gate.RUnlock()
	}
}

// A trouble is a fault of the network.
type trouble struct {
	name   string
	weight int
	splits bool
	begin  func(t *target, c *relay.Conn, d time.Duration) // c is nil if there is no connection; d is up to a second
}

// troubles are begun with t.mu held. What they leave in t.undos ends them.
var troubles = []trouble{
	{"nothing", 30, false, func(*target, *relay.Conn, time.Duration) {}},
	{"reset", 12, false, func(t *target, c *relay.Conn, _ time.Duration) { c.Reset() }},
	{"close", 6, false, func(t *target, c *relay.Conn, _ time.Duration) { c.Close() }},
	{"half-open", 8, false, func(t *target, c *relay.Conn, d time.Duration) {
		c.BlackHole()
		t.later(2*time.Second+4*d, "", c.Reset)
	}},
	{"answers lost", 5, false, func(t *target, c *relay.Conn, d time.Duration) {
		c.Down().BlackHole()
		t.later(2*time.Second+4*d, "", c.Reset)
	}},
	{"end of the answers", 5, false, func(t *target, c *relay.Conn, d time.Duration) {
		c.Down().Cut()
		t.later(2*time.Second+4*d, "", c.Reset)
	}},
	{"cut within a frame", 10, false, func(t *target, c *relay.Conn, d time.Duration) {
		c.Down().After(c.Down().Passed()+1+int64(d/(2*time.Millisecond)), c.Reset)
	}},
	{"cut within a request", 6, false, func(t *target, c *relay.Conn, d time.Duration) {
		c.Up().After(c.Up().Passed()+1+int64(d/(10*time.Millisecond)), c.Reset)
	}},
	{"stall of all", 4, false, func(t *target, c *relay.Conn, d time.Duration) {
		all := t.relay.Conns()
		for _, c := range all {
			c.Pause()
		}
		t.later(d, "stall ends", func() {
			for _, c := range all {
				c.Resume()
			}
		})
	}},
	{"stall", 6, false, func(t *target, c *relay.Conn, d time.Duration) {
		c.Pause()
		t.later(3*d, "", c.Resume)
	}},
	{"delay", 8, false, func(t *target, c *relay.Conn, d time.Duration) {
		c.Down().Delay(d / 50)
		t.later(2*d, "", func() { c.Down().Delay(0) })
	}},
	{"trickle", 8, true, func(t *target, c *relay.Conn, d time.Duration) {
		c.Down().Trickle(d / 500)
		t.later(d, "", func() { c.Down().Delay(0) })
	}},
	{"outage", 2, false, func(t *target, _ *relay.Conn, d time.Duration) { t.outage(500*time.Millisecond + 4*d) }},
	{"silence", 1, false, func(t *target, _ *relay.Conn, d time.Duration) {
		var mu sync.Mutex
		var held []*relay.Conn
		t.relay.OnConn(func(c *relay.Conn) {
			c.BlackHole()
			mu.Lock()
			defer mu.Unlock()
			held = append(held, c)
		})
		t.later(500*time.Millisecond+2*d, "silence ends", func() {
			t.relay.OnConn(nil)
			mu.Lock()
			defer mu.Unlock()
			for _, c := range held {
				c.Reset()
			}
		})
	}},
}

// own is the weight of the faults of the server itself.
const own = 14

// step ends the faults that are over, and begins another one.
func (t *target) step(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := own
	for _, f := range troubles {
		sum += f.weight
	}
	w, which, d := t.rand.IntN(sum), t.rand.Uint64(), time.Duration(t.rand.Int64N(int64(time.Second)))
	a, b := t.rand.Uint64(), t.rand.Uint64()
	t.undos = slices.DeleteFunc(t.undos, func(u undo) bool {
		if u.at.After(now) {
			return false
		}
		t.end(u)
		return true
	})
	t.look()
	if w -= own; w < 0 {
		t.journal.event(t.name, "server: %s", t.server.misbehave(rand.New(rand.NewPCG(a, b))))
		return
	}
	for _, f := range troubles {
		if w -= f.weight; w >= 0 {
			continue
		}
		global := f.name == "nothing" || f.name == "outage" || f.name == "silence" || f.name == "stall of all"
		var c *relay.Conn
		if all := t.relay.Conns(); len(all) > 0 {
			c = all[which%uint64(len(all))]
		}
		if f.name == "nothing" || t.dark || f.splits && !t.splits || c == nil && !global {
			return
		}
		t.journal.event(t.name, "%s (%v)", f.name, d.Round(time.Millisecond))
		f.begin(t, c, d)
		return
	}
}

// later has do called by the step that finds d passed.
func (t *target) later(d time.Duration, what string, do func()) {
	t.undos = append(t.undos, undo{time.Now().Add(d), what, do})
}

func (t *target) end(u undo) {
	u.do()
	if u.what != "" {
		t.journal.event(t.name, "%s", u.what)
	}
}

// outage resets all connections, those that exist and new ones, for d.
func (t *target) outage(d time.Duration) {
	t.dark = true
	r := t.relay
	r.OnConn((*relay.Conn).Reset)
	for _, c := range r.Conns() {
		c.Reset()
	}
	t.later(d, "outage ends", func() {
		r.OnConn(nil)
		t.dark, t.waiting, t.lifted = false, true, t.server.accepted()
	})
}

// look counts an outage as survived when a connection was served after it.
func (t *target) look() {
	if t.waiting && t.server.accepted() > t.lifted {
		t.waiting = false
		t.survived++
	}
}

// heal ends all faults, and the connections that have suffered from one that cannot be undone.
func (t *target) heal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range t.undos {
		t.end(u)
	}
	t.undos = nil
	t.server.heal()
}

// outages returns how many outages were survived.
func (t *target) outages() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.look()
	return t.survived
}

// move gives the target another address: the connections through the old one are reset.
func (t *target) move() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, err := relay.New(t.server.addr())
	if err != nil {
		return err
	}
	old := t.relay
	old.Refuse()
	for _, c := range old.Conns() {
		c.Reset()
	}
	for _, u := range t.undos {
		t.end(u)
	}
	t.undos = nil
	old.Close()
	t.relay = next
	return nil
}

// dieFor has an outage begin now.
func (t *target) dieFor(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dark {
		t.journal.event(t.name, "dies for %v", d.Round(time.Millisecond))
		t.outage(d)
	}
}

// left returns what is left of connections.
func (t *target) left() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, m := t.server.open(), len(t.relay.Conns()); n+m > 0 {
		return fmt.Sprintf("%s: %d connections at the server, %d at the relay", t.name, n, m)
	}
	return ""
}

func (t *target) close() {
	t.heal()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.relay.Close()
	t.server.close()
}
