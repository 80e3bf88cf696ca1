package cluster_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// units is a Quota: a channel with a token for each free unit. A request waits for one.
type units struct {
	free    chan struct{}
	waiting atomic.Int64
}

func newUnits(n int) *units {
	u := &units{free: make(chan struct{}, n)}
	for range n {
		u.free <- struct{}{}
	}
	return u
}

func (u *units) Admit(ctx context.Context, _ resource.Request) (resource.Done, error) {
	u.waiting.Add(1)
	defer u.waiting.Add(-1)
	select {
	case <-u.free:
		return func(resource.Outcome) { u.free <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refuser refuses while it is shut.
type refuser struct{ shut atomic.Bool }

func (g *refuser) Admit(context.Context, resource.Request) (resource.Done, error) {
	if g.shut.Load() {
		return nil, &resource.Rejection{Policy: "test", RetryAfter: 300 * time.Millisecond, Err: errors.New("shut")}
	}
	return nil, nil
}

// with lets edit change the Config of each endpoint.
func with(cfg *cluster.Config, edit func(*wspool.Config)) {
	inner := cfg.Config
	cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
		c, err := inner(e)
		edit(&c)
		return c, err
	}
}

// A Quota or MakeGate that lets no probe dial says nothing about the endpoint, and probes do not
// accumulate creations there.
func TestProbe_Gated(t *testing.T) {
	var u *units
	var r *refuser
	for name, edit := range map[string]func(*wspool.Config){
		"a Quota that waits":      func(c *wspool.Config) { c.Quota = u },
		"a MakeGate that waits":   func(c *wspool.Config) { c.MakeGate = u },
		"a Quota that refuses":    func(c *wspool.Config) { c.Quota = r },
		"a MakeGate that refuses": func(c *wspool.Config) { c.MakeGate = r },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u, r = newUnits(8), new(refuser)
				w := newWorld(t).start("a:80", "b:80")
				cfg := w.cfg(static(list("a:80", "b:80")))
				cfg.Rebalance.Off = true
				with(&cfg, edit)
				c := open(t, cfg)
				if err := c.Warm(t.Context(), 8); err != nil {
					t.Fatal(err)
				}
				r.shut.Store(true)
				for range len(u.free) { // the MakeGate has all units back
					<-u.free
				}
				go func() {
					select {
					case <-u.free: // the connection that ends has it
					case <-t.Context().Done():
					}
				}()
				w.at("a:80").cutOne()
				time.Sleep(5 * time.Minute)
				if s, _ := state(t, c, "a:80"); s.Failing || s.Ejections > 0 || s.Probes == 0 {
					t.Errorf("a is %v, failing %v, %d ejections, %d probes: %v", s.Status, s.Failing, s.Ejections, s.Probes, s.Cause)
				}
				time.Sleep(2 * time.Second)
				if n := c.Stats().Making; n > 1 {
					t.Errorf("%d creations wait, and no caller", n)
				}
			})
		})
	}
}

// The endpoint in use has all units of a Quota. One of a better Priority that has recovered is
// probed, and used again.
func TestProbe_FailbackQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		w.take = 50 * time.Millisecond
		u := newUnits(4)
		cfg := w.cfg(static{{Addr: "a:80"}, {Addr: "b:80", Priority: 1}})
		with(&cfg, func(c *wspool.Config) { c.Quota = u })
		c := open(t, cfg)
		stop := load(t.Context(), c, 6, 0, func(time.Time, string, error) {})
		time.Sleep(5 * time.Second)
		w.at("a:80").kill()
		time.Sleep(30 * time.Second)
		if p := c.Stats().Set.Priority; p != 1 {
			t.Errorf("Priority %d is in use", p)
		}
		w.at("a:80").down.Store(false)
		time.Sleep(5 * time.Minute)
		if p := c.Stats().Set.Priority; p != 0 {
			t.Errorf("5 minutes after it works again Priority %d is in use", p)
		}
		stop()
	})
}

