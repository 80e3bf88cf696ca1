package fleet_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// simulation is many processes, a ledger with faults and a provider that counts, in one
// bubble.
type simulation struct {
	*engine
	provider *provider
	cfg      fleet.Config
	users    int // of each process
	loss     float64
	hold     time.Duration // that a session lasts, at most
	silence  time.Duration // after which the provider drops sessions of a process that is stopped

	mu     sync.Mutex
	rand   *rand.Rand
	cut    map[int]bool // processes that do not reach the ledger
	procs  []*process
	nextID int
	ended  sync.WaitGroup
	late   sync.WaitGroup // claims that are delivered once more, later

	crashes, stops, duplicates, admitted, waited atomic.Int64
}

// process is one process: a Quota and users, each of which has at most one session.
type process struct {
	s      *simulation
	id     int
	q      *fleet.Quota
	frozen freezer
	ctx    context.Context
	kill   context.CancelFunc
	users  sync.WaitGroup
}

func newSimulation(cfg fleet.Config, r *rand.Rand) *simulation {
	s := &simulation{engine: newEngine("account"), provider: newProvider(), cfg: cfg, rand: r, cut: make(map[int]bool), users: 2}
	s.cfg.Quota = "account"
	return s
}

func (s *simulation) float() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.Float64()
}

func (s *simulation) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.float()*float64(most-least))
}

// wire is one process's way to the ledger.
type wire struct {
	s *simulation
	p *process
}

// Claim loses some claims and some answers, and delivers some claims again much later.
func (w wire) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	s := w.s
	s.mu.Lock()
	cut := s.cut[w.p.id]
	s.mu.Unlock()
	if cut {
		<-ctx.Done()
		return fleet.Grant{}, context.Cause(ctx)
	}
	if s.float() < s.loss {
		s.duplicates.Add(1)
		delay := s.between(0, 2*s.cfg.Lease)
		s.late.Go(func() {
			time.Sleep(delay)
			_, _ = s.Memory.Claim(context.Background(), c)
		})
	}
	if s.float() < s.loss {
		pause(ctx, s.between(rtt, s.cfg.Lease/4)) // slow, or too slow
	}
	if s.float() < s.loss {
		<-ctx.Done()
		return fleet.Grant{}, context.Cause(ctx)
	}
	g, err := s.engine.Claim(ctx, c)
	if s.float() < s.loss {
		<-ctx.Done()
		return fleet.Grant{}, context.Cause(ctx)
	}
	return g, err
}

// join begins a process.
func (s *simulation) join(t *testing.T) {
	s.mu.Lock()
	p := &process{s: s, id: s.nextID}
	s.nextID++
	s.procs = append(s.procs, p)
	s.mu.Unlock()
	cfg := s.cfg
	cfg.Ledger = wire{s, p}
	q, err := fleet.NewStoppable(cfg, p.frozen.wait)
	if err != nil {
		t.Fatal(err)
	}
	p.q = q
	p.ctx, p.kill = context.WithCancel(ctx)
	for range s.users {
		p.users.Go(p.use)
	}
}

// use has sessions, one after the other.
func (p *process) use() {
	s := p.s
	for p.ctx.Err() == nil {
		patience, cancel := context.WithTimeout(p.ctx, s.between(s.cfg.Lease/4, 2*s.cfg.Lease))
		began := time.Now()
		done, err := p.q.Admit(patience, resource.Request{})
		cancel()
		if err != nil {
			pause(p.ctx, s.between(0, time.Second))
			continue
		}
		s.admitted.Add(1)
		s.waited.Add(int64(time.Since(began)))
		p.frozen.wait()
		lasting, stop := p.q.Context(p.ctx)
		if lasting.Err() == nil {
			if session, err := s.provider.open(p.id); err == nil {
				pause(lasting, s.between(s.hold/10, s.hold))
				p.frozen.wait()
				session.close()
			}
		}
		stop()
		done(resource.Outcome{Verdict: resource.OK})
		pause(p.ctx, s.between(0, time.Second/10))
	}
}

// pick returns a process that runs.
func (s *simulation) pick() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.procs[s.rand.IntN(len(s.procs))]
}

// crash kills a process: its sockets close, and the ledger receives no claim.
func (s *simulation) crash(p *process) {
	s.crashes.Add(1)
	s.mu.Lock()
	for i := range s.procs {
		if s.procs[i] == p {
			s.procs[i] = s.procs[len(s.procs)-1]
			s.procs = s.procs[:len(s.procs)-1]
			break
		}
	}
	s.mu.Unlock()
	p.kill()
	s.ended.Go(func() {
		end(p.q)
		p.users.Wait()
	})
	s.provider.dropAll(p.id)
}

// stop stops a process for d. The provider drops its sessions when it has been silent for
// long enough.
func (s *simulation) stop(p *process, d time.Duration) {
	s.stops.Add(1)
	p.frozen.stop()
	s.ended.Go(func() {
		time.Sleep(min(d, s.silence))
		if d >= s.silence {
			s.provider.dropAll(p.id)
			time.Sleep(d - s.silence)
		}
		p.frozen.resume()
	})
}

// partition cuts a process off from the ledger for d.
func (s *simulation) partition(p *process, d time.Duration) {
	cut := func(yes bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cut[p.id] = yes
	}
	cut(true)
	s.ended.Go(func() {
		time.Sleep(d)
		cut(false)
	})
}

// finish ends all.
func (s *simulation) finish() {
	s.ended.Wait()
	for len(s.procs) > 0 {
		s.crash(s.procs[0])
	}
	s.ended.Wait()
	s.late.Wait()
}

