package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// A dial storm: the server is down for ten seconds, each dial fails after 5 ms, and 200
// callers keep retrying, 10 ms after each error. The figures are the number of dials during
// the outage, and the time until all callers are served after it.

const (
	outageLasts = 10 * time.Second
	politely    = 10 * time.Millisecond
	dialTime    = 5 * time.Millisecond
	maxDials    = 85                         // goal: 50 at first, before the first failure is known, and the probes
	maxGated    = 18                         // with a MakeGate of 8
	maxPause    = outageLasts/8 + 2*dialTime // the longest pause of the pool between two probes, and one dial
	gatePause   = 5*time.Second + 2*dialTime // that of the MakeGate
)

var outage = Scene{
	Name:    "outage",
	Promise: "server down for 10 s, 200 callers that retry, MaxSize 100: dials",
	Clients: 200,
	play: func(s *Stage) {
		dials := Curve{Name: "dials", Title: "A server is down for 10 s: dials since the beginning", X: "s", Y: "dials", Log: true}
		s.row("", "dials while down", "at once", "errors told", "first lease after", "all served", "dials then")
		report := func(name string, r *storm) *storm {
			s.row(name, r.whileDown(), r.atOnce, r.errs, r.first, r.all, r.dialed-r.whileDown())
			line := r.dials.line(name, 1, outageLasts+2*time.Second)
			for i := 1; i < len(line.Y); i++ {
				line.Y[i] += line.Y[i-1]
			}
			dials.Lines = append(dials.Lines, line)
			return r
		}
		gated := func(cfg *resource.Config[*session]) { cfg.MakeGate = makeGate(s.t, 8) }
		waiting := func(cfg *resource.Config[*session]) { cfg.Outage = resource.KeepWaiting }

		bare := report("puddle, 1s of it", s.stormOnPuddle())
		var best [3]*storm
		for i, w := range []struct {
			name string
			edit func(*resource.Config[*session])
			most int
			wait time.Duration // the longest pause between two probes
		}{
			{"resource", func(*resource.Config[*session]) {}, maxDials, maxPause},
			{"resource, KeepWaiting", waiting, maxDials, maxPause},
			{"resource, MakeGate of 8", gated, maxGated, gatePause},
		} {
			r := report(w.name, s.stormOn(w.name, w.edit))
			s.goal(r.whileDown() <= w.most, "%s: %d dials while the server was down, at most %d", w.name, r.whileDown(), w.most)
			s.goal(r.first <= w.wait, "%s: the first lease %v after the outage, at most %v", w.name, r.first, w.wait)
			limit := time.Second + r.pause*11/10
			s.goal(r.all <= limit, "%s: all were served %v after the first, at most %v", w.name, r.all, limit)
			best[i] = r
		}
		s.curve(dials)
		s.goal(bare.whileDown() >= 100*maxDials, "puddle: %d dials, at least %d, or the load is lower than intended", bare.whileDown(), 100*maxDials)
		s.figures(fmt.Sprintf("%d in the first second (puddle)", bare.whileDown()),
			fmt.Sprintf("%d; with a `MakeGate` of 8: %d", best[0].whileDown(), best[2].whileDown()))
	},
}

// storm is the result of the callers.
type storm struct {
	*server
	up    time.Duration // the end of the outage
	pause time.Duration // of a caller, after an error
	errs  int
	first time.Duration // from the end of the outage to the first lease
	all   time.Duration // from there until every caller has had one
}

// whileDown is the number of dials during the outage.
func (r *storm) whileDown() int { return int(r.dials.sum(0, r.up)) }

// run runs the callers until each has had a lease.
func (r *storm) run(st *Stage, acquire func(ctx context.Context) (release func(), err error)) {
	var mu sync.Mutex
	var first, last time.Duration
	var wg sync.WaitGroup
	callers := st.res.Clients
	r.pause = politely * time.Duration(max(1, callers/200)) // so that as many tries are made
	for i := range callers {
		random := st.rand(uint64(i))
		wg.Go(func() {
			time.Sleep(upTo(random, time.Millisecond))
			for {
				release, err := acquire(context.Background())
				if err == nil {
					mu.Lock()
					last = r.now()
					if first == 0 {
						first = last
					}
					mu.Unlock()
					time.Sleep(time.Millisecond)
					release()
					return
				}
				mu.Lock()
				r.errs++
				mu.Unlock()
				time.Sleep(r.pause + upTo(random, r.pause/10))
			}
		})
	}
	wg.Wait()
	r.first, r.all = first-r.up, last-first
}