// So is one whose first probe finds only connections elsewhere that are too new to be closed.
func TestProbe_FailbackQuotaNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		w.at("a:80").kill()
		cfg := w.cfg(static{{Addr: "a:80"}, {Addr: "b:80", Priority: 1}})
		u := newUnits(4)
		with(&cfg, func(c *wspool.Config) { c.Quota = u })
		c := open(t, cfg)
		for c.Stats().Set.Priority == 0 {
			if conn, err := c.Acquire(t.Context()); err == nil {
				conn.Discard(nil)
			}
			time.Sleep(100 * time.Millisecond) // in the bubble
		}
		if err := c.Warm(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		w.at("a:80").down.Store(false)
		time.Sleep(5 * time.Minute) // in the bubble
		if s := c.Stats(); s.Set.Priority != 0 {
			t.Errorf("5 minutes after it works again Priority %d is in use; %d units wait", s.Set.Priority, u.waiting.Load())
		}
	})
}

// grow does not keep a Quota waiting that has nothing for it.
func TestGrow_Quota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := names(8)
		w := newWorld(t).start(all...)
		u := newUnits(1)
		cfg := w.cfg(static(list(all...)))
		cfg.Rebalance.Off = true
		with(&cfg, func(c *wspool.Config) { c.Quota = u })
		c := open(t, cfg)
		for range 50 {
			ask(t, c)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if n := u.waiting.Load(); n > 0 {
			t.Errorf("%d creations wait for a unit, and no caller", n)
		}
	})
}

// failingLedger is a ledger that can be down.
type failingLedger struct {
	*fleet.Memory
	down atomic.Bool
}

func (l *failingLedger) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	if l.down.Load() {
		return fleet.Grant{}, errors.New("the ledger is down")
	}
	return l.Memory.Claim(ctx, c)
}

// That a fleet.Quota closes connections before its lease ends says nothing about the endpoints.
func TestEvidence_QuotaExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80", "c:80")
		ledger := &failingLedger{Memory: fleet.NewMemory()}
		ledger.Begin("account")
		q, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "account", Limit: 40, OnLost: fleet.FailClosed, CloseBeforeExpiry: true})
		if err != nil {
			t.Fatal(err)
		}
		cfg := w.cfg(static{{Addr: "a:80"}, {Addr: "b:80"}, {Addr: "c:80", Priority: 1}})
		with(&cfg, func(c *wspool.Config) {
			c.Quota = q.Member(1)
			c.NetDial = q.Dial(c.NetDial)
		})
		c := open(t, cfg)
		if err := c.Warm(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		ledger.down.Store(true)
		time.Sleep(time.Minute)
		ledger.down.Store(false)
		time.Sleep(5 * time.Second)
		s := c.Stats()
		for _, e := range s.Endpoints {
			if e.Bad > 0 || e.Ejections > 0 {
				t.Errorf("%s has %d failures, %d ejections", e.Endpoint.Addr, e.Bad, e.Ejections)
			}
		}
		if s.Set.Failovers > 0 || s.Destroyed == 0 {
			t.Errorf("%d failovers, %d connections destroyed", s.Set.Failovers, s.Destroyed)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Connections move to an endpoint that joins also if a Quota has no unit left: one is closed first.
func TestRebalance_Quota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		u := newUnits(8)
		r := newManual()
		cfg := w.cfg(r)
		with(&cfg, func(c *wspool.Config) { c.Quota = u })
		c := open(t, cfg)
		r.set("a:80")
		if err := c.Warm(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		r.set("a:80", "b:80")
		time.Sleep(5 * time.Minute)
		if n := connections(c); n["a:80"] != 4 || n["b:80"] != 4 || u.waiting.Load() != 0 {
			t.Errorf("connections %v; %d creations wait", n, u.waiting.Load())
		}
	})
}

// Moves that do not help do not close more than one connection, while the Quota gives nothing.
func TestRebalance_QuotaGivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		u, lost := newUnits(8), newUnits(0)
		r := newManual()
		cfg := w.cfg(r)
		inner := cfg.Config
		cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
			c, err := inner(e)
			if c.Quota = u; e.Addr == "b:80" {
				c.Quota = lost
			}
			return c, err
		}
		c := open(t, cfg)
		r.set("a:80")
		if err := c.Warm(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		r.set("a:80", "b:80")
		time.Sleep(10 * time.Minute)
		if s := c.Stats(); s.Idle < 7 || s.MovesFailed < 2 {
			t.Errorf("%d connections; %d moves failed", s.Idle, s.MovesFailed)
		}
	})
}
