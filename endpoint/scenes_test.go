package endpoint

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A server of a scene answers after its latency, fails fast, or has gone silent.
type server struct {
	latency time.Duration
	silent  bool
	failing bool
}

// scene has five servers, "a" to "e", and callers that arrive evenly in virtual time.
type scene struct {
	*stage
	servers map[string]*server
	pick    func(key string) string // what chooses

	every    time.Duration // between two arrivals
	deadline time.Duration // of each caller; 0: none
	pong     time.Duration // after this long without an answer the connection is known to be silent; 0: never

	mu    sync.Mutex
	got   map[string]int // picks since the last count
	calls sync.WaitGroup
	over  chan struct{}
}

func newScene(t *testing.T, cfg SetConfig) *scene {
	sc := &scene{servers: make(map[string]*server), every: 2 * time.Millisecond, got: make(map[string]int), over: make(chan struct{})}
	for _, e := range five() {
		sc.servers[e.Addr] = &server{latency: 10 * time.Millisecond}
	}
	if cfg.Probe == nil {
		cfg.Probe = func(c ctx, addr string) error {
			sc.mu.Lock()
			s := *sc.servers[addr]
			sc.mu.Unlock()
			if s.silent {
				<-c.Done()
				return c.Err()
			}
			if s.failing {
				return errDown
			}
			return nil
		}
	}
	sc.stage = newStage(t, cfg, five()...)
	sc.pick = sc.Set.Pick
	return sc
}

func (sc *scene) set(addr string, s server) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	*sc.servers[addr] = s
}

// run lets callers arrive for d.
func (sc *scene) run(d time.Duration) {
	for i := range int(d / sc.every) {
		sc.calls.Add(1)
		go sc.call(fmt.Sprint("session-", i%97))
		time.Sleep(sc.every)
	}
}

func (sc *scene) call(key string) {
	defer sc.calls.Done()
	addr := sc.pick(key)
	use := sc.Begin(addr)
	sc.mu.Lock()
	sc.got[addr]++
	s := *sc.servers[addr]
	sc.mu.Unlock()
	switch {
	case s.failing:
		time.Sleep(time.Millisecond / 10)
		use.End(Evidence{Kind: CallFailed, Latency: time.Millisecond / 10})
	case s.silent:
		deadline, pong := after(sc.deadline), after(sc.pong)
		select {
		case <-deadline:
			use.End(Evidence{Kind: Unanswered, Latency: sc.deadline})
		case <-pong:
			use.End(Evidence{Kind: Silence, Latency: sc.pong})
		case <-sc.over:
			use.End(Evidence{})
		}
	default:
		time.Sleep(s.latency)
		use.End(Evidence{Kind: Success, Latency: s.latency})
	}
}

func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}

// share returns the part of the picks since the last call that went to addr.
func (sc *scene) share(addr string) float64 {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	all := 0
	for _, n := range sc.got {
		all += n
	}
	p := float64(sc.got[addr]) / float64(all)
	clear(sc.got)
	return p
}

func (sc *scene) finish() {
	close(sc.over)
	sc.calls.Wait()
	sc.close()
}

