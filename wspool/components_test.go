package wspool

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// The keepalive decides by facts alone: a table of checks of one connection, in order.
func TestKeepaliveCheck(t *testing.T) {
	const s = int64(time.Second)
	cfg := Config{KeepAlive: 15 * time.Second, PongWait: 10 * time.Second}
	for _, tc := range []struct {
		name  string
		facts []pingFacts
		want  []verdict
		next  int64 // of the last
	}{
		{"heard just now", []pingFacts{{now: 100 * s, lastRead: 99 * s}}, []verdict{verdictWait}, 114 * s},
		{"silent", []pingFacts{{now: 115 * s, lastRead: 100 * s}}, []verdict{verdictPing}, 125 * s},
		{"a little early", []pingFacts{{now: 114 * s, lastRead: 100 * s, early: s}}, []verdict{verdictPing}, 124 * s},
		{"in doubt", []pingFacts{{now: 101 * s, lastRead: 100 * s, suspect: 101 * s}}, []verdict{verdictPing}, 111 * s},
		{"answered", []pingFacts{{now: 115 * s, lastRead: 100 * s}, {now: 120 * s, lastRead: 116 * s}}, []verdict{verdictPing, verdictWait}, 131 * s},
		{"dead", []pingFacts{{now: 115 * s, lastRead: 100 * s}, {now: 125 * s, lastRead: 100 * s}}, []verdict{verdictPing, verdictDead}, 0},
		{"unread answer", []pingFacts{{now: 115 * s, lastRead: 100 * s}, {now: 125 * s, lastRead: 100 * s, readable: true}}, []verdict{verdictPing, verdictWait}, 125*s + int64(unreadWait)},
		{"behind an unread message", []pingFacts{{now: 115 * s, lastRead: 100 * s}, {now: 125 * s, lastRead: 100 * s, stalled: true, open: true}}, []verdict{verdictPing, verdictWait}, 135 * s},
		{"inside a message, once", []pingFacts{{now: 115 * s, lastRead: 100 * s}, {now: 125 * s, lastRead: 100 * s, open: true}, {now: 135 * s, lastRead: 100 * s, open: true}},
			[]verdict{verdictPing, verdictWait, verdictDead}, 0},
		{"the ping has not left", []pingFacts{{now: 115 * s, lastRead: 100 * s}, {now: 125 * s, lastRead: 100 * s, progress: 1}}, []verdict{verdictPing, verdictPing}, 135 * s},
		{"the process stood still, three times at most", []pingFacts{{now: 115 * s, lastRead: 100 * s},
			{now: 130 * s, late: 5 * time.Second, lastRead: 100 * s}, {now: 150 * s, late: 10 * time.Second, lastRead: 100 * s},
			{now: 170 * s, late: 10 * time.Second, lastRead: 100 * s}, {now: 190 * s, late: 10 * time.Second, lastRead: 100 * s}},
			[]verdict{verdictPing, verdictWait, verdictWait, verdictWait, verdictDead}, 0},
	} {
		k := newKeepalive(&cfg, 0)
		var got []verdict
		var next int64
		for _, f := range tc.facts {
			var v verdict
			v, next = k.check(f)
			if v == verdictPing {
				k.ask(f.now, 0, f.progress)
			}
			got = append(got, v)
		}
		if !slices.Equal(got, tc.want) || next != tc.next {
			t.Errorf("%s: %v, next at %v; want %v at %v", tc.name, got, time.Duration(next), tc.want, time.Duration(tc.next))
		}
	}
}

// Only the answer to a ping that was sent after a gap vouches for the peer.
func TestKeepaliveGap(t *testing.T) {
	k := newKeepalive(&Config{KeepAlive: time.Second, PongWait: time.Second}, 0)
	pong := func(nonce uint64) string { return pingPrefix + string("0123456789"[nonce]) }
	before := k.next(1, 0)
	if !k.vouched(0) || k.vouched(7) {
		t.Error("no gap, and not vouched for; or a gap, and vouched for")
	}
	after := k.next(8, 7)
	k.pong(pong(before), 9)
	if k.vouched(7) {
		t.Error("the answer to a ping from before the gap")
	}
	k.pong(pong(after), 10)
	if !k.vouched(7) || k.rtt.Load() != 2 {
		t.Errorf("vouched %v, rtt %d", k.vouched(7), k.rtt.Load())
	}
	for _, bad := range []string{"", "x", pingPrefix, pingPrefix + "z", pingPrefix + "9"} {
		k.pong(bad, 11)
	}
}

