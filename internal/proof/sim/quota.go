package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// ledgerTime is how long an operation of the ledger takes.
const ledgerTime = 2 * time.Millisecond

var errCut = errors.New("no route to the ledger")

// wire is one process's way to the ledger. It gives the process a name that follows from the
// scene, because the ledger orders processes by their names.
type wire struct {
	ledger *fleet.Memory
	name   string

	mu  sync.Mutex
	cut bool
}

// Claim implements [fleet.Ledger].
func (w *wire) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	time.Sleep(ledgerTime / 2)
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	if cut {
		return fleet.Grant{}, errCut
	}
	c.Holder = w.name
	g, err := w.ledger.Claim(ctx, c)
	time.Sleep(ledgerTime / 2)
	return g, err
}

func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
}

// An account of 50 sessions is shared by ten processes with ten clients each. One process
// dies without a word; its sessions end, and its part of the account must reach the others. The
// server counts the sessions. It decides whether the limit was kept, and takes no part in the quota.
var quota = Scene{
	Name:    "quota",
	Promise: "ten processes share 50 sessions, and one dies: sessions in use from 5 s after its death on",
	Clients: 100,
	play: func(s *Stage) {
		const (
			processes = 10
			lease     = 3 * time.Second
			dies      = 6 * time.Second
			ends      = 20 * time.Second
		)
		limit := s.scaled(50)
		each := s.res.Clients / processes
		used := Curve{Name: "sessions", Title: "One of ten processes dies at 6 s", X: "s", Y: "sessions in use, % of the account"}
		s.row("", "most sessions", "in use before", "5 s after the death and later", "the others have its part after", "requests of the others, by process: fairness")
		run := func(name string, shared bool) (most int, later float64, after time.Duration) {
			s.bubble(name, func(t *testing.T) {
				srv := s.newServer(100*time.Millisecond, dialTime)
				ledger := fleet.NewMemory()
				ledger.Begin("account")
				var wg sync.WaitGroup
				var all []*users
				var closes []func()
				for i := range processes {
					time.Sleep(upTo(s.rand(uint64(1_000_000+i)), 50*time.Millisecond))
					u := &users{n: each, hold: 100 * time.Millisecond, pause: time.Millisecond, deadline: 5 * time.Second, until: ends}
					if i == 0 {
						u.until = dies
					}
					cfg := resource.Config[*session]{
						Make: srv.dial, Destroy: destroy, Watch: watch, MaxSize: each, SweepInterval: time.Second, Outage: resource.KeepWaiting,
					}
					die, end := func() {}, func() {}
					if shared {
						w := &wire{ledger: ledger, name: fmt.Sprintf("process-%02d", i)}
						q, err := fleet.New(fleet.Config{Ledger: w, Quota: "account", Limit: limit, Lease: lease})
						if err != nil {
							t.Fatal(err)
						}
						cfg.Quota, cfg.Eviction = q, q.Surplus()
						die = w.sever
						end = func() {
							w.sever() // what remains need not be given back
							ended, cancel := context.WithCancel(context.Background())
							cancel()
							_ = q.Close(ended)
						}
					} else {
						cfg.MaxSize = max(1, limit/processes)
					}
					p := newPool(t, cfg)
					u.run(s, &wg, srv, i, lendFrom(p))
					all = append(all, u)
					if i == 0 {
						wg.Go(func() {
							time.Sleep(dies - srv.now())
							die()
							closePool(t, p)
						})
					}
					closes = append(closes, func() { closePool(t, p); end() })
				}
				wg.Wait()
				srv.mu.Lock()
				srv.countLocked()
				srv.mu.Unlock()
				for _, end := range closes {
					end()
				}
				srv.close()
				most = srv.most
				usual := srv.sessions.sum(dies-2*time.Second, dies) / 2 / float64(limit)
				from := dies + 5*time.Second
				later = srv.sessions.sum(from, ends) / (ends - from).Seconds() / float64(limit)
				after = firstAtLeast(&srv.sessions, dies+srv.every, ends, 0.97*usual*float64(limit)*srv.every.Seconds()) - dies
				var gets []float64
				for _, u := range all[1:] {
					gets = append(gets, u.served.sum(0, ends))
				}
				s.row(name, most, part(usual), part(later), sinceUp(after, ends-dies), fmt.Sprintf("%.3f", jain(gets)))
				used.Lines = append(used.Lines, srv.sessions.line(name, 100/(float64(limit)*srv.every.Seconds()), ends))
				s.goal(slices.Min(gets) > 0, "%s: every process was served", name)
			})
			return most, later, after
		}
		_, fixed, _ := run("fixed parts of 5", false)
		most, later, after := run("fleet.Quota", true)
		s.curve(used)
		s.goal(most <= limit, "fleet.Quota: %d sessions at once, at most %d", most, limit)
		s.goal(later >= 0.97, "fleet.Quota: %.3f of the sessions are in use later, at least 0.97", later)
		s.goal(after <= lease+time.Second, "fleet.Quota: the others have the part of the dead one after %v, at most %v", after, lease+time.Second)
		s.goal(fixed <= 0.92, "fixed parts: %.3f of the sessions are in use later, at most 0.92, or the load is lower than intended", fixed)
		s.figures(percent(fixed)+" (fixed parts)", percent(later)+", the first "+short(after)+" after its death; never more than "+fmt.Sprint(limit)+" (`fleet.Quota`)")
	},
}
