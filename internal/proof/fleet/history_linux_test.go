package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/internal/redisd"
	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
	"github.com/respool/respool/policy/fleet/redisledger"
)

// input is an operation of a history: a claim, or what happened to the engine.
type input struct {
	claim fleet.Claim
	event event
}

type event uint8

const (
	claimed   event = iota
	restarted       // with all data: the quota learns
	lost            // restarted without data
)

// output is the answer to a claim.
type output struct {
	outcome outcome
	grant   fleet.Grant
	// The fence tells in which order the engine granted: rank is the ordinal, from 0. Without
	// it the search would try orders that the fences exclude.
	rank int
}

type outcome uint8

const (
	granted  outcome = iota
	stale            // refused
	executed         // but the grant is not known
	maybe            // executed or not
)

// state is what the engine knows about a quota, at an instant of its clock.
type state struct {
	model *ledgertest.Model
	now   time.Duration
	doubt bool // a restart since the last claim
	rank  int  // of the next grant
}

// unanswered have leases so long that none ends during the history, so the instant of a
// claim without an answer does not matter.
const unanswered = time.Hour

// steps returns the states that may follow.
func steps(s state, in input, out output) []state {
	if in.event == claimed && out.outcome == granted && out.rank != s.rank {
		return nil
	}
	next := state{s.model.Clone(), s.now, s.doubt, s.rank}
	switch in.event {
	case restarted:
		next.doubt = true
		return []state{next}
	case lost:
		next.model.Lose()
		next.doubt = false
		return []state{next}
	}
	switch out.outcome {
	case executed, maybe:
		if next.doubt {
			next.model.Learn(next.now + unanswered)
			next.doubt = false
		}
		_, err := next.model.Claim(next.now, in.claim)
		switch {
		case out.outcome == maybe && err != nil:
			return []state{s}
		case out.outcome == maybe:
			return []state{s, next}
		case err != nil:
			return nil
		}
		return []state{next}
	case stale:
		if _, err := next.model.Claim(next.now, in.claim); err == nil {
			return nil
		}
		return []state{s}
	}
	// The fence is the time of the engine's clock, in microseconds.
	at := time.Duration(out.grant.Fence) * time.Microsecond
	if at <= s.now {
		return nil
	}
	next.now = at
	next.rank++
	if next.doubt {
		next.model.Learn(at + unanswered)
		next.doubt = false
	}
	g, err := next.model.Claim(at, in.claim)
	got := out.grant
	if err != nil || got.Granted != g.Granted || got.Target != g.Target || got.Limit != g.Limit || got.Highest != g.Highest || got.Total != g.Total ||
		got.Holders != g.Holders || got.Learning != g.Learning || got.Lease != g.Lease {
		return nil
	}
	// Next may be early. Where instants are not known it is not compared.
	if in.claim.Lease < unanswered && (got.Next > g.Next || (got.Next == 0) != (g.Next == 0)) {
		return nil
	}
	return []state{next}
}

// model is the ledger as porcupine wants it.
var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{state{model: new(ledgertest.Model)}} },
	Step: func(s, in, out any) (next []any) {
		for _, n := range steps(s.(state), in.(input), out.(output)) {
			next = append(next, n)
		}
		return next
	},
	Equal: func(a, b any) bool {
		x, y := a.(state), b.(state)
		return x.rank == y.rank && x.now == y.now && x.doubt == y.doubt && x.model.Equal(y.model)
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
}).ToModel()

// history records operations of one quota.
type history struct {
	clock *atomic.Int64
	loses bool // the engine may lose what it has executed
	// When the engine is killed, only the claims of some clients may be on their way: which of
	// ten were executed takes too long to find. The others pass the gate.
	gate sync.RWMutex
	mu   sync.Mutex
	ops  []porcupine.Operation
}

func (h *history) add(client int, in input, call, end int64, out output) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
}

// rank numbers the grants.
func (h *history) rank() {
	slices.SortFunc(h.ops, func(a, b porcupine.Operation) int {
		return cmp.Compare(a.Output.(output).grant.Fence, b.Output.(output).grant.Fence)
	})
	n := 0
	for i := range h.ops {
		out := h.ops[i].Output.(output)
		if out.outcome == granted && h.ops[i].Input.(input).event == claimed {
			out.rank = n
			h.ops[i].Output = out
			n++
		}
	}
}

// recorder makes the claims of a history.
type recorder struct {
	t       testing.TB
	engine  *redisd.Server
	ledgers []*redisledger.Ledger // one for each client
	ways    []*relay.Relay
	clock   atomic.Int64
	unknown atomic.Int64
}

const (
	clients  = 10
	inFlight = 4 // clients whose claims may be on their way when the engine is killed
)