// size returns n, or what the environment says.
func size(name string, n, short int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil && v > 0 {
		return v
	}
	if testing.Short() {
		return short
	}
	return n
}

// A thousand processes crash, stop, join and lose messages; the ledger loses its data, and
// is away for longer than a lease. With FailClosed and CloseBeforeExpiry the provider never
// sees more than the limit. RESPOOL_FLEET_PROCESSES and RESPOOL_FLEET_SECONDS (of virtual
// time) make it longer.
func TestSimulation_Strict(t *testing.T) {
	processes := size("RESPOOL_FLEET_PROCESSES", 1000, 100)
	limit := processes / 2
	s, used := simulate(t, processes, limit, 10*time.Second, fleet.Config{OnLost: fleet.FailClosed, CloseBeforeExpiry: true})
	if peak := s.provider.peak(); peak > limit {
		t.Errorf("%d sessions at once, limit %d", peak, limit)
	}
	if used < 0.4 {
		t.Errorf("only %.0f %% of the limit were used", 100*used)
	}
}

// The provider of the simulation notices a fleet that does not close its sessions in time:
// otherwise it would prove nothing of the one that does.
func TestSimulation_NotStrict(t *testing.T) {
	const processes, limit = 150, 75
	s, _ := simulate(t, processes, limit, 30*time.Second, fleet.Config{OnLost: fleet.FailClosed})
	if peak := s.provider.peak(); peak <= limit {
		t.Errorf("%d sessions at once, limit %d: the simulation is too kind", peak, limit)
	}
}

// simulate returns a simulation that has ended, and the part of the limit that was used.
// Sessions last up to hold.
func simulate(t *testing.T, processes, limit int, hold time.Duration, cfg fleet.Config) (s *simulation, used float64) {
	r := seed(t)
	steps := 4 * size("RESPOOL_FLEET_SECONDS", 40, 40)
	cfg.Limit, cfg.Lease, cfg.Margin, cfg.Slack = limit, 6*time.Second, 3*time.Second/2, -1
	synctest.Test(t, func(t *testing.T) {
		s = newSimulation(cfg, r)
		s.loss, s.silence, s.hold = 0.02, cfg.Margin, hold
		for range processes {
			s.join(t)
		}
		began := time.Now()
		for step := range steps {
			time.Sleep(time.Second / 4)
			for range max(1, processes/500) {
				s.disturb(t)
			}
			switch step {
			case steps / 6:
				for _, p := range s.procs[:processes/3] {
					s.partition(p, 2*cfg.Lease)
				}
			case steps * 5 / 12:
				s.Forget()
			case steps / 2:
				s.set(func(e *engine) { e.down = errDown })
			case steps/2 + 40: // 10 s later: longer than the lease
				s.set(func(e *engine) { e.down = nil })
			}
		}
		used = s.provider.mean(began) / float64(limit)
		s.finish()
		t.Logf("%d processes, limit %d: at most %d sessions, %.0f %% on average; %d crashes, %d stops, %d late duplicates, %d claims, %d sessions, %v waited on average",
			processes, limit, s.provider.most, 100*used, s.crashes.Load(), s.stops.Load(), s.duplicates.Load(), s.claims.Load(), s.admitted.Load(),
			time.Duration(s.waited.Load()/max(1, s.admitted.Load())).Round(time.Millisecond))
	})
	return s, used
}

// disturb has something happen to one process.
func (s *simulation) disturb(t *testing.T) {
	switch p := s.pick(); int(s.float() * 4) {
	case 0:
		s.crash(p)
		s.join(t)
	case 1:
		s.partition(p, s.between(0, 2*s.cfg.Lease))
	case 2:
		if !p.frozen.stopped() {
			s.stop(p, s.between(0, 2*s.cfg.Lease))
		}
	}
}

// What LocalShare promises: processes that are cut off from a ledger that others reach have
// at most max(what they had, their share) beside the limit; if none reaches it, all have at
// most the limit and their shares.
func TestSimulation_LocalShare(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const processes, limit, cutOff = 10, 100, 3
			s := newSimulation(fleet.Config{Limit: limit, Lease: lease}, rand.New(rand.NewPCG(1, 2)))
			s.users, s.hold = 30, 10*time.Second
			for range processes {
				s.join(t)
			}
			time.Sleep(3 * lease)
			if peak := s.provider.peak(); peak > limit {
				t.Errorf("%d sessions at once before, limit %d", peak, limit)
			}
			bound, share := limit, limit/processes
			if all {
				bound += processes * share
				s.set(func(e *engine) { e.down = errDown })
			} else {
				for _, p := range s.procs[:cutOff] {
					bound += max(s.provider.of(p.id), share)
					s.partition(p, 5*lease)
				}
			}
			time.Sleep(5*lease - lease/10)
			peak := s.provider.peak()
			t.Logf("all: %v: at most %d sessions, limit %d, bound %d", all, peak, limit, bound)
			if peak > bound {
				t.Errorf("%d sessions at once, bound %d", peak, bound)
			}
			if !all && peak <= limit {
				t.Errorf("%d sessions at once: the test does not reach what it is to bound", peak)
			}
			s.set(func(e *engine) { e.down = nil })
			time.Sleep(3 * lease)
			s.provider.peak()
			time.Sleep(2 * lease)
			if peak := s.provider.peak(); peak > limit {
				t.Errorf("%d sessions at once afterwards, limit %d", peak, limit)
			}
			s.finish()
		})
	}
}
