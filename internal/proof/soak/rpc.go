package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// identity says to which call a message belongs. It is the parameters of a call and comes back in
// its result and in the messages of its stream.
type identity struct {
	Tenant int    `json:"tenant"`
	Call   uint64 `json:"call"`
	Mode   string `json:"mode,omitempty"`
	Size   int    `json:"size,omitempty"`
	Seq    int    `json:"seq,omitempty"` // of a message of a stream; in the parameters the first one wanted
	Pad    string `json:"pad,omitempty"`
}

// incoming is a message of the client.
type incoming struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// unasked are messages that a server with calls sends of its own accord.
var unasked = []string{
	`{"jsonrpc":"2.0","method":"event","params":{"n":1}}`,
	`{"jsonrpc":"2.0","id":"s1","method":"ask","params":{"n":1}}`,
	`{"jsonrpc":"2.0","method":"away"}`,
	`{"jsonrpc":"2.0","id":1,"result":{"tenant":-1}}`, // the reply to no call, or to one that has long been answered
	`{"jsonrpc":"2.0","id":9007199254740991,"result":{"tenant":-1}}`,
	`{"jsonrpc":"2.0",`,
	`{"jsonrpc":"2.0","method":"data","params":{"subscription":"unknown","result":{}}}`,
}

// rpc answers a message of JSON-RPC.
func (x *wsSession) rpc(p []byte) {
	var m incoming
	if err := json.Unmarshal(p, &m); err != nil {
		x.journal.violation(x.name, "the server received %.80q: %v", p, err)
		return
	}
	switch m.Method {
	case "work":
		var who identity
		if err := json.Unmarshal(m.Params, &who); err != nil {
			x.journal.violation(x.name, "the server received %.80q: %v", p, err)
			return
		}
		x.runs.ran(who.Call)
		if x.plant == plantTwice {
			x.runs.ran(who.Call)
		}
		x.answer(m.ID, who)
	case "sub":
		x.subscribe(m)
	case "unsub":
		var names []string
		if json.Unmarshal(m.Params, &names) == nil && len(names) == 1 {
			x.mu.Lock()
			if end := x.subs[names[0]]; end != nil {
				close(end)
				delete(x.subs, names[0])
			}
			x.mu.Unlock()
		}
		x.result(m.ID, true)
	}
}

// result sends the reply to a request. It fails if the client has left.
func (x *wsSession) result(id json.RawMessage, v any) {
	p, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "result": v})
	_ = x.write(text(string(p)))
}

// answer sends the result of a call as its mode says.
func (x *wsSession) answer(id json.RawMessage, who identity) {
	mode := who.Mode
	who.Mode, who.Pad = "", strings.Repeat("x", who.Size)
	if x.plant == plantCrossed {
		who.Call++
	}
	late := func() {
		pause(x.ctx, time.Duration(rand.IntN(30))*time.Millisecond) // a server that answers out of order
		x.result(id, who)
	}
	switch mode {
	case "never":
	case "slow":
		x.all.Go(late)
	case "twice":
		x.result(id, who)
		x.all.Go(late)
	case "cut":
		x.ws.Close()
	default:
		x.result(id, who)
	}
}

// streamed is how many messages a subscription sends at most.
const streamed = 100

// subscribe begins a stream.
func (x *wsSession) subscribe(m incoming) {
	var who identity
	if err := json.Unmarshal(m.Params, &who); err != nil {
		x.journal.violation(x.name, "the server received %.80q: %v", m.Params, err)
		return
	}
	name, end := fmt.Sprintf("%s-%d", x.name, x.named.Add(1)), make(chan struct{})
	x.mu.Lock()
	x.subs[name] = end
	x.mu.Unlock()
	x.result(m.ID, name)
	x.all.Go(func() {
		for i := range streamed {
			select {
			case <-x.done:
				return
			case <-x.ctx.Done():
				return
			case <-end:
				return
			case <-time.After(3 * time.Millisecond): // the pace of the stream
			}
			who.Mode, who.Pad = "", strings.Repeat("x", who.Size)
			part := who
			part.Seq += i
			p, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": "data", "params": map[string]any{"subscription": name, "result": part}})
			if x.write(text(string(p))) != nil {
				return
			}
		}
	})
}

// runs records which calls a server has run, as far as they are tracked: one in four, since the
// record is kept until the next checkpoint.
type runs struct {
	mu    sync.Mutex
	times map[uint64]int
	fates map[uint64]string // the outcome that the caller got: "replied" or the error
	most  map[uint64]int    // how often the call may have run
}

func tracked(call uint64) bool { return call%4 == 0 }

func (r *runs) ran(call uint64) {
	if r == nil || !tracked(call) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[call]++
}

// told records the outcome that the caller of a call got, after which the call may have run up to most
// times.
func (r *runs) told(call uint64, fate string, most int) {
	if !tracked(call) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fates[call], r.most[call] = fate, most
}

// judge compares what has run with the fates, and forgets both. Nothing may be under way.
func (r *runs) judge() (bad []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for call, n := range r.times {
		switch fate, ok := r.fates[call]; {
		case !ok:
			bad = append(bad, fmt.Sprintf("I13: call %d has run, and was never made", call))
		case n > r.most[call]:
			bad = append(bad, fmt.Sprintf("I13: call %d has run %d times, at most %d allowed; its caller was told: %s", call, n, r.most[call], fate))
		}
	}
	for call, fate := range r.fates {
		if fate == replied && r.times[call] == 0 {
			bad = append(bad, fmt.Sprintf("I13: call %d has a reply, and has not run", call))
		}
	}
	r.times, r.fates, r.most = map[uint64]int{}, map[uint64]string{}, map[uint64]int{}
	return bad
}

const replied = "replied"

func newRuns() *runs {
	r := new(runs)
	r.judge()
	return r
}
