package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/goleak"

	"github.com/respool/respool/policy/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clients = 10
	limit   = 20
)

var errLost = errors.New("the reply is lost")

// run has clients claim on one quota, in a bubble, and returns the history. Requests and
// replies are late or lost, requests come twice, and clients die and come back under other
// names.
func run(seed uint64, ledger fleet.Ledger, ops int) []Op {
	began := time.Now()
	var ordinal atomic.Int32
	stamp := func() Stamp { return Stamp{time.Since(began), ordinal.Add(1)} }
	var mu sync.Mutex
	var history []Op
	// send makes one claim, which the network may deliver twice.
	send := func(client int, c fleet.Claim, lost bool) (fleet.Grant, error) {
		o := Op{Client: client, Claim: c, Call: stamp()}
		o.Grant, o.Err = ledger.Claim(context.Background(), c)
		o.Return = stamp()
		if lost {
			o.Grant, o.Err = fleet.Grant{}, errLost
		}
		mu.Lock()
		defer mu.Unlock()
		history = append(history, o)
		return o.Grant, o.Err
	}
	var wg sync.WaitGroup
	var duplicates sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			late := func(most int) { time.Sleep(time.Duration(r.IntN(most)) * 10 * time.Millisecond) }
			c := fleet.Claim{Quota: "q", Limit: limit}
			name := func() { c.Holder, c.Seq, c.Has = fmt.Sprintf("c%d-%x", i, r.Uint32()), 0, 0 }
			name()
			for range ops / clients {
				late(30) // many goroutines claim at the same instant
				c.Seq++
				c.Has = r.IntN(c.Has + 1)
				c.Want = c.Has + r.IntN(8)
				c.Lease = time.Duration(1+r.IntN(20)) * 100 * time.Millisecond
				c.Min, c.Priority, c.Limit = 0, 0, limit
				switch r.IntN(16) {
				case 0:
					c.Has, c.Want = 0, 0
				case 1:
					c.Limit = limit - 1 - r.IntN(8)
				case 2:
					c.Min, c.Priority = r.IntN(5), r.IntN(3)-1
				case 3: // it dies
					name()
					continue
				}
				if r.IntN(12) == 0 {
					continue // the request is lost
				}
				if r.IntN(12) == 0 { // it comes again, later
					again, after := c, time.Duration(r.IntN(100))*10*time.Millisecond
					duplicates.Go(func() {
						time.Sleep(after)
						_, _ = send(clients+i, again, true)
					})
				}
				late(3)
				g, err := send(i, c, r.IntN(8) == 0)
				late(3)
				if err == nil {
					c.Has = g.Granted
				}
			}
		})
	}
	wg.Wait()
	duplicates.Wait()
	return history
}

// claims is the number of claims of the long test: RESPOOL_LEDGER_CLAIMS, or a few.
func claims(t *testing.T) int {
	s := os.Getenv("RESPOOL_LEDGER_CLAIMS")
	switch {
	case s == "" && testing.Short():
		return 20_000
	case s == "":
		return 60_000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("RESPOOL_LEDGER_CLAIMS: %v", err)
	}
	return n
}

// firstSeed returns RESPOOL_SEED, or a random seed.
func firstSeed(t *testing.T) uint64 {
	s := os.Getenv("RESPOOL_SEED")
	if s == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("RESPOOL_SEED: %v", err)
	}
	return n
}

// perHistory is the number of claims of one history: each has a quota of its own.
const perHistory = 250

// patience bounds the check of one history, which takes milliseconds.
const patience = time.Minute

