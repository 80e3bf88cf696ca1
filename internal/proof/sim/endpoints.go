package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/resource"
)

// Five servers behind one pool. Callers arrive at random (open loop), each with a deadline. A
// call that fails is tried once more, at what is ranked best then.

const (
	servers  = 5
	tries    = 2
	callTime = 10 * time.Millisecond
	patience = 500 * time.Millisecond // of a call, with its second try
)

// cluster is five servers and the clients' way to them.
type cluster struct {
	servers map[string]*server
	set     *endpoint.Set
	pools   *resource.Keyed[string, *session]
	careful bool // callers wait for whichever endpoint has a session first, try again, and report evidence
}

// newCluster begins servers with scripts, and the clients' pools. Without an ejector the balancer
// picks one endpoint, whatever happened before.
func newCluster(t *testing.T, st *Stage, every time.Duration, size int, careful bool, script func(i int) []phase) *cluster {
	t.Helper()
	c := &cluster{servers: make(map[string]*server), careful: careful}
	var list []endpoint.Endpoint
	for i := range servers {
		addr := fmt.Sprint("server-", i+1)
		time.Sleep(instant(1)) // so that the timers of the servers differ
		c.servers[addr] = st.newServer(every, dialTime, script(i)...)
		list = append(list, endpoint.Endpoint{Addr: addr})
	}
	pools, err := resource.NewKeyed(resource.KeyedConfig[string, *session]{
		Config: func(addr string) (resource.Config[*session], error) {
			return resource.Config[*session]{
				Make: c.servers[addr].dial, Destroy: destroy, Watch: watch, MaxSize: size, MakeTimeout: 2 * time.Second,
				Trace: &resource.Trace{Made: func(_ context.Context, e resource.MakeEvent) {
					kind := endpoint.Connected
					if e.Err != nil {
						kind = endpoint.DialFailed
					}
					if c.set != nil && careful {
						c.set.Observe(addr, endpoint.Evidence{Kind: kind, Err: e.Err, Latency: e.Took})
					}
				}},
			}, nil
		},
		MaxTotal: servers * size,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.pools = pools
	cfg := endpoint.SetConfig{Resolver: endpoint.Static(list...), Balancer: endpoint.RoundRobin(), Ejector: endpoint.Never()}
	if careful {
		cfg.Balancer, cfg.Ejector = endpoint.P2C(), nil
		cfg.Probe = func(ctx context.Context, addr string) error {
			p, err := pools.Pool(addr)
			if err != nil {
				return err
			}
			if err := p.MakeOne(ctx); !errors.Is(err, resource.ErrFull) {
				return err
			}
			return nil // all that the pool may have are there
		}
		cfg.ProbeTimeout = time.Second
	}
	set, err := endpoint.NewSet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.set = set
	if err := set.Ready(context.Background()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) close(t *testing.T) {
	t.Helper()
	if err := c.set.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := c.pools.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for _, s := range c.servers {
		s.close()
	}
}

// call makes one call, and returns the endpoints that it was sent to.
func (c *cluster) call(ctx context.Context, takes time.Duration) (sent []string, err error) {
	most := tries
	if !c.careful {
		most = 1
	}
	for range most {
		addrs := c.set.Rank(nil, "")
		if !c.careful {
			addrs = addrs[:1]
		}
		use := c.set.Begin(addrs[0])
		addr, l, err2 := c.pools.AcquireAny(ctx, addrs, resource.Request{})
		if err = err2; err != nil {
			sent = append(sent, addrs[0])
			kind := endpoint.Nothing // a dial that failed has been reported
			if ctx.Err() != nil {
				kind = endpoint.Unanswered
			}
			c.end(use, endpoint.Evidence{Kind: kind})
			continue
		}
		sent = append(sent, addr)
		use = use.Move(addr)
		began := time.Now()
		err = l.Value().serve(ctx, takes)
		evidence := endpoint.Evidence{Kind: endpoint.Success, Latency: time.Since(began), Err: err}
		switch {
		case err == nil:
			l.Release()
		case ctx.Err() != nil:
			evidence.Kind = endpoint.Unanswered
			l.Fail(err)
		default:
			evidence.Kind = endpoint.Closed
			l.Fail(err)
		}
		c.end(use, evidence)
		if err == nil {
			return sent, nil
		}
	}
	return sent, err
}

// end ends a use, with its evidence unless the clients are careless.
func (c *cluster) end(use endpoint.Use, e endpoint.Evidence) {
	if !c.careful {
		e = endpoint.Evidence{}
	}
	use.End(e)
}

// traffic is the result of the callers of a cluster.
type traffic struct {
	came, good, failed timeline
	sent               map[string]*timeline
	waits              timeline
}

// run has callers arrive, and returns what became of them.
func (c *cluster) run(st *Stage, every, lasts time.Duration, rate float64) *traffic {
	r := &traffic{
		came: timeline{every: every}, good: timeline{every: every}, failed: timeline{every: every},
		waits: timeline{every: every}, sent: make(map[string]*timeline),
	}
	for addr := range c.servers {
		r.sent[addr] = &timeline{every: every}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for _, a := range Arrivals(st.rand(0), Steady(rate), Uniform(callTime), lasts) {
		time.Sleep(a.At - time.Since(began))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			sent, err := c.call(ctx, a.Hold)
			mu.Lock()
			defer mu.Unlock()
			r.came.add(a.At, 1)
			if err == nil {
				r.good.add(a.At, 1)
				r.waits.wait(a.At, time.Since(began)-a.At)
			} else {
				r.failed.add(a.At, 1)
			}
			for _, addr := range sent {
				r.sent[addr].add(a.At, 1)
			}
		})
	}
	wg.Wait()
	return r
}

// line is how many calls were answered in time, in percent.
func (r *traffic) line(name string, until time.Duration) Line {
	line := r.good.line(name, 100, until)
	for i := range line.Y {
		line.Y[i] /= max(1, r.came.n[i])
	}
	return line
}

// Each of five servers restarts, one after the other, and is away for two seconds.
var rolling = Scene{
	Name:    "rolling-restart",
	Promise: "five servers restart one after the other, each away for 2 s: calls that failed",
	Clients: 5_000,
	play: func(s *Stage) {
		const (
			first = 3 * time.Second
			step  = 4 * time.Second
			away  = 2 * time.Second
			lasts = first + servers*step + 2*time.Second
			every = 250 * time.Millisecond
		)
		rate := float64(s.res.Clients) / lasts.Seconds()
		answered := Curve{Name: "answered", Title: "Five servers restart, one after the other", X: "s", Y: "% of the calls answered"}
		s.row("", "calls", "failed", "p99 latency", "dials", "refused dials")
		run := func(name string, careful bool) (failed, calls float64) {
			s.bubble(name, func(t *testing.T) {
				c := newCluster(t, s, every, 10+int(rate/20), careful, func(i int) []phase {
					at := first + time.Duration(i)*step
					return []phase{{from: at, until: at + away, state: down}}
				})
				r := c.run(s, every, lasts, rate)
				dials, refused := 0, 0.0
				for _, srv := range c.servers {
					dials += srv.dialed
					refused += srv.refused.sum(0, lasts)
				}
				c.close(t)
				failed, calls = r.failed.sum(0, lasts), r.came.sum(0, lasts)
				s.row(name, int(calls), int(failed), quantile(slices.Concat(r.waits.waits...), 0.99), dials, int(refused))
				answered.Lines = append(answered.Lines, r.line(name, lasts))
			})
			return failed, calls
		}
		bare, calls := run("RoundRobin, one pool each", false)
		own, _ := run("P2C, AcquireAny, a second try", true)
		s.curve(answered)
		s.goal(own <= 0.0005*calls, "P2C and AcquireAny: %.0f of %.0f calls failed, at most 0.05 %%", own, calls)
		s.goal(bare >= 0.05*calls, "RoundRobin: %.0f of %.0f calls failed, at least 5 %%, or the load is lower than intended", bare, calls)
		s.figures(fmt.Sprintf("%.0f of %.0f (round robin)", bare, calls), fmt.Sprintf("%.0f (`P2C`, `AcquireAny`, a second try)", own))
	},
}

// One of five servers goes silent: it accepts nothing, answers nothing, and closes nothing.
var blackHole = Scene{
	Name:    "black-hole",
	Promise: "one of five servers goes silent for 10 s: calls sent to it from the second second on",
	Clients: 5_000,
	play: func(s *Stage) {
		const (
			from  = 3 * time.Second
			until = 13 * time.Second
			lasts = 20 * time.Second
			every = 250 * time.Millisecond
			hole  = "server-3"
		)
		rate := float64(s.res.Clients) / lasts.Seconds()
		answered := Curve{Name: "answered", Title: "One of five servers is silent from 3 s to 13 s", X: "s", Y: "% of the calls answered"}
		s.row("", "sent to it before", "in the first second", "then", "failed", "sent to it at the end")
		run := func(name string, careful bool) (then, failed float64) {
			s.bubble(name, func(t *testing.T) {
				c := newCluster(t, s, every, 10+int(rate/20), careful, func(i int) []phase {
					if fmt.Sprint("server-", i+1) == hole {
						return []phase{{from: from, until: until, state: silent}}
					}
					return nil
				})
				r := c.run(s, every, lasts, rate)
				c.close(t)
				share := func(from, until time.Duration) float64 {
					all := 0.0
					for _, l := range r.sent {
						all += l.sum(from, until)
					}
					return r.sent[hole].sum(from, until) / max(1, all)
				}
				then = share(from+time.Second, until)
				failed = r.failed.sum(from+time.Second, until) / r.came.sum(from+time.Second, until)
				s.row(name, part(share(0, from)), part(share(from, from+time.Second)), part(then), int(r.failed.sum(0, lasts)), part(share(lasts-2*time.Second, lasts)))
				answered.Lines = append(answered.Lines, r.line(name, lasts))
			})
			return then, failed
		}
		bare, bareFailed := run("RoundRobin, one pool each", false)
		own, ownFailed := run("P2C, AcquireAny, a second try", true)
		s.curve(answered)
		s.goal(own <= 0.01, "P2C: %.4f of the calls were sent to it, at most 0.01", own)
		s.goal(ownFailed <= 0.01, "P2C: %.4f of the calls failed, at most 0.01", ownFailed)
		s.goal(bareFailed >= 0.15, "RoundRobin: %.4f of the calls failed, at least 0.15, or the load is lower than intended", bareFailed)
		s.figures(percent(bare)+", all of which failed (round robin)", percent(own)+" (`P2C`)")
	},
}
