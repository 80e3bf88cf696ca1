package proof_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/resource"
)

// recorder records the history of one round. Its clock is a shared counter.
type recorder struct {
	clock atomic.Int64
	acts  atomic.Int64 // numbers acquires

	mu  sync.Mutex
	all []porcupine.Operation
}

func (r *recorder) add(client int, call, ret int64, s ...step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range s {
		r.all = append(r.all, porcupine.Operation{ClientId: client, Input: s, Call: call, Return: ret})
	}
}

// client acquires and releases repeatedly.
type client struct {
	*recorder
	n    int
	pool pool[int]
	rand *rand.Rand
	old  lease[int] // an ended one
}

func (c *client) run(rounds int) {
	for range rounds {
		switch c.rand.IntN(6) {
		case 0:
			c.try()
		case 1:
			c.look()
		default:
			c.acquire()
		}
		c.dawdle()
	}
}

func (c *client) dawdle() {
	for range c.rand.IntN(6) {
		runtime.Gosched()
	}
}

func (c *client) acquire() {
	who := byte(c.acts.Add(1) % 128)
	ctx, cancel := context.WithCancel(context.Background())
	if c.rand.IntN(3) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.rand.IntN(200))*time.Microsecond)
	}
	defer cancel()
	call := c.clock.Add(1)
	l, err := c.pool.AcquireWith(ctx, resource.Request{})
	ret := c.clock.Add(1)
	if err != nil {
		c.add(c.n, call, ret, step{act: join, who: who, thing: none},
			step{act: expire, who: who, thing: none}, step{act: leave, who: who, thing: none})
		return
	}
	v := value(l)
	c.add(c.n, call, ret, step{act: join, who: who, thing: none}, step{act: serve, who: who, thing: v})
	c.end(l, v)
}

func (c *client) try() {
	call := c.clock.Add(1)
	l, ok := c.pool.TryAcquire()
	ret := c.clock.Add(1)
	if !ok {
		c.add(c.n, call, ret, step{act: try, thing: none})
		return
	}
	v := value(l)
	c.add(c.n, call, ret, step{act: try, thing: v})
	c.end(l, v)
}

// value returns the value of l; none, which no history allows, if the lease has ended by
// itself.
func value(l lease[int]) (v int) {
	defer func() {
		if recover() != nil {
			v = none
		}
	}()
	return l.Value()
}

// end holds and releases, and sometimes uses an ended lease, which must have no effect and
// is not a step.
func (c *client) end(l lease[int], v int) {
	c.dawdle()
	if c.old != nil && c.rand.IntN(2) == 0 {
		c.old.Release()
	}
	call := c.clock.Add(1)
	l.Release()
	c.add(c.n, call, c.clock.Add(1), step{act: release, thing: v})
	c.old = l
}

func (c *client) look() {
	call := c.clock.Add(1)
	n := c.pool.Stats().Waiting
	c.add(c.n, call, c.clock.Add(1), step{act: look, n: n, thing: none})
}

// round runs some clients concurrently on a full pool and returns the history. All
// resources are free at its end, so each round is a separate history, short enough to
// check.
func round(p pool[int], clients, turns int, seed uint64) []porcupine.Operation {
	r := &recorder{}
	var all sync.WaitGroup
	for n := range clients {
		c := &client{recorder: r, n: n, pool: p, rand: rand.New(rand.NewPCG(seed, uint64(n)))}
		all.Go(func() { c.run(turns) })
	}
	all.Wait()
	return r.all
}

// full returns a pool whose n resources have been made.
func full(t *testing.T, n int, make newPool[int]) pool[int] {
	t.Helper()
	var made atomic.Int64
	p, err := make(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return int(made.Add(1)) - 1, nil },
		MaxSize: n,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Warm(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return p
}

// rounds checks histories until one is not linearizable or the time is over.
func rounds(t *testing.T, n int, make newPool[int], seed uint64, limit time.Duration) (err error) {
	t.Helper()
	p := full(t, n, make)
	defer func() {
		if cerr := p.Close(context.Background()); cerr != nil {
			t.Error(cerr)
		}
	}()
	start, ops := time.Now(), 0
	for i := uint64(0); time.Since(start) < limit; i++ {
		h := round(p, 2+int(i%5), 8, seed+i)
		ops += len(h)
		switch explain(n, h) {
		case porcupine.Illegal:
			t.Log(describe(h))
			return fmt.Errorf("round %d: no order explains %d steps (without failed tries: %v, without looks: %v)",
				i, len(h), explain(n, without(h, try)), explain(n, without(h, look)))
		case porcupine.Unknown:
			t.Logf("round %d: not decided in time", i)
		}
	}
	t.Logf("%d steps explained", ops)
	return nil
}

// describe prints a history in the order in which the calls began.
func describe(h []porcupine.Operation) string {
	sort.SliceStable(h, func(i, j int) bool { return h[i].Call < h[j].Call })
	var b strings.Builder
	for _, o := range h {
		fmt.Fprintf(&b, "%4d %4d  client %d  %s\n", o.Call, o.Return, o.ClientId, o.Input.(step))
	}
	return b.String()
}

// without removes steps without effect, to find the faulty one.
func without(h []porcupine.Operation, a act) []porcupine.Operation {
	var keep []porcupine.Operation
	for _, o := range h {
		if s := o.Input.(step); s.act != a || s.thing != none {
			keep = append(keep, o)
		}
	}
	return keep
}

// TestLinear checks that concurrent calls are linearizable, with a model that serves
// waiters in order of arrival.
func TestLinear(t *testing.T) {
	s := testkit.Seed(t)
	for _, n := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("things=%d", n), func(t *testing.T) {
			if err := rounds(t, n, newReal[int], s, testkit.StressTime(t)*3/4); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLinearPlain checks that the plain pool satisfies the model.
func TestLinearPlain(t *testing.T) {
	if err := rounds(t, 2, newPlain[int](""), testkit.Seed(t), time.Second); err != nil {
		t.Error(err)
	}
}

// TestLinearCatches checks that planted faults violate the model.
func TestLinearCatches(t *testing.T) {
	for _, bug := range []string{"ends another's lease", "serves the last", "lends what is out"} {
		t.Run(bug, func(t *testing.T) {
			p := newPlain[int](bug)
			if bug == "lends what is out" {
				p = newGenerous
			}
			err := rounds(t, 2, p, testkit.Seed(t), 20*time.Second)
			if err == nil {
				t.Fatal("not caught")
			}
			t.Log("caught:", err)
		})
	}
}