func newRecorder(t testing.TB) *recorder {
	r := &recorder{t: t, engine: redisd.Start(t, "--appendonly", "yes", "--appendfsync", "no")}
	for range clients {
		way, err := relay.New(r.engine.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(way.Close)
		l := openLedger(t, way.Addr())
		t.Cleanup(func() { l.Close() })
		r.ways, r.ledgers = append(r.ways, way), append(r.ledgers, l)
	}
	return r
}

func openLedger(t testing.TB, addr string) *redisledger.Ledger {
	t.Helper()
	l, err := redisledger.Open(&redis.UniversalOptions{Addrs: []string{addr}, ReadTimeout: time.Minute, DialTimeout: time.Minute},
		redisledger.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// kinds of histories.
var kinds = []struct {
	name  string
	lease func(r *rand.Rand) time.Duration
	// At most so many faults, since the search is long if many claims go without an answer.
	faults int
	relays bool // claims pass the relays
	fault  func(rec *recorder, h *history, r *rand.Rand)
}{
	{"leases that end", func(r *rand.Rand) time.Duration { return time.Duration(1+r.IntN(40)) * time.Millisecond }, 0, false, nil},
	{"connections that break", long, 4, true, func(rec *recorder, _ *history, r *rand.Rand) {
		for _, c := range rec.ways[r.IntN(clients)].Conns() {
			if r.IntN(2) == 0 {
				c.Down().After(c.Down().Passed()+int64(r.IntN(60)), c.Reset) // within an answer
			} else {
				c.Reset()
			}
		}
	}},
	{"an engine that stops", long, 100, false, func(rec *recorder, _ *history, r *rand.Rand) {
		rec.engine.Stop()
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond) // the fault
		rec.engine.Continue()
	}},
	{"a script that is flushed", long, 100, false, func(rec *recorder, _ *history, _ *rand.Rand) {
		c := redis.NewClient(&redis.Options{Addr: rec.engine.Addr()})
		defer c.Close()
		if err := c.ScriptFlush(context.Background()).Err(); err != nil {
			rec.t.Error(err)
		}
	}},
	{"an engine that restarts", long, 1, false, func(rec *recorder, h *history, _ *rand.Rand) {
		h.gate.Lock()
		defer h.gate.Unlock()
		call := h.clock.Add(1)
		rec.engine.Kill()
		rec.engine.Restart()
		h.add(clients, input{event: restarted}, call, h.clock.Add(1), output{})
	}},
	{"an engine that loses all", long, 1, false, func(rec *recorder, h *history, _ *rand.Rand) {
		h.gate.Lock()
		defer h.gate.Unlock()
		call := h.clock.Add(1)
		rec.engine.Kill()
		rec.engine.Wipe()
		rec.engine.Restart()
		h.add(clients, input{event: lost}, call, h.clock.Add(1), output{})
	}},
}

func long(*rand.Rand) time.Duration { return unanswered }

// TestHistories records what concurrent clients of one server were answered, with faults, and
// looks for an order of the claims that explains it by the contract, each between its
// call and its return.
func TestHistories(t *testing.T) {
	total, each := 6_000, 500
	if testing.Short() {
		total = 3_000
	}
	if os.Getenv("RESPOOL_FLEET") != "" {
		total, each = 1_000_000, 2_000
	}
	s := seed(t)
	rec := newRecorder(t)
	done := make(map[string]int)
	var slowest time.Duration
	for i := 0; total > 0; i++ {
		kind := kinds[i%len(kinds)]
		h := rec.record(fmt.Sprint("quota-", i), i, s, each)
		begun := time.Now()
		result, info := porcupine.CheckOperationsVerbose(model, h.ops, 20*time.Second)
		slowest = max(slowest, time.Since(begun))
		if time.Since(begun) > time.Second {
			t.Logf("history %d, %s: %v", i, kind.name, time.Since(begun))
		}
		if result != porcupine.Ok {
			t.Fatalf("history %d, %s: porcupine says %s (RESPOOL_SEED=%d)\n%s", i, kind.name, result, s, explain(h, info))
		}
		total -= len(h.ops)
		done[kind.name] += len(h.ops)
	}
	t.Logf("%v operations; %d attempts were not answered; the slowest check took %v", done, rec.unknown.Load(), slowest)
}

// explain shows the end of the longest order that was found, and the operations that do not
// fit behind it.
func explain(h *history, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	line := func(op porcupine.Operation) string {
		return fmt.Sprintf("client %d [%d, %d] %s", op.ClientId, op.Call, op.Return, model.DescribeOperation(op.Input, op.Output))
	}
	lines := []string{fmt.Sprintf("the longest order has %d of %d operations and ends with", len(longest), len(h.ops))}
	in := make(map[int64]bool)
	for i, op := range longest {
		in[op.Call] = true
		if i >= len(longest)-12 {
			lines = append(lines, line(op))
		}
	}
	lines = append(lines, "after it comes none of")
	rest := slices.DeleteFunc(slices.Clone(h.ops), func(op porcupine.Operation) bool { return in[op.Call] })
	slices.SortFunc(rest, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, op := range rest[:min(len(rest), 24)] {
		lines = append(lines, line(op))
	}
	return strings.Join(lines, "\n")
}

// record has the clients make claims on one quota, while faults of one kind happen.
func (rec *recorder) record(quota string, i int, s uint64, n int) *history {
	rec.t.Helper()
	kind := kinds[i%len(kinds)]
	h := &history{clock: &rec.clock, loses: kind.name == "an engine that loses all"}
	// The quota is known, and its learning over, before the first claim that matters.
	// Its connection is new: no fault of another history is left on it.
	direct := openLedger(rec.t, rec.engine.Addr())
	defer direct.Close()
	founder := fleet.Claim{Quota: quota, Holder: "founder", Seq: 1, Want: 1, Limit: 1 << 20, Lease: time.Millisecond}
	for learning := true; learning; founder.Seq++ {
		learning = rec.claim(h, direct, 0, founder, false).Learning
	}
	founder.Want = 0
	rec.claim(h, direct, 0, founder, false)

	var running sync.WaitGroup
	stop := make(chan struct{})
	if kind.fault != nil {
		r := rand.New(rand.NewPCG(s, uint64(i)<<8))
		running.Go(func() {
			for range kind.faults {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(2+r.IntN(20)) * time.Millisecond):
					kind.fault(rec, h, r)
				}
			}
		})
	}
	var claiming sync.WaitGroup
	for c := range clients {
		r := rand.New(rand.NewPCG(s, uint64(i)<<8|uint64(c+1)))
		// A relay hides that the engine refused a connection, and so that a claim was not sent.
		l := direct
		if kind.relays {
			l = rec.ledgers[c]
		}
		claiming.Go(func() { rec.client(h, l, c, quota, r, n/clients, kind.lease) })
	}
	claiming.Wait()
	close(stop)
	running.Wait()
	h.rank()
	return h
}

// client makes n claims of two holders.
func (rec *recorder) client(h *history, l *redisledger.Ledger, c int, quota string, r *rand.Rand, n int, lease func(*rand.Rand) time.Duration) {
	claims, granted := [2]fleet.Claim{}, [2]int{}
	for k := range claims {
		claims[k] = fleet.Claim{Quota: quota, Holder: fmt.Sprintf("h%d-%d", c, k), Limit: 40}
	}
	for range n {
		k := r.IntN(2)
		x := &claims[k]
		x.Seq++
		x.Lease = lease(r)
		x.Has = r.IntN(granted[k] + 1)
		x.Want = x.Has + r.IntN(8)
		if r.IntN(30) == 0 {
			x.Has, x.Want = 0, 0
		}
		if r.IntN(6) == 0 {
			x.Min, x.Priority = r.IntN(5), r.IntN(3)
		}
		if r.IntN(20) == 0 {
			x.Limit = 30 + r.IntN(20)
		}
		send := *x
		old := r.IntN(25) == 0 && x.Seq > 2
		if old {
			send.Seq -= 1 + r.Uint64N(2) // stale, or of a holder that is not live
		}
		granted[k] = rec.claim(h, l, c, send, old).Granted
		if r.IntN(10) == 0 {
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // leases end meanwhile
		}
	}
}

// claim makes one claim and records it. It is repeated with the same Seq until it is answered:
// then it is known whether an earlier attempt was executed, unless the claim is old, a leave, or
// the engine may have lost it.
func (rec *recorder) claim(h *history, l *redisledger.Ledger, client int, c fleet.Claim, old bool) fleet.Grant {
	var open []int64 // the calls of attempts that were not answered
	in := input{claim: c}
	for {
		gated := h.loses || client >= inFlight
		if gated {
			h.gate.RLock()
		}
		call := rec.clock.Add(1)
		g, err := l.Claim(context.Background(), c)
		end := rec.clock.Add(1)
		if gated {
			h.gate.RUnlock()
		}
		isStale := errors.Is(err, fleet.ErrStale)
		switch {
		case err != nil && !isStale:
			if !errors.Is(err, syscall.ECONNREFUSED) { // else it was not sent
				rec.unknown.Add(1)
				open = append(open, call)
			}
			time.Sleep(time.Millisecond) // the engine is down
			continue
		case len(open) == 0:
		case old || h.loses || c.Has == 0 && c.Want == 0: // the Seq of a leave is forgotten
			for _, call := range open {
				h.add(client, in, call, end, output{outcome: maybe})
			}
		case isStale:
			h.add(client, in, open[0], end, output{outcome: executed})
			return g
		}
		out := output{grant: g}
		if isStale {
			out.outcome = stale
		}
		h.add(client, in, call, end, out)
		return g
	}
}