// The histories of Memory, of 10 clients each, are linearizable. RESPOOL_LEDGER_CLAIMS=1000000
// makes a million claims.
func TestMemoryLinearizable(t *testing.T) {
	seed := firstSeed(t)
	t.Logf("RESPOOL_SEED=%d", seed)
	rounds := max(1, claims(t)/perHistory)
	var made, unknown, stale atomic.Int64
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(rounds) && !t.Failed(); i = next.Add(1) - 1 {
				history := inBubble(t, seed+uint64(i), fleet.NewMemory, perHistory)
				for _, o := range history {
					made.Add(1)
					switch {
					case o.Err == errLost:
						unknown.Add(1)
					case o.Err != nil:
						stale.Add(1)
					}
				}
				if r := Check(history, 0, patience); r != porcupine.Ok {
					t.Errorf("RESPOOL_SEED=%d: the history is %s", seed+uint64(i), r)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d claims in %d histories, %d without an answer, %d stale", made.Load(), rounds, unknown.Load(), stale.Load())
	if unknown.Load() == 0 || made.Load() < int64(rounds)*perHistory/2 {
		t.Error("the histories had too few claims or no lost replies")
	}
}

// inBubble runs one history in virtual time.
func inBubble[L fleet.Ledger](t *testing.T, seed uint64, ledger func() L, ops int) (history []Op) {
	synctest.Test(t, func(*testing.T) { history = run(seed, ledger(), ops) })
	return history
}

// wrong is a ledger that changes claims before Memory gets them, or answers.
type wrong struct {
	*fleet.Memory
	second *fleet.Memory
	fault  string
	mu     sync.Mutex
	n      int
	last   map[string]fleet.Grant
}

func (w *wrong) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	l := w.Memory
	switch w.fault {
	case "leases end early":
		c.Lease /= 2
	case "leases end late":
		c.Lease *= 2
	case "stale claims count":
		c.Seq = uint64(w.n)
	case "two leaders":
		if c.Holder[1]%2 == 0 {
			l = w.second
		}
	case "forgets a claim that it answered":
		if w.n%20 == 0 {
			g, err := l.Claim(ctx, c)
			c.Seq, c.Has, c.Want = c.Seq+1<<30, 0, 0
			_, _ = l.Claim(ctx, c)
			return g, err
		}
	case "answers from a cache":
		if g, ok := w.last[c.Holder]; ok && w.n%5 == 0 && g.Granted >= c.Has && g.Granted <= c.Want {
			return g, nil
		}
	case "forgets everything":
		if w.n == 150 {
			l.Forget()
		}
	case "fences do not grow":
		g, err := l.Claim(ctx, c)
		g.Fence = g.Fence / 4
		return g, err
	}
	g, err := l.Claim(ctx, c)
	if err == nil {
		w.last[c.Holder] = g
	}
	return g, err
}

// The checker finds what is wrong with a ledger within a few histories.
func TestWrongLedgers(t *testing.T) {
	for _, fault := range []string{"none", "leases end early", "leases end late", "stale claims count", "two leaders",
		"forgets a claim that it answered", "answers from a cache", "forgets everything", "fences do not grow"} {
		t.Run(fault, func(t *testing.T) {
			seed, found := firstSeed(t), false
			for i := range uint64(20) {
				history := inBubble(t, seed+i, func() *wrong {
					return &wrong{Memory: fleet.NewMemory(), second: fleet.NewMemory(), fault: fault, last: make(map[string]fleet.Grant)}
				}, perHistory)
				if found = Check(history, 0, patience) == porcupine.Illegal; found {
					break
				}
			}
			if found != (fault != "none") {
				t.Errorf("RESPOOL_SEED=%d: a history of 20 failed: %v", seed, found)
			}
		})
	}
}

// A claim that was lost on the way may be recorded at any later time, or never.
func TestLostClaims(t *testing.T) {
	at := func(s int) Stamp { return Stamp{Time: time.Duration(s) * time.Second} }
	c := func(holder string, seq uint64, has, want int) fleet.Claim {
		return fleet.Claim{Quota: "q", Holder: holder, Seq: seq, Has: has, Want: want, Limit: 10, Lease: 100 * time.Second}
	}
	g := func(granted, target, total, holders int, fence uint64) fleet.Grant {
		return fleet.Grant{Granted: granted, Target: target, Limit: 10, Highest: 10, Total: total, Holders: holders, Fence: fence}
	}
	learned := Op{Claim: fleet.Claim{Quota: "q", Holder: "f", Seq: 1, Limit: 10, Lease: time.Second}, Err: errLost, Call: at(0), Return: at(0)}
	lost := Op{Client: 1, Claim: c("a", 1, 0, 4), Err: errLost, Call: at(5), Return: Never}
	for name, h := range map[string]struct {
		history []Op
		want    Result
	}{
		"never recorded":   {[]Op{learned, lost, {Claim: c("b", 1, 0, 10), Grant: g(10, 10, 10, 1, 5), Call: at(10), Return: at(11)}}, porcupine.Ok},
		"recorded at once": {[]Op{learned, lost, {Claim: c("b", 1, 0, 10), Grant: g(6, 6, 10, 2, 5), Call: at(10), Return: at(11)}}, porcupine.Ok},
		"recorded later": {[]Op{learned, lost, {Claim: c("b", 1, 0, 10), Grant: g(10, 10, 10, 1, 5), Call: at(10), Return: at(11)},
			{Claim: c("b", 2, 10, 10), Grant: g(10, 6, 10, 2, 6), Call: at(12), Return: at(13)}}, porcupine.Ok},
		"undone": {[]Op{learned, lost, {Claim: c("b", 1, 0, 10), Grant: g(6, 6, 10, 2, 5), Call: at(10), Return: at(11)},
			{Claim: c("b", 2, 6, 10), Grant: g(10, 10, 10, 1, 6), Call: at(12), Return: at(13)}}, porcupine.Illegal},
		"before it was made": {[]Op{learned, {Claim: c("b", 1, 0, 10), Grant: g(6, 6, 10, 2, 5), Call: at(3), Return: at(4)}, lost}, porcupine.Illegal},
	} {
		for i := range h.history {
			h.history[i].Grant.Lease = h.history[i].Claim.Lease
		}
		if got := Check(h.history, 0, patience); got != h.want {
			t.Errorf("%s: %s, want %s", name, got, h.want)
		}
	}
}