// stormOn runs the storm on a resource.Pool.
func (s *Stage) stormOn(name string, edit func(cfg *resource.Config[*session])) (r *storm) {
	s.bubble(name, func(t *testing.T) {
		r = &storm{up: outageLasts, server: s.newServer(outageLasts/50, dialTime, phase{until: outageLasts, state: down})}
		cfg := resource.Config[*session]{Make: r.dial, Destroy: destroy, MaxSize: s.scaled(100)}
		edit(&cfg)
		p := newPool(t, cfg)
		r.run(s, func(ctx context.Context) (func(), error) {
			l, err := p.Acquire(ctx)
			return l.Release, err
		})
		closePool(t, p)
		r.close()
	})
	return r
}

// stormOnPuddle runs the first second of the storm on puddle. It does not react to failures,
// so the other seconds are the same.
func (s *Stage) stormOnPuddle() (r *storm) {
	s.bubble("puddle", func(t *testing.T) {
		r = &storm{up: outageLasts / 10, server: s.newServer(outageLasts/50, dialTime, phase{until: outageLasts / 10, state: down})}
		p := newPuddle(t, r.dial, s.scaled(100))
		r.run(s, func(ctx context.Context) (func(), error) {
			l, err := p.Acquire(ctx)
			if err != nil {
				return nil, err
			}
			return l.Release, nil
		})
		p.Close()
		r.close()
	})
	return r
}

func destroy(c *session, _ error) { c.end(nil) }

func watch(c *session, invalidate func(error)) { c.watch(invalidate) }

// makeGate returns a MakeGate without jitter, which would not follow from the seed.
func makeGate(t *testing.T, n int) *policy.MakeGate {
	t.Helper()
	g, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: n, Jitter: 1e-12})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// users are clients that use a session, pause and come again, until a time.
type users struct {
	n        int
	hold     time.Duration
	pause    time.Duration
	retry    time.Duration // the pause after an error; 0: pause
	deadline time.Duration // of an acquire
	until    time.Duration

	mu     sync.Mutex
	served timeline
	errs   timeline
	waits  timeline
	last   []time.Duration // when each was last served
}

// run begins the clients. lend returns a session and what ends its lease, with the error of the
// use.
func (u *users) run(st *Stage, wg *sync.WaitGroup, srv *server, kind int, lend func(ctx context.Context, i int) (c *session, end func(error), err error)) {
	u.served, u.errs, u.waits = timeline{every: srv.every}, timeline{every: srv.every}, timeline{every: srv.every}
	u.last = make([]time.Duration, u.n)
	for i := range u.n {
		r := st.rand(uint64(kind*MaxClients + i))
		wg.Go(func() {
			time.Sleep(upTo(r, u.hold+u.pause))
			for srv.now() < u.until {
				began := srv.now()
				ctx, cancel := context.WithTimeout(context.Background(), u.deadline)
				c, end, err := lend(ctx, i)
				cancel()
				waited := srv.now() - began
				if err == nil {
					err = c.serve(context.Background(), u.hold/2+upTo(r, u.hold))
					end(err)
				}
				u.mu.Lock()
				if err == nil {
					u.served.add(srv.now(), 1)
					u.waits.wait(began, waited)
					u.last[i] = srv.now()
				} else {
					u.errs.add(srv.now(), 1)
				}
				u.mu.Unlock()
				pause := u.pause
				if err != nil && u.retry > 0 {
					pause = u.retry
				}
				time.Sleep(pause/2 + upTo(r, pause))
			}
		})
	}
}

