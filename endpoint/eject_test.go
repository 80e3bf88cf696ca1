package endpoint

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func five() []Endpoint { return listOf("a", "b", "c", "d", "e") }

func TestFiveFailuresInARowEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, five()...)
		defer st.close()
		st.fail("b", 4)
		st.want("b", Healthy)
		st.Observe("b", Evidence{Kind: Success})
		st.fail("b", 4)
		st.want("b", Healthy)
		st.fail("b", 1)
		st.want("b", Ejected)
		st.wantRanked("a", "c", "d", "e")
		if s := st.state("b"); !errors.Is(s.Cause, errDown) || s.Cause.Error() != `endpoint: 5 failures in a row; the last: dial failed in the phase "connect": connection refused` || s.Ejections != 1 {
			t.Errorf("state %+v", s)
		}
		synctest.Wait()
		if st.script.refresh.Load() == 0 {
			t.Error("the resolver was not asked to refresh")
		}
	})
}

func TestReadmissionOnlyByAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, five()...)
		defer st.close()
		st.setDown("b", true)
		use := st.Begin("b")
		st.fail("b", 5)
		// Envoy #18950 and #32442: a success that was under way when the endpoint was ejected
		// must not end the ejection.
		use.End(Evidence{Kind: Success})
		st.Observe("b", Evidence{Kind: Success})
		st.want("b", Ejected)
		pass(900 * time.Millisecond)
		if n := st.probed("b"); n != 0 {
			t.Errorf("%d probes in the first 0.9 s", n)
		}
		pass(300 * time.Millisecond)
		if n := st.probed("b"); n != 1 {
			t.Errorf("%d probes after 1.2 s, want 1", n)
		}
		st.want("b", Ejected)
		pass(2400 * time.Millisecond) // the delay is now 2 to 2.4 s
		if n := st.probed("b"); n != 2 {
			t.Errorf("%d probes after 3.6 s, want 2", n)
		}
		pass(10 * time.Minute)
		n := st.probed("b")
		pass(time.Hour)
		if got := st.probed("b") - n; got < 100 || got > 120 {
			t.Errorf("%d probes an hour, want one in 30 to 36 s", got)
		}
		st.setDown("b", false)
		pass(36 * time.Second)
		st.want("b", Healthy)
		st.wantRanked("a", "b", "c", "d", "e")
	})
}

func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan error)
		running, most := 0, 0
		st := newStage(t, SetConfig{ProbeTimeout: time.Hour, Probe: func(ctx, string) error {
			running++
			most = max(most, running)
			defer func() { running-- }()
			return <-release
		}}, five()...)
		defer st.close()
		st.fail("b", 5)
		pass(10 * time.Minute)
		st.want("b", Probing)
		st.fail("b", 50)
		pass(10 * time.Minute)
		if running != 1 || most != 1 {
			t.Errorf("%d probes run, at most %d did", running, most)
		}
		release <- nil
		synctest.Wait()
		st.want("b", Healthy)
	})
}

func TestProbeEndsAtItsTimeoutAndWhenTheEndpointLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []error
		st := newStage(t, SetConfig{ProbeTimeout: 3 * time.Second, Probe: func(c ctx, _ string) error {
			<-c.Done()
			causes = append(causes, c.Err())
			return c.Err()
		}}, five()...)
		defer st.close()
		st.fail("b", 5)
		pass(5 * time.Second)
		if len(causes) != 1 {
			t.Fatalf("probe ended %d times after its timeout", len(causes))
		}
		pass(2500 * time.Millisecond)
		st.want("b", Probing)
		st.answer(listOf("a", "c", "d", "e")...)
		if len(causes) != 2 {
			t.Errorf("the probe of an endpoint that left still runs")
		}
	})
}

// lateProbe counts the probes of one endpoint. The first returns when its context has ended and release
// is closed, and the others succeed at once.
type lateProbe struct {
	release               chan struct{}
	running, most, probes int
}

func (p *lateProbe) probe(c ctx, _ string) error {
	p.running, p.probes = p.running+1, p.probes+1
	defer func() { p.running-- }()
	p.most = max(p.most, p.running)
	if p.probes == 1 {
		<-c.Done()
		<-p.release
	}
	return c.Err()
}