// A server that goes silent has at most 1 % of the picks a second later. What shows the silence
// differs: calls in flight that do not end (load), callers that give up (Unanswered), or a
// keepalive (Silence).
func TestSilentEndpointIsAvoidedWithinASecond(t *testing.T) {
	for _, tc := range []struct {
		name           string
		balancer       Balancer
		deadline, pong time.Duration
		every          time.Duration
		lost           bool // nothing shows the silence to this balancer
	}{
		{name: "P2C, calls that hang", balancer: P2C()},
		{name: "P2C, calls that hang, busy", balancer: P2C(), every: 200 * time.Microsecond},
		{name: "P2C, callers give up", balancer: P2C(), deadline: 100 * time.Millisecond},
		{name: "P2C, callers give up soon", balancer: P2C(), deadline: 20 * time.Millisecond},
		{name: "P2C, few calls, callers give up", balancer: P2C(), deadline: 100 * time.Millisecond, every: 10 * time.Millisecond},
		{name: "P2C, keepalive", balancer: P2C(), pong: 300 * time.Millisecond},
		{name: "PeakEWMA, calls that hang", balancer: PeakEWMA(PeakEWMAConfig{})},
		{name: "PeakEWMA, callers give up", balancer: PeakEWMA(PeakEWMAConfig{}), deadline: 100 * time.Millisecond},
		{name: "LeastLoaded, calls that hang", balancer: LeastLoaded()},
		{name: "LeastLoaded, callers give up", balancer: LeastLoaded(), deadline: 100 * time.Millisecond},
		{name: "RoundRobin, callers give up", balancer: RoundRobin(), deadline: 100 * time.Millisecond},
		{name: "RoundRobin, keepalive", balancer: RoundRobin(), pong: 300 * time.Millisecond},
		{name: "Rendezvous, keepalive", balancer: Rendezvous(), pong: 300 * time.Millisecond},
		// These ignore load, so they need evidence.
		{name: "RoundRobin, calls that hang", balancer: RoundRobin(), lost: true},
		{name: "Rendezvous, callers give up", balancer: Rendezvous(), deadline: 100 * time.Millisecond, lost: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			sc := newScene(t, SetConfig{Balancer: tc.balancer})
			sc.deadline, sc.pong = tc.deadline, tc.pong
			if tc.every > 0 {
				sc.every = tc.every
			}
			sc.run(2 * time.Second)
			before := sc.share("c")
			sc.set("c", server{silent: true})
			sc.run(time.Second)
			during := sc.share("c")
			sc.run(2000 * sc.every) // enough calls for a share of 1 % to be measured
			later := sc.share("c")
			t.Logf("%-33s share before %4.1f %%, in the first second %4.1f %%, then %5.2f %% (%v)", tc.name, 100*before, 100*during, 100*later, sc.state("c").Status)
			if tc.lost {
				if later < 0.1 {
					t.Errorf("%s: the scene is to show a limit, but the share is %v", tc.name, later)
				}
			} else if later > 0.01 {
				t.Errorf("%s: share of the silent endpoint %v", tc.name, later)
			}
			sc.finish()
		})
	}
}

// The naive two choices know only the load. When callers give up soon the silent endpoint loses
// its load as fast as the others.
func TestNaiveTwoChoicesKeepASilentEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t, SetConfig{})
		sc.deadline = 20 * time.Millisecond
		sc.every = 10 * time.Millisecond
		sc.pick = func(string) string {
			c := sc.view.Load().ranked
			i, j := twoOf(len(c))
			if c[j].Load() < c[i].Load() {
				i = j
			}
			return c[i].Addr
		}
		sc.set("c", server{silent: true})
		sc.run(2 * time.Second)
		sc.share("c")
		sc.run(10 * time.Second)
		naive := sc.share("c")
		sc.pick = sc.Set.Pick
		sc.run(10 * time.Second)
		ours := sc.share("c")
		t.Logf("share of a silent endpoint: naive two choices %.1f %%, P2C %.2f %%", 100*naive, 100*ours)
		if naive < 0.05 || ours > 0.01 {
			t.Errorf("naive %v, ours %v", naive, ours)
		}
		sc.finish()
	})
}

