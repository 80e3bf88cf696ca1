package endpoint

import (
	"testing"
	"testing/synctest"
	"time"
)

func primaries() []Endpoint {
	return []Endpoint{{Addr: "p1"}, {Addr: "p2"}, {Addr: "s1", Priority: 1}, {Addr: "s2", Priority: 1}, {Addr: "t1", Priority: 2}}
}

func (st *stage) downAll(addrs ...string) {
	for _, a := range addrs {
		st.setDown(a, true)
		st.fail(a, 5)
	}
}

func TestFailoverAtOnceAndFailbackAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{FailbackAfter: 2 * time.Minute, MaxEjected: 0.5}, primaries()...)
		defer st.close()
		st.downAll("p1")
		st.wantRanked("p2")
		st.downAll("p2")
		st.wantRanked("s1", "s2")
		if s := st.Snapshot(); s.Priority != 1 || s.Failovers != 1 || s.Panic {
			t.Errorf("after the primaries failed: %+v", s)
		}
		st.setDown("p1", false)
		pass(30 * time.Second)
		st.want("p1", Standby)
		pass(85 * time.Second)
		st.wantRanked("s1", "s2")
		pass(31 * time.Second)
		st.wantRanked("p1")
		if s := st.Snapshot(); s.Priority != 0 || s.Failbacks != 1 {
			t.Errorf("after the primary was healthy for two minutes: %+v", s)
		}
	})
}

// The limit of ejections applies to all endpoints together. A Priority whose endpoints all fail
// is left, although not all of them may be ejected.
func TestFailoverDoesNotDependOnTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []Endpoint{{Addr: "p1"}, {Addr: "p2"}, {Addr: "p3"}}
		for _, a := range []string{"s1", "s2", "s3", "s4"} {
			list = append(list, Endpoint{Addr: a, Priority: 1})
		}
		st := newStage(t, SetConfig{}, list...)
		defer st.close()
		st.downAll("p1", "p2", "p3")
		st.wantRanked("s1", "s2", "s3", "s4")
		ejected := 0
		for _, s := range st.Snapshot().Endpoints {
			if s.Status == Ejected {
				ejected++
			}
		}
		if ejected != 2 {
			t.Errorf("%d of 7 are ejected, want 2", ejected)
		}
		// Failing endpoints that are not in use are probed too.
		for _, a := range []string{"p1", "p2", "p3"} {
			st.setDown(a, false)
		}
		pass(10 * time.Minute)
		st.wantRanked("p1", "p2", "p3")
	})
}

func TestFailoverBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []Endpoint{{Addr: "p1"}, {Addr: "p2"}, {Addr: "p3"}, {Addr: "p4"}, {Addr: "s1", Priority: 5}, {Addr: "s2", Priority: 5}}
		st := newStage(t, SetConfig{FailoverBelow: 0.6, MaxEjected: 0.5}, list...)
		defer st.close()
		st.downAll("p1")
		st.wantRanked("p2", "p3", "p4")
		st.downAll("p2") // 2 of 4 are fewer than 0.6
		st.wantRanked("s1", "s2")
	})
}

// A primary that comes and goes: the naive rule returns whenever it is healthy.
func TestFlappingPrimaryFailsBackAtMostOnceAMinute(t *testing.T) {
	for _, tc := range []struct {
		up, down, after time.Duration
		least, most     int64
	}{
		{10 * time.Second, 10 * time.Second, -1, 5, 60}, // returns at once, once a minute
		{10 * time.Second, 10 * time.Second, 5 * time.Second, 5, 60},
		{10 * time.Second, 10 * time.Second, time.Minute, 0, 0}, // never healthy for long enough
		{50 * time.Second, 50 * time.Second, time.Minute, 0, 0},
		{4 * time.Minute, 10 * time.Second, time.Minute, 5, 15},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, SetConfig{FailbackAfter: tc.after, MaxProbeDelay: 2 * time.Second},
				Endpoint{Addr: "p"}, Endpoint{Addr: "s1", Priority: 1}, Endpoint{Addr: "s2", Priority: 1}, Endpoint{Addr: "s3", Priority: 1})
			naive, healthy := int64(0), true
			var back []time.Time
			seen := int64(0)
			for elapsed := time.Duration(0); elapsed < time.Hour; elapsed += time.Second / 4 {
				down := elapsed%(tc.up+tc.down) >= tc.up
				st.setDown("p", down)
				if down != !healthy {
					if healthy = !down; healthy {
						naive++
					}
				}
				addr := st.Pick("")
				use := st.Begin(addr)
				if addr == "p" && down {
					use.End(Evidence{Kind: DialFailed, Err: errDown})
				} else {
					use.End(Evidence{Kind: Success})
				}
				pass(time.Second / 4)
				if n := st.Snapshot().Failbacks; n > seen {
					seen = n
					back = append(back, time.Now())
				}
			}
			if seen < tc.least || seen > tc.most {
				t.Errorf("%+v: %d failbacks in an hour (naive: %d)", tc, seen, naive)
			}
			for i := 1; i < len(back); i++ {
				if d := back[i].Sub(back[i-1]); d < FailbackInterval-time.Second/2 {
					t.Errorf("%+v: failbacks %v apart", tc, d)
				}
			}
			t.Logf("up %v, down %v, FailbackAfter %v: %d failbacks in an hour, naive %d", tc.up, tc.down, tc.after, seen, naive)
			st.close()
		})
	}
}

func TestStandbyIsRankedLastWhileThePrimaryIsSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, Endpoint{Addr: "p"}, Endpoint{Addr: "s", Priority: 1}, Endpoint{Addr: "t", Priority: 2})
		defer st.close()
		if got := st.Rank(nil, ""); len(got) != 1 {
			t.Errorf("ranked %v while all is well", got)
		}
		st.fail("p", 1)
		if got := st.Rank(nil, ""); len(got) != 2 || got[0] != "p" || got[1] != "s" {
			t.Errorf("ranked %v after a failure, want p s", got)
		}
		st.Observe("p", Evidence{Kind: Connected})
		if got := st.Rank(nil, ""); len(got) != 1 {
			t.Errorf("ranked %v after a success", got)
		}
	})
}

func TestOnlyHealthyPriorityIsUsedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{MaxEjected: 1}, Endpoint{Addr: "p"}, Endpoint{Addr: "s", Priority: 1}, Endpoint{Addr: "t", Priority: 2})
		defer st.close()
		st.downAll("p")
		st.wantRanked("s")
		st.setDown("p", false)
		pass(5 * time.Second)
		st.wantRanked("s")
		st.downAll("s") // t is healthy too, but p is better
		st.wantRanked("p")
		st.downAll("p")
		st.wantRanked("t")
		st.downAll("t")
		if got := st.ranked(); len(got) == 0 {
			t.Error("nothing is ranked when all fail")
		}
		if s := st.Snapshot(); !s.Panic {
			t.Errorf("no panic: %+v", s)
		}
	})
}

func TestPriorityThatLeavesAndJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{}, Endpoint{Addr: "s", Priority: 7})
		defer st.close()
		st.answer(Endpoint{Addr: "p", Priority: -3}, Endpoint{Addr: "s", Priority: 7})
		st.wantRanked("s")
		pass(59 * time.Second)
		st.wantRanked("s")
		pass(2 * time.Second)
		st.wantRanked("p")
		st.answer(Endpoint{Addr: "s", Priority: 7})
		st.wantRanked("s")
		if s := st.Snapshot(); s.Failovers != 0 || s.Priority != 7 {
			t.Errorf("%+v", s)
		}
	})
}