// lendFrom lends from a pool.
func lendFrom(p *resource.Pool[*session]) func(context.Context, int) (*session, func(error), error) {
	return func(ctx context.Context, _ int) (*session, func(error), error) {
		l, err := p.Acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		return l.Value(), func(err error) {
			if err != nil {
				l.Fail(err)
			} else {
				l.Release()
			}
		}, nil
	}
}

// A fleet of 100 processes with 10 clients each; the server restarts and is away for two
// seconds. Then it makes 400 handshakes a second, and nothing else while it makes more: a
// dial that is not answered within a second is given up, though the server still works for it.
var fleetStorm = Scene{
	Name:    "fleet-storm",
	Promise: "a server of 100 processes restarts, away for 2 s, 400 handshakes a second: dials in the 10 s after it went down",
	Clients: 1_000,
	play: func(s *Stage) {
		const (
			processes = 100
			downAt    = 4 * time.Second
			upAt      = 6 * time.Second
			until     = 14 * time.Second
			handshake = 20 * time.Millisecond
			patience  = time.Second + 317*time.Microsecond // of a dial; no multiple of the ticks of a pool
		)
		each := max(1, s.res.Clients/processes)
		// A client of more comes less often, so that about as many requests are made.
		seldom := time.Duration(max(1, s.res.Clients/1000))
		rate := 400 * each / 10
		dials := Curve{Name: "dials", Title: "100 processes after a restart of their server", X: "s", Y: "dials in a second"}
		served := Curve{Name: "served", Title: "100 processes after a restart of their server", X: "s", Y: "requests served, % of those before"}
		s.row("", "dials in 10 s", "most at once", "sessions back", "95 % of the work back", "errors of clients")
		run := func(name string, bare bool, edit func(cfg *resource.Config[*session], ledger *fleet.Memory) (end func())) (n int, back time.Duration) {
			s.bubble(name, func(t *testing.T) {
				srv := s.newServer(100*time.Millisecond, handshake, phase{from: downAt, until: upAt, state: down})
				srv.accepts, srv.acceptsFrom = max(1, int(float64(rate)*handshake.Seconds())), downAt
				ledger := fleet.NewMemory()
				var wg sync.WaitGroup
				var all []*users
				var ends []func()
				for i := range processes {
					time.Sleep(time.Millisecond + instant(i))
					// No two dials are given up at the same instant.
					var begun atomic.Int64
					dial := func(ctx context.Context) (*session, error) {
						ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(begun.Add(1))*7919)
						defer cancel()
						return srv.dial(ctx)
					}
					u := &users{n: each, hold: 50 * time.Millisecond, pause: 800 * time.Millisecond * seldom, retry: 100 * time.Millisecond * seldom, deadline: 2 * time.Second, until: until}
					all = append(all, u)
					if bare {
						p := newPuddle(t, dial, each)
						u.run(s, &wg, srv, i, lendFromPuddle(p))
						ends = append(ends, p.Close)
						continue
					}
					cfg := resource.Config[*session]{Make: dial, Destroy: destroy, Watch: watch, MaxSize: each, MinIdle: each, Order: resource.OldestFirst}
					end := edit(&cfg, ledger)
					p := newPool(t, cfg)
					u.run(s, &wg, srv, i, lendFrom(p))
					ends = append(ends, func() { closePool(t, p); end() })
				}
				wg.Wait()
				srv.mu.Lock()
				srv.countLocked()
				srv.mu.Unlock()
				for _, end := range ends {
					end()
				}
				srv.close()
				n = int(srv.dials.sum(downAt, downAt+10*time.Second))
				before := srv.sessions.sum(downAt-time.Second, downAt)
				sessions := firstAtLeast(&srv.sessions, upAt, until, 0.95*before*srv.every.Seconds())
				sum, errs := timeline{every: srv.every}, 0.0
				for _, u := range all {
					for i, n := range u.served.n {
						sum.add(time.Duration(i)*srv.every, n)
					}
					errs += u.errs.sum(downAt, until)
				}
				usual := sum.sum(downAt-time.Second, downAt) * srv.every.Seconds()
				back = firstAtLeast(&sum, upAt, until, 0.95*usual)
				s.row(name, n, srv.atOnce, sinceUp(sessions-upAt, until-upAt), sinceUp(back-upAt, until-upAt), int(errs))
				dials.Lines = append(dials.Lines, srv.dials.line(name, 1/srv.every.Seconds(), until))
				served.Lines = append(served.Lines, sum.line(name, 100/usual, until))
			})
			return n, back - upAt
		}
		none := func(*resource.Config[*session], *fleet.Memory) func() { return func() {} }
		bare, _ := run("puddle", true, nil)
		own, ownBack := run("resource", false, none)
		gated, gatedBack := run("MakeGate of 2", false, func(cfg *resource.Config[*session], _ *fleet.Memory) func() {
			cfg.MakeGate = makeGate(s.t, 2)
			return func() {}
		})
		shared, sharedBack := run("fleet.DialRate", false, func(cfg *resource.Config[*session], ledger *fleet.Memory) func() {
			d, err := fleet.NewDialRate(fleet.RateConfig{Ledger: ledger, Rate: "dials", Tokens: rate * 3 / 4, Per: time.Second, Burst: max(1, rate/10), Chunk: 2})
			if err != nil {
				s.t.Fatal(err)
			}
			cfg.MakeGate = d
			return d.Close
		})
		s.curve(dials)
		s.curve(served)
		most := 8 * s.res.Clients
		for _, v := range []struct {
			name string
			n    int
			back time.Duration
		}{{"resource", own, ownBack}, {"MakeGate", gated, gatedBack}, {"DialRate", shared, sharedBack}} {
			s.goal(v.n <= most, "%s: %d dials in 10 s, at most %d", v.name, v.n, most)
			s.goal(v.back <= 8*time.Second, "%s: 95 %% of the work was back %v after the restart, at most 8s", v.name, v.back)
		}
		if seldom == 1 { // else puddle's callers ask for fewer sessions than MinIdle has the others dial
			s.goal(bare >= 3*own, "puddle: %d dials in 10 s, at least three times as many, or the load is lower than intended", bare)
		}
		s.figures(fmt.Sprintf("%d (puddle)", bare), fmt.Sprintf("%d; with a `fleet.DialRate`: %d", own, shared))
	},
}