// An exclusive lease occupies its connection. Each caller waits for the end of its lease before it
// acquires the next, so callers pile up on the silent endpoint unless it is avoided.
func TestSilentEndpointWithExclusiveLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, b := range []Balancer{P2C(), LeastLoaded(), PeakEWMA(PeakEWMAConfig{}), RoundRobin()} {
			sc := newScene(t, SetConfig{Balancer: b})
			sc.pong = 400 * time.Millisecond
			stop := make(chan struct{})
			for range 40 {
				sc.calls.Add(1)
				go func() {
					defer sc.calls.Done()
					for {
						select {
						case <-stop:
							return
						default:
							sc.calls.Add(1)
							sc.call("")
						}
					}
				}()
			}
			time.Sleep(time.Second)
			sc.share("c")
			sc.set("c", server{silent: true})
			time.Sleep(time.Second)
			first := sc.share("c")
			time.Sleep(4 * time.Second)
			later := sc.share("c")
			t.Logf("%-12T exclusive leases: %.2f %% in the first second, then %.2f %%", b, 100*first, 100*later)
			if later > 0.01 {
				t.Errorf("%T: share of the silent endpoint %v", b, later)
			}
			close(stop)
			sc.finish()
		}
	})
}

// ingress-nginx #5540: an endpoint that fails fast has the least load and the shortest answers.
// Here the ejector is off, so only the balancer can avoid it.
func TestEndpointThatFailsFastDoesNotAttractCallers(t *testing.T) {
	run := func(t *testing.T, b Balancer, pick func(c []Candidate) int) float64 {
		var share float64
		synctest.Test(t, func(t *testing.T) {
			sc := newScene(t, SetConfig{Balancer: b, Ejector: Never()})
			sc.every = time.Millisecond
			if pick != nil {
				sc.pick = func(string) string {
					c := sc.view.Load().ranked
					return c[pick(c)].Addr
				}
			}
			sc.run(time.Second)
			sc.set("c", server{failing: true})
			sc.run(time.Second)
			sc.share("c")
			sc.run(4 * time.Second)
			share = sc.share("c")
			sc.finish()
		})
		return share
	}
	leastLoad := func(c []Candidate) int {
		best := 0
		for i := range c {
			if c[i].Load() < c[best].Load() {
				best = i
			}
		}
		return best
	}
	naive := run(t, P2C(), leastLoad)
	if naive < 0.5 {
		t.Errorf("the naive rule gave it only %v", naive)
	}
	for _, b := range []Balancer{P2C(), LeastLoaded(), PeakEWMA(PeakEWMAConfig{}), RoundRobin()} {
		got := run(t, b, nil)
		t.Logf("%T: %.2f %% (naive least load: %.0f %%)", b, 100*got, 100*naive)
		if got > 0.01 {
			t.Errorf("%T: the failing endpoint got %v", b, got)
		}
	}
}

// One of five is killed under load: the others share its work evenly at once.
func TestLoadIsEvenSoonAfterOneIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t, SetConfig{})
		sc.every = 500 * time.Microsecond
		sc.run(time.Second)
		sc.set("c", server{failing: true})
		before := sc.state("c").Bad
		sc.run(1500 * time.Millisecond)
		// Few callers come to an endpoint whose share is reduced, so a probe may be what ejects
		// it. Usual are 5 to 11 failures of 3,000 calls.
		if s := sc.state("c"); !s.Failing || s.Ranked || s.Bad-before > 20 {
			t.Errorf("1.5 s after it was killed: %+v", s)
		}
		sc.share("c")
		sc.run(time.Second)
		sc.mu.Lock()
		total := 0
		for _, n := range sc.got {
			total += n
		}
		for _, a := range []string{"a", "b", "d", "e"} {
			if p := float64(sc.got[a]) / float64(total); p < 0.2 || p > 0.3 {
				t.Errorf("%s has %v of the load", a, p)
			}
		}
		sc.mu.Unlock()
		// It is restarted: probed, readmitted, and used again.
		sc.set("c", server{latency: 10 * time.Millisecond})
		sc.run(6 * time.Second) // the delay before the next probe may be 4 × 1.2 s
		sc.share("c")
		sc.run(time.Second)
		if p := sc.share("c"); p < 0.15 {
			t.Errorf("after its restart it has %v of the load, %v", p, sc.state("c"))
		}
		sc.finish()
	})
}