// A probe that was canceled because the endpoint left shows nothing, also if the endpoint is listed
// again before it returns; then the next one begins.
func TestProbeOfAnEndpointThatLeftAndReturnedIsVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := lateProbe{release: make(chan struct{})}
		drain := func(c ctx, _ string) { <-c.Done() } // until it is listed again
		st := newStage(t, SetConfig{ProbeTimeout: time.Hour, OnLeave: drain, Probe: p.probe}, five()...)
		defer st.close()
		st.fail("b", 5)
		pass(10 * time.Second)
		st.want("b", Probing)
		st.answer(listOf("a", "c", "d", "e")...)
		st.answer(five()...)
		pass(time.Second)
		if s := st.state("b"); s.Status != Probing || p.probes != 1 {
			t.Fatalf("%d probes, while the canceled one still runs: %+v", p.probes, s)
		}
		cause := st.state("b").Cause
		close(p.release)
		synctest.Wait()
		if s := st.state("b"); s.Status != Ejected || s.Probes != 0 || s.Cause != cause || s.NextProbe.IsZero() {
			t.Errorf("after the canceled probe: %+v; its cause was %v", s, cause)
		}
		pass(time.Minute)
		if s := st.state("b"); s.Status == Ejected || s.Status == Probing || s.Probes != 1 {
			t.Errorf("after the next probe: %+v", s)
		}
	})
}

// An endpoint without connections has left as soon as its probe has returned, which heeds its context
// late. Listed again before that, it is not probed by two calls at once.
func TestProbe_AlonePerEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := lateProbe{release: make(chan struct{})}
		st := newStage(t, SetConfig{ProbeTimeout: time.Hour, Probe: p.probe}, five()...)
		defer st.close()
		st.fail("b", 5)
		pass(10 * time.Second)
		for range 2 { // the second time its probe has returned
			st.answer(listOf("a", "c", "d", "e")...)
			pass(time.Second)
			st.answer(five()...)
			st.fail("b", 5)
			pass(10 * time.Second)
			if p.most != 1 {
				t.Fatalf("%d probes of one endpoint at once", p.most)
			}
			if p.probes == 1 {
				close(p.release)
				pass(time.Second)
			}
		}
		pass(time.Minute)
		if p.probes < 2 || p.most != 1 || st.count(EndpointLeft) != 2 {
			t.Errorf("%d probes, %d at once; left %d times", p.probes, p.most, st.count(EndpointLeft))
		}
	})
}

func TestEvidenceThatIsNotTheEndpointsNeverEjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, e := range []Evidence{
			{Kind: Nothing}, {Kind: Local, Err: errors.New("too many open files")}, // Envoy #3643
			{Kind: Unanswered}, {Kind: Closed, Code: 1000}, {Kind: Closed, Code: 1001}, {Kind: Closed, Code: 1012},
			{Kind: Kind(99)},
		} {
			st := newStage(t, SetConfig{}, five()...)
			for range 1000 {
				st.Observe("b", e)
			}
			if s := st.state("b"); s.Status != Healthy || s.Failures != 0 {
				t.Errorf("%+v: %+v", e, s)
			}
			st.close()
		}
	})
}

func TestRefusalsCountOnlyIfOthersAccept(t *testing.T) {
	refused := Evidence{Kind: DialFailed, Phase: "handshake", Status: 401}
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, five()...)
		defer st.close()
		// An expired token: every endpoint refuses. The naive ejector would eject as many as it
		// may, for a fault of the client.
		for range 20 {
			for _, a := range []string{"a", "b", "c", "d", "e"} {
				st.Observe(a, refused)
			}
		}
		for _, a := range []string{"a", "b", "c", "d", "e"} {
			st.want(a, Healthy)
			st.Observe(a, Evidence{Kind: Connected})
		}
		// One endpoint alone refuses.
		for range 4 {
			st.Observe("c", refused)
		}
		for _, a := range []string{"a", "b"} {
			st.Observe(a, Evidence{Kind: Connected})
		}
		st.Observe("c", refused)
		st.want("c", Ejected)
		// Refusals of an endpoint that cannot be ejected reduce its share: it refuses fast, so
		// its load is the least.
		if s := st.state("c"); s.Share != 0.5 {
			t.Errorf("share %v", s.Share)
		}
		if s := st.state("c"); s.Refused != 25 {
			t.Errorf("%d refusals", s.Refused)
		}
	})
}

func TestSilenceCountsAsThreeFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, five()...)
		defer st.close()
		// A NAT has dropped one connection; others of the endpoint work.
		for range 20 {
			st.Observe("a", Evidence{Kind: Silence})
			st.Observe("a", Evidence{Kind: Success})
		}
		st.want("a", Healthy)
		st.Observe("b", Evidence{Kind: Silence})
		st.Observe("b", Evidence{Kind: Silence})
		st.want("b", Ejected)
	})
}

func TestConnectionsThatFailTheirCallsEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, five()...)
		defer st.close()
		// The naive ejector takes each connection for a success, and never counts to 5.
		for range 5 {
			st.Observe("b", Evidence{Kind: Connected})
			st.Observe("b", Evidence{Kind: CallFailed})
		}
		st.want("b", Ejected)
		// But a connection ends a row of failed dials.
		st.fail("c", 4)
		st.Observe("c", Evidence{Kind: Connected})
		st.fail("c", 4)
		st.want("c", Healthy)
	})
}

// Envoy #26877: the limit was compared with the ejections before the new one. grpc-go does so
// too. With 30 % of 5 endpoints both eject two, which are 40 %.
func TestLimitOfEjectionsIsCheckedAsItWouldBe(t *testing.T) {
	for _, tc := range []struct{ n, most, naive int }{{1, 0, 1}, {2, 1, 1}, {3, 1, 1}, {5, 1, 2}, {9, 2, 3}, {10, 3, 3}, {20, 6, 6}} {
		synctest.Test(t, func(t *testing.T) {
			var all []Endpoint
			for i := range tc.n {
				all = append(all, Endpoint{Addr: string(rune('a' + i))})
			}
			st := newStage(t, SetConfig{PanicBelow: -1}, all...)
			defer st.close()
			ejected, naive := 0, 0
			for _, e := range all {
				st.setDown(e.Addr, true)
				st.fail(e.Addr, 5)
				if float64(naive) < 0.3*float64(tc.n) {
					naive++
				}
			}
			for _, s := range st.Snapshot().Endpoints {
				if s.Status == Ejected {
					ejected++
				}
				if !s.Failing {
					t.Errorf("%s does not count as failing", s.Endpoint.Addr)
				}
			}
			if ejected != tc.most || naive != tc.naive {
				t.Errorf("%d endpoints: %d are ejected, want %d (naive %d, want %d)", tc.n, ejected, tc.most, naive, tc.naive)
			}
			if len(st.ranked()) == 0 {
				t.Error("nothing is ranked")
			}
		})
	}
}

func TestLimitFollowsTheNumberOfEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []Endpoint
		for i := range 10 {
			all = append(all, Endpoint{Addr: string(rune('a' + i))})
		}
		st := newStage(t, SetConfig{}, all...)
		defer st.close()
		for _, a := range []string{"a", "b", "c", "d"} {
			st.setDown(a, true)
			st.fail(a, 5)
			pass(time.Millisecond)
		}
		for _, a := range []string{"a", "b", "c"} {
			st.want(a, Ejected)
		}
		if s := st.state("d"); s.Status != Healthy || !s.Failing || !s.Ranked {
			t.Errorf("the limit does not permit to eject d: %+v", s)
		}
		// With four endpoints left one may be ejected.
		st.answer(listOf("a", "b", "c", "j")...)
		st.want("a", Ejected)
		st.want("b", Healthy)
		st.want("c", Healthy)
		st.answer(all...)
		pass(10 * time.Millisecond)
		st.want("b", Ejected)
	})
}

func TestPanicIgnoresEjectionsAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{MaxEjected: 1}, five()...)
		defer st.close()
		for _, a := range []string{"a", "b"} {
			st.setDown(a, true)
			st.fail(a, 5)
		}
		st.wantRanked("c", "d", "e")
		if st.Snapshot().Panic {
			t.Error("panic with 3 of 5 healthy")
		}
		st.setDown("c", true)
		st.fail("c", 5)
		snap := st.Snapshot()
		if !snap.Panic || !st.state("a").Ignored || st.state("a").Status != Ejected || st.state("d").Ignored {
			t.Errorf("with 2 of 5 healthy: %+v", snap)
		}
		st.wantRanked("a", "b", "c", "d", "e")
		for _, a := range []string{"a", "b", "c"} {
			st.setDown(a, false)
		}
		pass(10 * time.Second)
		if st.Snapshot().Panic || st.count(PanicBegan) != 1 || st.count(PanicEnded) != 1 || st.count(EndpointReadmitted) != 3 {
			t.Errorf("after recovery: %+v, events %v", st.Snapshot(), st.lines())
		}
	})
}

func TestKeptFailingEndpointRecoversByASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, listOf("only")...)
		defer st.close()
		st.setDown("only", true)
		st.fail("only", 9)
		if s := st.state("only"); !s.Failing || s.Status != Healthy || !s.Ranked {
			t.Errorf("the only endpoint: %+v", s)
		}
		st.Observe("only", Evidence{Kind: Success})
		if s := st.state("only"); s.Failing || s.Share != 1 {
			t.Errorf("after a success: %+v", s)
		}
	})
}

func TestFailuresHalveTheShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{Ejector: Never()}, five()...)
		defer st.close()
		for i, want := range []float64{1, 0.5, 0.25, 0.125} {
			if got := st.state("b").Share; got != want {
				t.Errorf("after %d failures the share is %v, want %v", i, got, want)
			}
			st.fail("b", 1)
		}
		st.fail("b", 100)
		if got := st.state("b").Share; got != 1.0/1024 {
			t.Errorf("the least share is %v", got)
		}
		st.Observe("b", Evidence{Kind: Success})
		if got := st.state("b").Share; got != 1 {
			t.Errorf("after a success it is %v", got)
		}
	})
}

func TestSuccessRateEjectsTheOutlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, five()...)
		defer st.close()
		call := func(addr string, good, bad int) {
			for i := range good + bad {
				// Mixed, so that no row of failures becomes long.
				if bad > 0 && i%((good+bad)/bad) == 0 {
					st.Observe(addr, Evidence{Kind: CallFailed})
				} else {
					st.Observe(addr, Evidence{Kind: Success})
				}
			}
		}
		for _, a := range []string{"a", "b", "c", "d"} {
			call(a, 198, 2)
		}
		call("e", 150, 50)
		st.want("e", Healthy)
		pass(10 * time.Second)
		st.want("e", Ejected)
		if c := st.state("e").Cause; c == nil || !strings.Contains(c.Error(), "success rate of 0.75") {
			t.Errorf("cause %v", c)
		}
		pass(10 * time.Second)
		for _, a := range []string{"a", "b", "c", "d", "e"} {
			st.want(a, Healthy)
		}
		// Too few calls say nothing.
		for _, a := range []string{"a", "b", "c", "d"} {
			call(a, 80, 0)
		}
		call("e", 40, 40)
		pass(10 * time.Second)
		st.want("e", Healthy)
	})
}

func TestSuccessRateRule(t *testing.T) {
	rec := func(good, bad int64) Record { return Record{Good: good, Bad: bad} }
	for _, tc := range []struct {
		name    string
		records []Record
		ejected []int
	}{
		{"all alike", []Record{rec(90, 10), rec(90, 10), rec(90, 10), rec(90, 10), rec(90, 10)}, nil},
		// 99.6 % is 2 standard deviations below the mean of 99.92 %.
		{"nearly alike", []Record{rec(500, 0), rec(500, 0), rec(500, 0), rec(500, 0), rec(498, 2)}, nil},
		{"all bad", []Record{rec(0, 100), rec(0, 100), rec(0, 100), rec(0, 100), rec(0, 100)}, nil},
		{"one far below", []Record{rec(99, 1), rec(99, 1), rec(50, 50), rec(99, 1), rec(99, 1)}, []int{2}},
		{"too few endpoints", []Record{rec(99, 1), rec(99, 1), rec(50, 50), rec(99, 1)}, nil},
		{"too little volume", []Record{rec(99, 1), rec(99, 1), rec(40, 40), rec(99, 1), rec(99, 1), rec(99, 1)}, nil},
		{"two of ten", []Record{rec(99, 1), rec(99, 1), rec(99, 1), rec(99, 1), rec(99, 1), rec(99, 1), rec(99, 1), rec(99, 1), rec(40, 60), rec(41, 59)}, []int{8, 9}},
		{"none", nil, nil},
	} {
		causes := make([]error, len(tc.records))
		SuccessRate(SuccessRateConfig{}).Sweep(tc.records, causes)
		var got []int
		for i, c := range causes {
			if c != nil {
				got = append(got, i)
			}
		}
		if len(got) != len(tc.ejected) || len(got) > 0 && got[0] != tc.ejected[0] {
			t.Errorf("%s: ejects %v, want %v", tc.name, got, tc.ejected)
		}
	}
}

