package endpoint

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type ctx = context.Context

func TestSetConfigErrorNamesEveryField(t *testing.T) {
	_, err := NewSet(SetConfig{
		Choices: 99, MaxEjected: 2, PanicBelow: 2, MinShare: 2, FailoverBelow: -1, Aggression: -1,
		Interval: -1, ProbeDelay: -1, MaxProbeDelay: -1, ProbeTimeout: -1, SlowStart: -1,
	})
	if !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
	for _, name := range []string{"Resolver", "Probe", "Choices", "MaxEjected", "PanicBelow", "MinShare", "FailoverBelow",
		"Aggression", "Interval", "ProbeDelay", "MaxProbeDelay", "ProbeTimeout", "SlowStart"} {
		if !strings.Contains(err.Error(), name+" ") {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	nan := 0.0
	nan /= nan
	_, err = NewSet(SetConfig{Resolver: newScript(), Ejector: Never(), MaxEjected: nan, PanicBelow: nan, MinShare: nan, FailoverBelow: nan, Aggression: nan})
	if n := strings.Count(err.Error(), "NaN"); n != 5 {
		t.Errorf("%v names %d fields that are NaN", err, n)
	}
}

func TestBadAnswersKeepTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, listOf("a", "b")...)
		defer st.close()
		bad := errors.New("no such host")
		for i, u := range []Update{
			{Err: bad},                        // Envoy #9927: a failed lookup emptied the cluster
			{Complete: true},                  // so did an empty answer
			{Endpoints: listOf("a", "a", "")}, // invalid
			{Endpoints: []Endpoint{{Addr: "d", Weight: -1}}, Complete: true},
		} {
			st.update(u)
			st.wantRanked("a", "b")
			if s := st.Snapshot(); s.Failed != int64(i+1) || s.UpdateErr == nil || s.Updates != 1 {
				t.Errorf("after bad answer %d: %+v", i, s)
			}
		}
		if n := st.count(UpdateFailed); n != 4 {
			t.Errorf("%d events", n)
		}
		st.update(Update{Endpoints: listOf("c"), Err: bad}) // a part of an answer: used, and nothing leaves
		st.wantRanked("a", "b", "c")
		if s := st.Snapshot(); s.Failed != 5 || s.UpdateErr == nil || s.Updates != 2 {
			t.Errorf("after a part of an answer: %+v", s)
		}
		st.update(Update{Endpoints: listOf("c")}) // not complete: nothing leaves
		st.wantRanked("a", "b", "c")
		if s := st.Snapshot(); s.UpdateErr != nil || s.Updates != 3 {
			t.Errorf("after a good answer: %+v", s)
		}
		st.answer(listOf("c")...)
		st.wantRanked("c")
	})
}

func TestValidateNamesEveryFault(t *testing.T) {
	nan := 0.0
	nan /= nan
	err := Validate([]Endpoint{{}, {Addr: "a"}, {Addr: "a"}, {Addr: "n", Weight: nan}, {Addr: "m", Weight: -2}})
	for _, part := range []string{"endpoint 0 has no Addr", `endpoint 2 has the Addr "a" of endpoint 1`, "NaN", "-2"} {
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v lacks %q", err, part)
		}
	}
	if err := Validate(make([]Endpoint, 100)); !strings.Contains(err.Error(), "80 more") {
		t.Error(err)
	}
	if Validate(nil) != nil {
		t.Error("an empty list is valid")
	}
}

func TestReadySaysWhyThereIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{})
		bad := errors.New("no such host")
		st.update(Update{Err: bad})
		c, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := st.Ready(c); !errors.Is(err, ErrNoEndpoints) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bad) {
			t.Error(err)
		}
		if got := st.Rank(nil, ""); got != nil || st.Pick("") != "" {
			t.Errorf("ranked %v", got)
		}
		done := make(chan error)
		go func() { done <- st.Ready(t.Context()) }()
		synctest.Wait()
		st.answer(listOf("a")...)
		if err := <-done; err != nil {
			t.Error(err)
		}
		st.close()
		if err := st.Ready(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		st.close()
		if st.Rank(nil, "") != nil {
			t.Error("a closed Set ranks")
		}
	})
}

func TestCloseWakesReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{})
		done := make(chan error)
		go func() { done <- st.Ready(context.Background()) }()
		synctest.Wait()
		st.close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestHooksRunInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st *stage
		drained := make(chan struct{})
		st = newStage(t, SetConfig{
			OnJoin: func(e Endpoint) error {
				if slices.Contains(st.ranked(), e.Addr) {
					t.Errorf("%s is ranked before it has joined", e.Addr)
				}
				st.note("OnJoin %s", e.Addr)
				if e.Name == "bad" {
					return errors.New("bad name")
				}
				return nil
			},
			OnChange: func(e Endpoint) { st.note("OnChange %s %v", e.Addr, e.Weight) },
			OnLeave: func(c ctx, addr string) {
				if slices.Contains(st.ranked(), addr) {
					t.Errorf("%s is ranked while it leaves", addr)
				}
				st.note("OnLeave %s", addr)
				select {
				case <-drained:
				case <-c.Done():
					st.note("hurry %v", context.Cause(c))
				}
			},
		})
		st.answer(Endpoint{Addr: "b"}, Endpoint{Addr: "a"}, Endpoint{Addr: "x", Name: "bad"})
		st.wantRanked("a", "b")
		st.answer(Endpoint{Addr: "a", Weight: 2}, Endpoint{Addr: "c"})
		st.want("b", Draining)
		st.wantRanked("a", "c")
		use := st.Begin("b") // ranked before it left
		if st.state("b").Load != 1 {
			t.Error("a use of a draining endpoint is not counted")
		}
		st.fail("b", 9)
		use.End(Evidence{Kind: Success})
		st.answer(Endpoint{Addr: "a", Weight: 2}, Endpoint{Addr: "b", Zone: "z"}, Endpoint{Addr: "c"})
		st.wantRanked("a", "b", "c")
		if s := st.state("b"); s.Endpoint.Zone != "z" || s.Load != 0 || s.Failures != 0 {
			t.Errorf("b after its return: %+v", s)
		}
		st.answer(Endpoint{Addr: "c"})
		close(drained)
		synctest.Wait()
		want := []string{
			"OnJoin a", "OnJoin b", "OnJoin x", "endpoint joined a", "endpoint joined b", "endpoint refused x",
			"endpoint changed a", "endpoint leaving b", "OnChange a 2", "OnLeave b", "OnJoin c", "endpoint joined c",
			"hurry endpoint: endpoint is listed again", "endpoint left b", "OnJoin b", "endpoint joined b",
			"endpoint leaving a", "endpoint leaving b", "OnLeave a", "OnLeave b", "endpoint left a", "endpoint left b",
		}
		got := st.lines()
		slices.Sort(got) // OnLeave runs on goroutines of its own
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		st.close()
	})
}

// A list without a common endpoint replaces the last one: the new ones join before the others
// leave, and if none of them can join the others stay.
func TestReplacingAllEndpointsLeavesNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st *stage
		refuse := true
		look := func() {
			if st != nil && len(st.Rank(nil, "")) == 0 {
				t.Error("nothing is ranked")
			}
		}
		st = newStage(t, SetConfig{
			OnJoin: func(e Endpoint) error {
				look()
				if refuse && e.Addr > "b" {
					return errors.New("bad address")
				}
				return nil
			},
			OnLeave: func(ctx, string) { look() },
		}, listOf("a", "b")...)
		defer st.close()
		st.answer(listOf("c", "d")...)
		st.wantRanked("a", "b")
		if s := st.Snapshot(); s.UpdateErr == nil || !strings.Contains(s.UpdateErr.Error(), "bad address") {
			t.Errorf("the refusal is not reported: %v", s.UpdateErr)
		}
		refuse = false
		st.answer(listOf("c", "d")...)
		st.wantRanked("c", "d")
	})
}

func TestAttributesChangeWithoutChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{OnLeave: func(_ ctx, addr string) { t.Errorf("%s left", addr) }}, five()...)
		use := st.Begin("a")
		st.fail("b", 5)
		list := five()
		for i := range list {
			list[i].Weight, list[i].Zone = float64(i+2), "z"
		}
		list[2].Priority = 1
		st.answer(list...)
		if s := st.state("a"); s.Load != 1 || s.Share != 2 || s.Begun != 1 || s.Endpoint.Zone != "z" {
			t.Errorf("a: %+v", s)
		}
		st.want("b", Ejected)
		st.want("c", Standby)
		st.wantRanked("a", "d", "e")
		use.End(Evidence{})
		st.close()
	})
}

func TestFailingResolverIsWatchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		r := watchFunc(func(c ctx, f func(Update)) error {
			calls++
			switch calls {
			case 1:
				panic("bug")
			case 2:
				return errors.New("broken")
			case 3:
				return nil
			}
			f(Update{Endpoints: listOf("a"), Complete: true})
			<-c.Done()
			return c.Err()
		})
		st := newStage(t, SetConfig{Resolver: r})
		synctest.Wait()
		if s := st.Snapshot(); s.Panics != 1 || !errors.Is(s.ResolverErr, ErrPanic) {
			t.Errorf("after a panic: %+v", s)
		}
		start := time.Now()
		if err := st.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("watched again after %v, want 1 + 2 + 4 s", d)
		}
		if s := st.Snapshot(); s.ResolverErr != nil || st.count(ResolverFailed) != 3 {
			t.Errorf("after an answer: %+v", s)
		}
		st.close()
	})
}

type watchFunc func(ctx, func(Update)) error

func (f watchFunc) Watch(c ctx, g func(Update)) error { return f(c, g) }

type panicking struct{}

func (panicking) Pick([]Candidate, string) int           { panic("pick") }
func (panicking) Failed(Record) error                    { panic("failed") }
func (panicking) Sweep([]Record, []error)                { panic("sweep") }
func (panicking) FollowsLatency() (PeakEWMAConfig, bool) { panic("follows") }

type panickingRanker struct{ panicking }

func (panickingRanker) Rank([]string, []Candidate, string, int) []string { panic("rank") }

type outOfRange struct{}

func (outOfRange) Pick(c []Candidate, _ string) int { return len(c) }

func TestPanicsOfTheUsersFunctionsAreContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{
			Balancer: panicking{}, Ejector: panicking{}, Probe: func(ctx, string) error { panic("probe") },
			OnJoin: func(e Endpoint) error {
				if e.Addr == "f" {
					panic("join")
				}
				return nil
			},
			OnLeave: func(ctx, string) { panic("leave") }, OnChange: func(Endpoint) { panic("change") },
			Trace: func(Event) { panic("trace") },
		}, listOf("a", "b", "c", "d", "e", "f")...)
		st.wantRanked("a", "b", "c", "d", "e")
		if st.Pick("") != "a" {
			t.Error("a panic in Pick picks something else than the first")
		}
		st.fail("b", 9)
		st.want("b", Healthy)
		st.answer(Endpoint{Addr: "a", Weight: 3}, Endpoint{Addr: "b"})
		st.wantRanked("a", "b")
		pass(time.Minute)
		if n := st.Snapshot().Panics; n < 10 {
			t.Errorf("%d panics", n)
		}
		st.close()
		for _, b := range []Balancer{panickingRanker{}, outOfRange{}} {
			st := newStage(t, SetConfig{Balancer: b, Ejector: AnyOf(ConsecutiveFailures(1)), Probe: func(ctx, string) error { panic("probe") }}, five()...)
			st.wantRanked("a", "b", "c", "d", "e")
			st.fail("b", 1)
			pass(10 * time.Second)
			if s := st.state("b"); s.Status != Ejected || !errors.Is(s.Cause, ErrPanic) {
				t.Errorf("after probes that panic: %+v", s)
			}
			st.close()
		}
	})
}

