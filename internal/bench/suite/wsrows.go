package suite

import (
	"fmt"

	"github.com/respool/respool/wspool"
)

// hotLease is a row of leases back to back, and what each may take beside
// gorilla alone.
type hotLease struct {
	exchanges int
	bound     float64
}

func hotLeases() []hotLease { return []hotLease{{1, 1.2}, {10, 1.1}, {100, 1.05}} }

// manyWorkers are the sizes of the rows in which all workers ask at once.
func manyWorkers() []int { return []int{16, 64} }

// massDials is how many dials may run at once when all connections went away.
const massDials = 70

// wsRows are the rows of wspool.
func wsRows() (out []row) {
	peer := &echoPeer{}
	for _, scheme := range []string{"ws", "wss"} {
		out = append(out, headlineRow(scheme+"-headline", scheme, peer))
	}
	for _, scheme := range []string{"ws", "wss"} {
		for _, n := range manyWorkers() {
			out = append(out, duelRow(fmt.Sprintf("%s-exchange-%d", scheme, n), scheme, n, peer, nil, throughput()))
		}
	}
	for _, scheme := range []string{"ws", "wss"} {
		for _, h := range hotLeases() {
			name := fmt.Sprintf("%s-hot-%d", scheme, h.exchanges)
			out = append(out, duelRow(name, scheme, 1, peer, nil, timePerMessage(h.exchanges)))
		}
	}
	for _, scheme := range []string{"ws", "wss"} {
		out = append(out,
			duelRow(scheme+"-watched-1", scheme, 1, peer, func(c *wspool.Config) { c.WatchAfter = -1 }, timePerMessage(1)),
			dialRow(scheme+"-dial", scheme, peer),
			allocsRow(scheme+"-allocs", scheme, peer),
			socketMemoryRow(scheme+"-memory", scheme, peer),
			idleCloseRow(scheme+"-idle-close", scheme),
		)
	}
	return append(out, keptAliveRow("ws-10k", peer), amongManyRow("ws-10k-acquire", peer), massRow("ws-mass-1001"))
}

// wsGoals are those of wsRows.
func wsGoals() (out []goal) {
	add := func(g goal) { out = append(out, g) }
	for _, scheme := range []string{"ws", "wss"} {
		out = append(out, headlineGoals(scheme+"-headline", scheme)...)
	}
	for _, scheme := range []string{"ws", "wss"} {
		for _, n := range manyWorkers() {
			name := fmt.Sprintf("%s-exchange-%d", scheme, n)
			g := goal{row: name, work: fmt.Sprintf("%d workers, one exchange a lease, %s, beside a connection each", n, scheme), metric: "op/s", than: bareName, more: true}
			if scheme == "ws" {
				g.rule, g.bound, g.why = ratioAtLeast, 0.95, whyWorkers
			}
			add(g)
			add(goal{row: name, work: "  with a context that can be cancelled", metric: "ctx op/s", than: bareName, more: true})
			add(goal{row: name, work: "  beside coder's", metric: "ctx op/s", than: coderName, more: true})
		}
	}
	for _, scheme := range []string{"ws", "wss"} {
		for _, h := range hotLeases() {
			name, why := fmt.Sprintf("%s-hot-%d", scheme, h.exchanges), whyMessage
			if h.exchanges == 1 {
				why = whyLease
			}
			add(goal{row: name, work: fmt.Sprintf("leases of %d back to back, %s: a message", h.exchanges, scheme), metric: "us/op", rule: ratioAtMost, bound: h.bound, than: bareName, why: why})
			add(goal{row: name, work: "  with a context that can be cancelled", metric: "ctx us/op", than: bareName})
			add(goal{row: name, work: "  beside coder's", metric: "ctx us/op", than: coderName})
		}
	}
	for _, x := range []struct {
		scheme       string
		dial, memory float64
		allocs       rule
	}{{"ws", 15, 4.5, atMost}, {"wss", 50, 13, told}} {
		g := goal{row: x.scheme + "-watched-1", work: "leases of 1 of watched connections, " + x.scheme + ": a message", metric: "us/op", than: bareName}
		if x.scheme == "ws" {
			g.rule, g.bound = ratioAtMost, 2.2
		}
		add(g)
		add(goal{row: x.scheme + "-watched-1", work: "  with a context that can be cancelled", metric: "ctx us/op", than: bareName})
		add(goal{row: x.scheme + "-dial", work: "16 workers, beside a dial for each request, " + x.scheme, metric: "op/s", rule: ratioAtLeast, bound: x.dial, than: "dialling", more: true, why: whyDial})
		add(goal{row: x.scheme + "-allocs", work: "allocations of a lease of one exchange beyond gorilla's, " + x.scheme, metric: "added", rule: x.allocs, bound: 1})
		add(goal{row: x.scheme + "-memory", work: "memory of an idle connection that is read (and, ours, kept alive), " + x.scheme, metric: "KiB", than: bareName, rule: atMost, bound: x.memory})
		add(goal{row: x.scheme + "-idle-close", work: "an idle close until the connection is gone, " + x.scheme, metric: "p99 ms", rule: atMost, bound: 5})
		add(goal{row: x.scheme + "-idle-close", work: "  half of them", metric: "p50 ms"})
	}
	add(goal{row: "ws-10k", work: "10,000 idle, 20 s keepalive: CPU, of one core", metric: "cpu %", rule: atMost, bound: 3})
	add(goal{row: "ws-10k", work: "  pings to each meanwhile", metric: "pings", rule: atLeast, bound: 0.9})
	add(goal{row: "ws-10k-acquire", work: "acquire and release among 10,000, beside 10", metric: "ns/op", rule: ratioAtMost, bound: 1.2, than: "10 idle"})
	add(goal{row: "ws-mass-1001", work: "1001 to 200 at once: dials at once", metric: "peak", rule: neverOver, bound: massDials})
	add(goal{row: "ws-mass-1001", work: "  all back, of 3 dials and the jitter", metric: "of bound", rule: atMost, bound: 1})
	add(goal{row: "ws-mass-1001", work: "  in time", metric: "back ms"})
	return out
}