// With four failures in a row an endpoint gets few callers, or none, so the Set itself tries
// whether it has recovered. The naive rule waits for callers that do not come.
func TestSuspectIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, five()...)
		defer st.close()
		st.fail("b", 4)
		pass(1300 * time.Millisecond)
		if s := st.state("b"); s.Share != 1 || s.Failures != 0 || s.Probes != 1 {
			t.Errorf("after its probe: %+v", s)
		}
		st.setDown("c", true)
		st.fail("c", 4)
		pass(1300 * time.Millisecond)
		st.want("c", Ejected)
		// A connection does not show that calls succeed: the whole share comes back, and the
		// next failure ejects.
		for range 4 {
			st.Observe("d", Evidence{Kind: CallFailed})
		}
		pass(1300 * time.Millisecond)
		if s := st.state("d"); s.Share != 1 || s.Failures != 4 {
			t.Errorf("after its probe: %+v", s)
		}
		st.setDown("b", true) // nothing is suspect: no probes
		n := st.probed("b")
		pass(time.Minute)
		if st.probed("b") != n {
			t.Error("an endpoint that is well is probed")
		}
		st.Observe("d", Evidence{Kind: CallFailed})
		if s := st.state("d"); !s.Failing {
			t.Errorf("after the fifth failed call: %+v", s)
		}
	})
}

func TestShareRecoversWithoutProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{Ejector: Never()}, five()...)
		defer st.close()
		st.fail("b", 9)
		pass(10 * time.Second)
		if s := st.state("b"); s.Share != 1 || s.Failures != 9 {
			t.Errorf("%+v", s)
		}
	})
}

// The token has expired while an endpoint is suspect: its probe is refused, as all are. What
// the owner reports says so, and the error of the probe itself does not count.
func TestProbeThatReportsEvidenceCountsOnlyThat(t *testing.T) {
	for _, tc := range []struct {
		name     string
		evidence Evidence
		status   Status
		bad      int64 // beyond the first
	}{
		{"a refusal that all give", Evidence{Kind: DialFailed, Status: 401}, Healthy, 0},
		{"no file descriptor here", Evidence{Kind: Local}, Healthy, 0},
		{"a failure, counted once", Evidence{Kind: DialFailed, Err: errDown}, Ejected, 4},
		{"nothing is reported", Evidence{}, Ejected, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			var st *stage
			probes := 0
			st = newStage(t, SetConfig{MaxProbeDelay: time.Second, Probe: func(_ ctx, addr string) error {
				if probes++; probes > 4 {
					time.Sleep(time.Minute)
				}
				st.Observe(addr, tc.evidence)
				return errDown
			}, ProbeTimeout: time.Hour}, five()...)
			defer st.close()
			st.Observe("b", Evidence{Kind: CallFailed})
			pass(5 * time.Second)
			if s := st.state("b"); s.Bad != 1+tc.bad || s.Status != tc.status && s.Status != map[Status]Status{Ejected: Probing}[tc.status] {
				t.Errorf("%s: after four probes %+v", tc.name, s)
			}
		})
	}
}

// A probe that reports only a failure on this side gives no verdict about an endpoint in standby,
// which has failed once.
func TestProbeWithALocalFailureGivesNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st *stage
		st = newStage(t, SetConfig{MaxProbeDelay: time.Second, Probe: func(_ ctx, addr string) error {
			st.Observe(addr, Evidence{Kind: Local})
			return errDown
		}}, Endpoint{Addr: "a"}, Endpoint{Addr: "b", Priority: 1})
		defer st.close()
		st.Observe("b", Evidence{Kind: CallFailed})
		pass(10 * time.Second)
		if s := st.state("b"); s.Failing || s.Probes == 0 {
			t.Errorf("after %d probes: %+v", s.Probes, s)
		}
	})
}