func newPuddle(t *testing.T, dial func(context.Context) (*session, error), size int) *puddle.Pool[*session] {
	t.Helper()
	p, err := puddle.NewPool(&puddle.Config[*session]{Constructor: dial, Destructor: func(c *session) { c.end(nil) }, MaxSize: int32(size)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lendFromPuddle lends from a puddle pool, as its users do: a session that has failed is
// destroyed.
func lendFromPuddle(p *puddle.Pool[*session]) func(context.Context, int) (*session, func(error), error) {
	return func(ctx context.Context, _ int) (*session, func(error), error) {
		r, err := p.Acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		return r.Value(), func(err error) {
			if err != nil {
				r.Destroy()
			} else {
				r.Release()
			}
		}, nil
	}
}

// firstAtLeast returns the first instant from which on the counts stay at or above n for half a
// second; until: there is none.
func firstAtLeast(l *timeline, from, until time.Duration, n float64) time.Duration {
	const steady = 500 * time.Millisecond
	for at := from; at+steady <= until; at += l.every {
		stays := true
		for next := at; next < at+steady; next += l.every {
			stays = stays && l.sum(next, next+l.every) >= n
		}
		if stays {
			return at
		}
	}
	return until
}

// sinceUp formats how long after its restart a server had recovered.
func sinceUp(d, most time.Duration) string {
	if d >= most {
		return "not within " + short(most)
	}
	return short(d)
}

// A server of 100 sessions takes only 40 for ten seconds: it ends the others and refuses new
// ones. The pool does not know, or the program calls Resize.
var shrink = Scene{
	Name:    "shrink",
	Promise: "a server of 100 sessions takes only 40 for 10 s, the pool does not know: dials that were refused",
	Clients: 150,
	play: func(s *Stage) {
		const (
			from  = 2 * time.Second
			until = 12 * time.Second
			ends  = 16 * time.Second
		)
		size, left := s.scaled(100), s.scaled(40)
		hold := 50 * time.Millisecond * time.Duration(max(1, s.res.Clients/1000)) // so that about as many requests are made
		capacity := float64(left) / hold.Seconds()
		served := Curve{Name: "served", Title: "A server of 100 sessions takes 40, from 2 s to 12 s", X: "s", Y: "requests served, % of the capacity of 40"}
		s.row("", "refused dials", "served, of the capacity that is left", "errors of clients", "p99 wait", "all sessions back after")
		run := func(name string, lend func(t *testing.T, srv *server) (lend func(context.Context, int) (*session, func(error), error), closes func())) (refused int, share float64, back time.Duration) {
			s.bubble(name, func(t *testing.T) {
				srv := s.newServer(100*time.Millisecond, dialTime, phase{from: from, until: until, state: limited, limit: left})
				var wg sync.WaitGroup
				u := &users{n: s.res.Clients, hold: hold, pause: time.Millisecond, retry: 100 * time.Millisecond, deadline: 20 * hold, until: ends}
				f, closes := lend(t, srv)
				u.run(s, &wg, srv, 0, f)
				wg.Wait()
				srv.mu.Lock()
				srv.countLocked()
				srv.mu.Unlock()
				closes()
				srv.close()
				refused = int(srv.refused.sum(from, until))
				share = u.served.sum(from, until) / (capacity * (until - from).Seconds())
				back = firstAtLeast(&srv.sessions, until, ends, 0.98*float64(size)*srv.every.Seconds()) - until
				var waits []time.Duration
				for i := int(from / srv.every); i < int(until/srv.every); i++ {
					waits = append(waits, u.waits.waits[i]...)
				}
				s.row(name, refused, part(share), int(u.errs.sum(0, ends)), quantile(waits, 0.99), sinceUp(back, ends-until))
				served.Lines = append(served.Lines, u.served.line(name, 100/(capacity*srv.every.Seconds()), ends))
			})
			return refused, share, back
		}
		pooled := func(told bool) func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func()) {
			return func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func()) {
				p := newPool(t, resource.Config[*session]{Make: srv.dial, Destroy: destroy, Watch: watch, MaxSize: size, Order: resource.OldestFirst})
				if told {
					for _, at := range []struct {
						at time.Duration
						n  int
					}{{from, left}, {until, size}} {
						time.AfterFunc(at.at+time.Millisecond-srv.now(), func() {
							if err := p.Resize(at.n); err != nil {
								t.Error(err)
							}
						})
					}
				}
				return lendFrom(p), func() { closePool(t, p) }
			}
		}
		bare, _, _ := run("puddle", func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func()) {
			p := newPuddle(t, srv.dial, size)
			return lendFromPuddle(p), p.Close
		})
		own, share, back := run("resource", pooled(false))
		told, toldShare, toldBack := run("resource, Resize", pooled(true))
		s.curve(served)
		most := size - left + 40 // all sessions that have ended at once, and the probes
		s.goal(own <= most, "resource: %d dials were refused, at most %d", own, most)
		s.goal(share >= 0.9, "resource: %.3f of the capacity that is left were served, at least 0.9", share)
		s.goal(back <= 2*time.Second, "resource: all sessions were back %v after, at most 2s", back)
		s.goal(told <= 5, "Resize: %d dials were refused, at most 5", told)
		s.goal(toldShare >= 0.9, "Resize: %.3f of the capacity that is left were served, at least 0.9", toldShare)
		s.goal(toldBack <= time.Second, "Resize: all sessions were back %v after, at most 1s", toldBack)
		s.goal(bare >= 10*own, "puddle: %d dials were refused, at least ten times as many, or the load is lower than intended", bare)
		s.figures(fmt.Sprintf("%d (puddle)", bare), fmt.Sprintf("%d; after a `Resize`: %d", own, told))
	},
}