// Each function of the user calls the Set: none is called with the lock held.
func TestUsersFunctionsMayCallTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st *stage
		called := make(map[string]int)
		var mu sync.Mutex
		use := func(name string) {
			mu.Lock()
			called[name]++
			first := called[name] == 1
			mu.Unlock()
			if st == nil || st.Set == nil {
				return
			}
			st.Snapshot()
			st.Rank(nil, "")
			st.Refresh()
			st.Observe("e", Evidence{Kind: Success})
			if first {
				st.Observe("e", Evidence{Kind: CallFailed})
			}
			st.Begin("e").End(Evidence{})
		}
		st = newStage(t, SetConfig{
			Balancer: caller{use}, Ejector: caller{use},
			Probe:  func(ctx, string) error { use("Probe"); return nil },
			OnJoin: func(Endpoint) error { use("OnJoin"); return nil }, OnChange: func(Endpoint) { use("OnChange") },
			OnLeave: func(ctx, string) { use("OnLeave") }, Trace: func(Event) { use("Trace") },
		}, five()...)
		st.answer(Endpoint{Addr: "a", Weight: 2}, Endpoint{Addr: "e"}, Endpoint{Addr: "f"})
		st.Observe("a", Evidence{Kind: CallFailed, Err: callingError{use}})
		pass(time.Minute)
		st.close()
		for _, name := range []string{"Failed", "Sweep", "Probe", "OnJoin", "OnChange", "OnLeave", "Trace", "Error"} {
			if called[name] == 0 {
				t.Errorf("%s was not called", name)
			}
		}
	})
}

// caller is a balancer and an ejector that say that they are called.
type caller struct{ use func(string) }

func (c caller) Pick([]Candidate, string) int { return 0 }
func (c caller) Failed(Record) error          { c.use("Failed"); return errDown }
func (c caller) Sweep([]Record, []error)      { c.use("Sweep") }

// callingError is an error whose methods say that they are called.
type callingError struct{ use func(string) }

func (e callingError) Error() string { e.use("Error"); return "calling" }

func TestCloseSaysWhatStillRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		st := newStage(t, SetConfig{Probe: func(ctx, string) error { <-release; return nil }, OnLeave: func(ctx, string) { <-release }}, five()...)
		st.fail("b", 5)
		pass(2 * time.Second)
		st.answer(listOf("b", "c")...)
		c, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := st.Close(c); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "OnLeave (3), Probe (1)") {
			t.Error(err)
		}
		close(release)
		st.close()
	})
}

func TestRankAllocatesNothing(t *testing.T) {
	st := newStage(t, SetConfig{Resolver: fixed(five())})
	if err := st.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	dst := make([]string, 0, 8)
	for name, f := range map[string]func(){
		"Rank": func() { st.Rank(dst, "") },
		"Pick": func() { st.Pick("") },
		"Use":  func() { st.Begin("a").Move("b").End(Evidence{Kind: Success}) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	st.close()
}

// fixed is a resolver of one answer.
func fixed(list []Endpoint) Resolver {
	return watchFunc(func(c ctx, f func(Update)) error {
		f(Update{Endpoints: list, Complete: true})
		<-c.Done()
		return c.Err()
	})
}

// A function of the user that ends its goroutine costs that one call.
func TestGoexitOfTheUsersFunctionsIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exits := 0
		st := newStage(t, SetConfig{
			OnJoin: func(e Endpoint) error {
				if e.Addr == "e" {
					runtime.Goexit()
				}
				return nil
			},
			OnLeave: func(ctx, string) { runtime.Goexit() },
			Probe:   func(ctx, string) error { runtime.Goexit(); return nil },
			Trace: func(e Event) {
				if e.Kind == EndpointEjected {
					exits++
					runtime.Goexit()
				}
			},
		}, five()...)
		st.wantRanked("a", "b", "c", "d")
		if err := st.Snapshot().UpdateErr; !errors.Is(err, ErrPanic) {
			t.Errorf("the refusal of e: %v", err)
		}
		st.fail("b", 5)
		if exits != 1 {
			t.Fatalf("Trace ended %d goroutines", exits)
		}
		pass(5 * time.Second)
		if s := st.state("b"); s.Status != Ejected || s.Probes == 0 || !errors.Is(s.Cause, ErrPanic) {
			t.Errorf("after its probes: %+v", s)
		}
		st.answer(listOf("a")...)
		st.wantRanked("a")
		if n := st.count(EndpointLeft); n != 3 {
			t.Errorf("%d have left, want 3", n)
		}
		st.close()
	})
}

