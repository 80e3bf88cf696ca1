package suite

import (
	"regexp"
	"slices"

	"github.com/respool/respool/internal/bench/peer"
)

// A part is some rows of the report that are read together.
type part struct {
	title string
	text  string         // what is compared, and how
	rows  *regexp.Regexp // which
}

// parts are those of the report. Each row is in the first that matches.
func parts() []part {
	return []part{
		{
			title: "The users' claim",
			text: "A pool was chosen for audio that streams from many clients to an inference server, and the claim was half the " +
				"latency, 30 % less memory, twice as much at once. 100 speakers speak, one utterance after the other (10 chunks of " +
				"3,200 bytes, then an answer after 10 ms), on 50 connections of a pool, and with a dial for each. The server " +
				"is another process on the same processors and takes 50 ms for a handshake, where a network would. The first " +
				"utterance of each speaker, which needs a dial either way, is left out of the latencies.\n\n" +
				"These constants decide the ratios: an utterance without a handshake takes 10 ms and its turn, and one with it 60. " +
				"The chunks are written back to back; at the pace of speech, a second for ten of them, the same 50 ms would be " +
				"a twentieth. Utterances a second follow from the latency, as everybody asks again at once.",
			rows: regexp.MustCompile(`-headline$`),
		},
		{
			title: "One WebSocket",
			text: "Beside connections that each worker owns, with gorilla alone and with coder/websocket, or beside a dial " +
				"for each request (with TLS sessions resumed, and a polite close). The server is another process on the same " +
				"processors, but for the rows of closes and of 1001. Exchanges are timed in seven turns a round, of which the " +
				"median counts. gorilla is in its defaults, and tuned with a small buffer for reading and shared ones for " +
				"writing; in the row of allocations it shares them too. Neither gorilla nor coder pings here. The row of 10,000 " +
				"is measured in one round of five.",
			rows: regexp.MustCompile(`^wss?-`),
		},
		{
			title: "Acquire and release",
			text: "Loops on the pools themselves. A channel is no pool, but the simplest thing that lends. net/http and go-redis " +
				"lend a connection for a request, and have no loops.",
			rows: regexp.MustCompile(`^(alone|per-core|64-on-4|idle-|keyed)`),
		},
		{
			title: "Scaling",
			text: "The same with more of everything. A hold is a time.Sleep, which in a program that is otherwise idle lasts up to a " +
				"millisecond. For holds and all that follows the pools are behind an interface, and some adapters allocate for " +
				"it; an acquire of net/http or go-redis is a round trip, so that they have no part where holds are short.",
			rows: regexp.MustCompile(`^scale-`),
		},
		{
			title: "Bursts, outages, crowds",
			text: "What a pool decides: how many to make, who is served when, what callers are told. Who never tells those who " +
				"wait that what others had it make has failed has no part in the outage; whoever has not been told of it after 5 s " +
				"counts as told then.",
			rows: regexp.MustCompile(`^(spike|zero|dead|lost|hand|release|fair|timeout)`),
		},
		{
			title: "Policies",
			text:  "What each adds to an acquire and release: with and without in ten turns, and the best of each.",
			rows:  regexp.MustCompile(`^policy-`),
		},
		{
			title: "Watching",
			text:  "What it costs to look at 10,000 leases that are all held and sampled. What a meter adds to a lease is with the policies.",
			rows:  regexp.MustCompile(`^watch-`),
		},
		{
			title: "Floors",
			text:  "What the parts cost that a figure consists of, the best of five tries.",
			rows:  regexp.MustCompile(`^floors$`),
		},
	}
}

// partOfRow is the first part that has the row; -1: none has.
func partOfRow(all []part, row string) int {
	for i, p := range all {
		if p.rows.MatchString(row) {
			return i
		}
	}
	return -1
}

// ourselves are entrants that are pools of ours in another size: what a line is
// compared with, but nobody's column.
var ourselves = []string{"10 idle", "one pool"}

// columns are the entrants of the results beside ours: peers in their usual order,
// then others as they come.
func columns(results []result) []string {
	var out []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] && !slices.Contains(ourselves, name) {
			seen[name] = true
			out = append(out, name)
		}
	}
	have := map[string]bool{}
	for _, r := range results {
		for name := range r.Samples {
			if name != r.Main {
				have[name] = true
			}
		}
	}
	for _, k := range append(kinds(), peer.Kind{Name: bareName}, peer.Kind{Name: tunedName}, peer.Kind{Name: coderName}) {
		if have[k.Name] {
			add(k.Name)
		}
	}
	for _, r := range results {
		for _, name := range r.Entrants {
			if have[name] {
				add(name)
			}
		}
	}
	return out
}