var errIncomplete = errors.New("not all clients were served")

// All clients come at once to a pool that has nothing, or a few sessions, and each needs a
// session for 1 ms. A dial takes 100 ms.
var cold = Scene{
	Name:    "cold-start",
	Promise: "1,000 clients at once, 20 sessions ready, a dial takes 100 ms, work 1 ms, MaxSize 100: dials",
	Clients: 1_000,
	play: func(s *Stage) {
		const dialing, hold = 100 * time.Millisecond, time.Millisecond
		size, warm := s.scaled(100), s.scaled(20)
		served := Curve{Name: "served", Title: "1,000 clients at once", X: "s", Y: "clients served"}
		s.row("", "dials", "at once", "p50 wait", "last served after")
		run := func(name string, lend func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func())) (dials int, last time.Duration) {
			s.bubble(name, func(t *testing.T) {
				srv := s.newServer(10*time.Millisecond, dialing)
				f, closes := lend(t, srv)
				began, before := srv.now(), srv.dialed
				var mu sync.Mutex
				var waits []time.Duration
				done := timeline{every: srv.every}
				var wg sync.WaitGroup
				for i := range s.res.Clients {
					r := s.rand(uint64(i))
					wg.Go(func() {
						// All within a millisecond, no two at the same instant.
						each := time.Millisecond / time.Duration(s.res.Clients)
						time.Sleep(time.Duration(i)*each + upTo(r, each))
						c, end, err := f(context.Background(), i)
						at := srv.now() - began
						if err != nil {
							t.Error(err)
							return
						}
						err = c.serve(context.Background(), hold/2+upTo(r, hold))
						end(err)
						mu.Lock()
						defer mu.Unlock()
						waits = append(waits, at)
						last = max(last, srv.now()-began)
						done.add(srv.now()-began, 1)
					})
				}
				wg.Wait()
				if len(waits) < s.res.Clients {
					t.Error(errIncomplete)
				}
				dials = srv.dialed - before
				closes()
				srv.close()
				s.row(name, dials, srv.atOnce, quantile(waits, 0.5), last)
				line := done.line(name, 1, 400*time.Millisecond)
				for i := 1; i < len(line.Y); i++ {
					line.Y[i] += line.Y[i-1]
				}
				served.Lines = append(served.Lines, line)
			})
			return dials, last
		}
		ours := func(ready int) func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func()) {
			return func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func()) {
				p := newPool(t, resource.Config[*session]{Make: srv.dial, Destroy: destroy, Watch: watch, MaxSize: size, MinIdle: ready})
				if err := p.Warm(context.Background(), ready); err != nil {
					t.Fatal(err)
				}
				return lendFrom(p), func() { closePool(t, p) }
			}
		}
		bare := func(ready int) func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func()) {
			return func(t *testing.T, srv *server) (func(context.Context, int) (*session, func(error), error), func()) {
				p := newPuddle(t, srv.dial, size)
				for range ready {
					if err := p.CreateResource(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				return lendFromPuddle(p), p.Close
			}
		}
		coldDials, coldLast := run("puddle", bare(0))
		own, last := run("resource", ours(0))
		readyDials, readyLast := run(fmt.Sprintf("puddle, %d ready", warm), bare(warm))
		warmDials, warmLast := run(fmt.Sprintf("resource, %d ready", warm), ours(warm))
		s.curve(served)
		s.goal(own <= coldDials, "resource: %d dials, at most %d as with puddle", own, coldDials)
		// Until the first dial has succeeded 50 are under way at most.
		s.goal(last <= coldLast+dialing*11/10, "resource: all were served after %v, at most one dial later than with puddle: %v", last, coldLast)
		s.goal(warmDials <= readyDials*7/10, "resource, some ready: %d dials, at most 70 %% of the %d of puddle", warmDials, readyDials)
		s.goal(warmLast <= readyLast*7/10, "resource, some ready: all were served after %v, at most 70 %% of the %v of puddle", warmLast, readyLast)
		s.figures(fmt.Sprintf("%d, all served after %s (puddle)", readyDials, short(readyLast)),
			fmt.Sprintf("%d, after %s (`MinIdle`)", warmDials, short(warmLast)))
	},
}