// A heartbeat is sent when none was for Every; its answer has PongWait, and the reader a
// moment more.
func TestHeartbeatDue(t *testing.T) {
	const s = int64(time.Second)
	h := newHeartbeat(&Config{PongWait: 10 * time.Second, Heartbeat: Heartbeat{Every: 5 * time.Second}}, 0)
	step := func(what string, f beatFacts, want beat, wait time.Duration) {
		t.Helper()
		if b, w := h.due(f); b != want || want != beatSend && w != wait {
			t.Errorf("%s: %v after %v, want %v after %v", what, b, w, want, wait)
		}
	}
	h.wrote(100 * s)
	step("just written", beatFacts{now: 101 * s}, beatWait, 4*time.Second)
	step("due", beatFacts{now: 105 * s}, beatSend, 0)
	h.asks(105*s, 100*s)
	h.wrote(105 * s)
	step("awaited", beatFacts{now: 106 * s, lastRead: 100 * s}, beatWait, 4*time.Second)
	h.wrote(114 * s)
	step("an unread message", beatFacts{now: 115 * s, lastRead: 100 * s, stalled: true}, beatWait, 4*time.Second)
	h.wrote(125 * s)
	step("a message that arrives", beatFacts{now: 125 * s, lastRead: 120 * s, arriving: true}, beatWait, 5*time.Second)
	h.wrote(135 * s)
	step("overdue", beatFacts{now: 135 * s, lastRead: 120 * s}, beatRead, answerGrace)
	step("dead", beatFacts{now: 136 * s, lastRead: 120 * s}, beatDead, 0)
	h.answered()
	step("answered", beatFacts{now: 136 * s, lastRead: 136 * s}, beatWait, 4*time.Second)
	if (*heartbeat)(nil).owesAnswer() {
		t.Error("a connection without heartbeats owes an answer")
	}
}

// The monitor knows exactly the connections that are unwatched, and returns checks when
// they are due and no others, whatever is registered, removed and forgotten in between.
func TestMonitorModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	var level atomic.Int64
	var m monitor[int]
	m.start(time.Hour, time.Hour, wsconn.NewClock(), &level, func() {}, func() {})
	nodes := make([]monitored[int], 20)
	unwatched, due, gone := map[int]bool{}, map[int]int64{}, map[int]bool{}
	for i := range nodes {
		nodes[i].owner = i
	}
	for range 5000 {
		i := draw.IntN(len(nodes))
		n := &nodes[i]
		switch draw.IntN(20) {
		case 0:
			m.forget(n)
			gone[i] = true
			delete(unwatched, i)
			delete(due, i)
			if len(gone) == len(nodes) {
				clear(gone)
				for j := range nodes {
					nodes[j] = monitored[int]{owner: j}
				}
			}
		case 1, 2, 3, 4, 5, 6:
			if m.unwatched(n); !gone[i] {
				unwatched[i] = true
			}
		case 7, 8, 9, 10, 11, 12:
			m.watched(n)
			delete(unwatched, i)
		case 13:
			now, all := m.dueChecks()
			for _, d := range all {
				if at, ok := due[d.owner]; !ok || at > now+m.early || d.late != time.Duration(now-at) {
					t.Fatalf("a check of %d, due at %d of %d: %v, late by %v", d.owner, at, now, ok, d.late)
				}
				delete(due, d.owner)
			}
			for j, at := range due {
				if at <= now {
					t.Fatalf("no check of %d, due at %d of %d", j, at, now)
				}
			}
		default:
			at := m.clock.Now() + int64(time.Hour)*int64(draw.IntN(3)-1)
			if m.checkAt(n, at); !gone[i] {
				due[i] = at
			}
		}
		_, list := m.beginTick()
		slices.Sort(list)
		var want []int
		for j := range nodes {
			if unwatched[j] {
				want = append(want, j)
			}
		}
		if !slices.Equal(list, want) || level.Load() != int64(len(want)) {
			t.Fatalf("unwatched are %v, a level of %d; want %v", list, level.Load(), want)
		}
	}
	for i := range nodes {
		m.forget(&nodes[i])
	}
}

// The first reason counts, except that a read that was given up yields to any other.
func TestDirtiness(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	var d dirtiness
	d.giveUp(a)
	d.forgive()
	if d.why != nil {
		t.Error("not forgiven")
	}
	d.giveUp(a)
	d.mark(b, false)
	d.forgive()
	d.mark(a, true)
	if d.why != b || !d.mute {
		t.Errorf("%v, mute %v", d.why, d.mute)
	}
}

// An exchange is complete as Exchange says.
func TestLeaseState(t *testing.T) {
	for _, tc := range []struct {
		steps     string // w: written, r: read, d: read and dropped, c: complete
		last, one bool   // complete for ReplyLast, for ReplyEach
		owed      int
	}{
		{"", true, true, 0}, {"w", false, false, 1}, {"wr", true, true, 0}, {"wwr", true, false, 1}, {"wrr", true, false, 0},
		{"wwrr", true, true, 0}, {"wrw", false, false, 1}, {"wd", true, false, 0}, {"wwc", true, true, 0}, {"wrd", true, true, 0},
		{"rw", false, true, 1}, {"rwwr", true, true, 1}, {"rwr", true, false, 0},
	} {
		var s leaseState
		for _, step := range tc.steps {
			switch step {
			case 'w':
				s.sent()
			case 'r':
				s.received()
			case 'd':
				s.received()
				s.dropped()
			case 'c':
				s.complete()
			}
		}
		if last, one := s.incomplete(ReplyLast) == nil, s.incomplete(ReplyEach) == nil; last != tc.last || one != tc.one || s.incomplete(Unpaired) != nil {
			t.Errorf("%q: complete %v for ReplyLast, %v for ReplyEach", tc.steps, last, one)
		}
		if s.owed != tc.owed {
			t.Errorf("%q: owed %d, want %d", tc.steps, s.owed, tc.owed)
		}
		if s.exchanged() != (tc.steps != "") {
			t.Errorf("%q: exchanged %v", tc.steps, s.exchanged())
		}
	}
}
