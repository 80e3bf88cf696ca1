package endpoint

import (
	"math"
	"time"
)

// member is what a roster knows of one endpoint. live may be read and changed without the lock
// of the Set; the other fields need it. Times are since the roster began.
type member struct {
	live

	addr     string // constant; of ep
	ep       Endpoint
	hash     uint64    // constant
	joined   bool      // OnJoin has returned nil, and the resolver has not removed it since
	absent   bool      // the last complete answer of the resolver does not list it
	draining bool      // the resolver no longer lists it, and OnLeave runs
	kept     bool      // not joined again, and the owner may have resources of it from before
	returned *Endpoint // draining, and listed again; nil: it is not
	gone     bool      // it is no longer in the roster: evidence is ignored

	status Status
	since  time.Duration // when status last changed

	failing   error // the verdict of the Ejector
	failedAt  time.Duration
	byProbe   bool // failing is the error of a probe
	ejected   bool
	probing   bool
	canceled  bool          // the probe that runs was canceled, since the endpoint left
	notedAt   int64         // noted when the probe began
	failedBy  int64         // bad and refused, together, when the probe began
	probe     uint64        // number of the probe that runs or ran last
	times     int           // recent ejections and failed probes
	probeAt   time.Duration // when the next probe is due, if it is awaited
	awaited   bool          // a probe is due at probeAt
	ejections int64
	probes    int64

	dials    int    // failed dials in a row
	calls    int    // other failures in a row
	refusals int    // refusals in a row
	penalty  int    // how often the share is halved
	accepted int64  // good when another endpoint's first refusal in a row came
	verdict  uint64 // changes with everything that makes a verdict under way obsolete
	suspect  bool   // counted in roster.suspects
	bad      int64
	refused  int64

	lastGood, lastBad int64 // good and bad at the end of the last interval

	slow    bool          // slow start has not ended
	began   bool          // its clock runs
	beganAt time.Duration // since when
}

// newMember returns a member that has not joined. slow is whether it starts slowly.
func newMember(e Endpoint, slow bool, now time.Duration, c *SetConfig) *member {
	m := &member{addr: e.Addr, ep: e, hash: hashString(e.Addr), since: now, slow: slow && c.SlowStart > 0}
	m.refreshShare(now, c)
	m.refreshAttention()
	return m
}

// listed reports whether it may be ranked, as far as the resolver is concerned.
func (m *member) listed() bool { return m.joined && !m.draining }

// row is how many failures there were in a row, without refusals.
func (m *member) row() int { return m.dials + m.calls }

// maxPenalty bounds how far failures reduce the share: to a 1024th.
const maxPenalty = 10

// refreshShare stores the share at the time now.
func (m *member) refreshShare(now time.Duration, c *SetConfig) {
	s := m.ep.weight()
	if m.slow {
		part := 0.0
		if m.began && c.SlowStart > 0 {
			part = math.Pow(float64(now-m.beganAt)/float64(c.SlowStart), 1/c.Aggression)
		}
		s *= min(1, max(part, c.MinShare))
	}
	m.setShare(math.Ldexp(s, -m.penalty))
}

// punish halves the share n times.
func (m *member) punish(n int) { m.penalty = min(m.penalty+n, maxPenalty) }

// refreshAttention must follow every change of the fields that it reads.
func (m *member) refreshAttention() {
	m.attention.Store(m.row() > 0 || m.refusals > 0 || m.penalty > 0 || m.failing != nil || m.slow && !m.began)
}

// weigh returns what evidence counts as: failures, and whether it is a refusal.
func weigh(e Evidence) (failures int, refusal bool) {
	switch e.Kind {
	case DialFailed:
		return 1, e.Status > 0 && e.Status < 500
	case CallFailed:
		return 1, false
	case Silence:
		return 3, false
	case Closed:
		switch c := e.Code; {
		case c == 0, c == 1006, c == 1011, c == 1013, c == 1014:
			return 1, false
		case c == 1002, c == 1003, c >= 1007 && c <= 1010, c == 1015, c >= 3000:
			return 1, true
		}
	}
	return 0, false
}
