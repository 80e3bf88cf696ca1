package wspool

import "time"

// provenAfter is how long a connection must stay up for what ended others
// before it to be over.
const provenAfter = 5 * time.Second

// dialTicket is what the gate knows of one connection.
type dialTicket struct {
	gate *dialGate
	term int // when its dial began

	// Guarded by the lock of the connection.
	proved bool   // it has served a lease
	doubts uint32 // gate.doubts when it last did

	// Guarded by gate.mu.
	isUp  bool
	cause *EndError   // of an end before it was up; nil: there was none
	proof *time.Timer // nil: nothing to prove
}

// begin ties a dial that begins now.
func (g *dialGate) begin() *dialTicket {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &dialTicket{gate: g, term: g.term}
}

// up tells, once, that the dial has succeeded.
func (t *dialTicket) up() {
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

// servedLease is served, the first time and once after each cause in the gate's doubts.
// The connection's lock is held.
func (t *dialTicket) servedLease() {
	if doubts := t.gate.doubts.Load(); !t.proved || t.doubts != doubts {
		t.proved, t.doubts = true, doubts
		t.served()
	}
}

// served tells that the connection has served a lease: what ended those before it
// is over. One from before the last cause proves that only if the cause may be
// the fault of one lease.
func (t *dialTicket) served() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.term == t.gate.term || t.gate.mild {
		t.gate.streak = 0
	}
}

// stayed tells that the connection stayed up for provenAfter: what ended those
// before it is over, unless it is from before the last cause.
func (t *dialTicket) stayed() {
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
func (t *dialTicket) ended(cause *EndError) {
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