// Events behind the one whose Trace has ended its goroutine are reported at once.
func TestGoexitOfTraceLosesNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []EventKind
		st := newStage(t, SetConfig{Trace: func(e Event) {
			seen = append(seen, e.Kind)
			if e.Kind == EndpointEjected {
				runtime.Goexit()
			}
		}}, Endpoint{Addr: "a"}, Endpoint{Addr: "b", Priority: 1})
		defer st.close()
		st.fail("a", 5)
		if i := slices.Index(seen, EndpointEjected); i < 0 || !slices.Contains(seen[i:], FailedOver) {
			t.Errorf("reported: %v", seen)
		}
	})
}

// A Trace that ends its goroutine with each event stops nothing of the Set: it follows the resolver,
// applies its answers, probes, and fails over and back.
func TestGoexitOfTraceStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		more := make(chan Update)
		watches := 0
		st := newStage(t, SetConfig{
			Resolver: watchFunc(func(c ctx, f func(Update)) error {
				if watches++; watches < 3 {
					return errors.New("broken")
				}
				f(Update{Endpoints: []Endpoint{{Addr: "a"}, {Addr: "b", Priority: 1}}, Complete: true})
				f(<-more)
				<-c.Done()
				return c.Err()
			}),
			Trace: func(Event) { runtime.Goexit() },
		})
		defer st.close()
		wait, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := st.Ready(wait); err != nil {
			t.Fatalf("after %d calls of Watch: %v", watches, err)
		}
		for range 2 {
			n := st.probed("a")
			st.fail("a", 5)
			st.wantRanked("b")
			pass(time.Hour)
			st.wantRanked("a")
			if st.probed("a") == n {
				t.Error("a was not probed")
			}
		}
		if n := st.count(FailedBack); n != 2 {
			t.Errorf("failed back %d times, want 2", n)
		}
		more <- Update{Endpoints: listOf("a", "b", "c"), Complete: true}
		synctest.Wait()
		if n := len(st.Snapshot().Endpoints); n != 3 {
			t.Errorf("%d endpoints after the last answer, want 3", n)
		}
	})
}

type exitingEjector struct{}

func (exitingEjector) Failed(Record) error     { runtime.Goexit(); return nil }
func (exitingEjector) Sweep([]Record, []error) {}

// An Ejector that ends its goroutine does not end the one that reports evidence.
func TestGoexitOfEjector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{Ejector: exitingEjector{}}, five()...)
		defer st.close()
		returned := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			st.fail("b", 1)
			returned = true
		}()
		<-done
		if !returned || st.count(Panicked) != 1 {
			t.Errorf("Observe returned: %v; events: %v", returned, st.lines())
		}
		st.want("b", Healthy)
	})
}

func TestUseOfNoEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		Use{}.Move("a").End(Evidence{Kind: Success})
		st := newStage(t, SetConfig{}, five()...)
		st.Begin("unknown").End(Evidence{Kind: CallFailed})
		u := st.Begin("unknown").Move("a")
		if st.state("a").Load != 1 {
			t.Error("the use was not moved")
		}
		u = u.Move("a").Move("unknown")
		if st.state("a").Load != 0 {
			t.Error("the use was not moved away")
		}
		u.End(Evidence{})
		st.Observe("unknown", Evidence{Kind: Silence})
		st.close()
	})
}
