package wspool

import "time"

// provenAfter is how long a connection must stay up for what ended others
// before it to be over.
const provenAfter = 5 * time.Second

// tie is what the gate knows of one connection.
type tie struct {
	gate *dialGate
	term int // when its dial began

	// Guarded by gate.mu.
	isUp  bool
	cause *EndError   // of an end before it was up; nil: there was none
	proof *time.Timer // nil: nothing to prove
}

// begin ties a dial that begins now.
func (g *dialGate) begin() *tie {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &tie{gate: g, term: g.term}
}

// up tells, once, that the dial has succeeded.
func (t *tie) up() {
	g := t.gate
	g.mu.Lock()
	t.isUp = true
	if t.cause == nil && g.streak > 0 {
		t.proof = time.AfterFunc(provenAfter, t.stayed)
	}
	g.mu.Unlock()
	if t.cause != nil {
		g.learn(t.term, t.cause)
	}
}

// served tells that the connection has served a lease: what ended those before it
// is over. One from before the last cause proves that only if the cause may be
// the fault of one lease.
func (t *tie) served() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.term == t.gate.term || t.gate.mild {
		t.gate.streak = 0
	}
}

// stayed tells that the connection stayed up for provenAfter: what ended those
// before it is over, unless it is from before the last cause.
func (t *tie) stayed() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.term == t.gate.term {
		t.gate.streak = 0
	}
}

// ended tells why the connection ended, before the pool is told, which would
// dial at once. The cause is nil if the pool ended it; every connection is told
// ended at its end at the latest, so that nothing is left of its tie. That of a
// dial which fails is told by its Done.
func (t *tie) ended(cause *EndError) {
	g := t.gate
	g.mu.Lock()
	if !t.isUp {
		t.cause = cause
		g.mu.Unlock()
		return
	}
	if t.proof != nil {
		t.proof.Stop()
	}
	g.mu.Unlock()
	if cause != nil {
		g.learn(t.term, cause)
	}
}
