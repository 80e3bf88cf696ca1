package endpoint

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// naive is the ejector that one writes first: any error counts, any success resets, the limit
// is compared with the ejections so far, and after half a minute the endpoint is back.
type naive struct {
	n     int
	row   map[string]int
	until map[string]time.Time
}

func (e *naive) observe(addr string, ev Evidence) {
	if ev.Kind == Success || ev.Kind == Connected {
		e.row[addr] = 0
		delete(e.until, addr)
		return
	}
	if e.row[addr]++; e.row[addr] >= 5 && float64(len(e.ejected())) < 0.3*float64(e.n) {
		e.until[addr] = time.Now().Add(30 * time.Second)
	}
}

func (e *naive) ejected() (addrs []string) {
	for a, t := range e.until {
		if time.Now().Before(t) {
			addrs = append(addrs, a)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// TestNaiveEjectorInTheSameScenes plays the same evidence to a Set and to the naive ejector.
func TestNaiveEjectorInTheSameScenes(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e"}
	type play func(addr string, ev Evidence)
	every := func(ev Evidence, n int) func(play) {
		return func(f play) {
			for range n {
				for _, a := range all {
					f(a, ev)
				}
			}
		}
	}
	for _, tc := range []struct {
		name         string
		scene        func(f play)
		naive, right []string // ejected at the end
	}{
		{"the token has expired: all refuse", every(Evidence{Kind: DialFailed, Status: 401}, 5), []string{"a", "b"}, nil},
		{"this host has no file descriptors (Envoy #3643)", every(Evidence{Kind: Local, Err: errors.New("too many open files")}, 5), []string{"a", "b"}, nil},
		{"the callers cancel", every(Evidence{Kind: Unanswered}, 5), []string{"a", "b"}, nil},
		{"a rolling restart says so", every(Evidence{Kind: Closed, Code: 1001}, 5), []string{"a", "b"}, nil},
		{"two of five die (Envoy #26877)", func(f play) {
			for range 5 {
				f("a", Evidence{Kind: DialFailed})
				f("b", Evidence{Kind: DialFailed})
			}
		}, []string{"a", "b"}, []string{"a"}},
		{"a success was under way (Envoy #18950, #32442)", func(f play) {
			for range 5 {
				f("a", Evidence{Kind: CallFailed})
			}
			f("a", Evidence{Kind: Success})
		}, nil, []string{"a"}},
		{"connections succeed, calls fail", func(f play) {
			for range 20 {
				f("a", Evidence{Kind: Connected})
				f("a", Evidence{Kind: CallFailed})
			}
		}, nil, []string{"a"}},
		{"it dies", func(f play) {
			for range 5 {
				f("a", Evidence{Kind: DialFailed})
			}
		}, []string{"a"}, []string{"a"}},
		{"it is dead for half a minute", func(f play) {
			for range 5 {
				f("a", Evidence{Kind: DialFailed})
			}
			pass(31 * time.Second)
		}, nil, []string{"a"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, SetConfig{}, five()...)
			defer st.close()
			st.setDown("a", true)
			st.setDown("b", true)
			e := &naive{n: 5, row: map[string]int{}, until: map[string]time.Time{}}
			tc.scene(func(addr string, ev Evidence) {
				e.observe(addr, ev)
				st.Observe(addr, ev)
			})
			var got []string
			for _, s := range st.Snapshot().Endpoints {
				if s.Status == Ejected || s.Status == Probing {
					got = append(got, s.Endpoint.Addr)
				}
			}
			t.Logf("%-48s ejected: naive %v, Set %v", tc.name, e.ejected(), got)
			if !slices.Equal(got, tc.right) {
				t.Errorf("%s: ejected are %v, want %v", tc.name, got, tc.right)
			}
			if !slices.Equal(e.ejected(), tc.naive) {
				t.Errorf("%s: the naive ejector has %v, the scene is to show %v", tc.name, e.ejected(), tc.naive)
			}
		})
	}
}

// Envoy #29008. The naive slow start has one clock for the group: it begins when an endpoint
// joins, for all that are new.
func TestNaiveSlowStartInTheSameScene(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 60 * time.Second
		st := newStage(t, SetConfig{SlowStart: window}, listOf("a", "b")...)
		defer st.close()
		list := listOf("a", "b", "c")
		st.answer(list...)
		clock := time.Now() // of the naive group
		st.Observe("c", Evidence{Kind: Connected})
		for i := range 4 {
			pass(20 * time.Second)
			list = append(list, Endpoint{Addr: string(rune('k' + i))})
			st.answer(list...)
			clock = time.Now()
		}
		naive := max(0.1, float64(time.Since(clock))/float64(window))
		if got := st.state("c"); got.Status != Healthy || got.Share != 1 || naive != 0.1 {
			t.Errorf("after 80 s of a window of 60 s: %+v; naive share %v", got, naive)
		}
	})
}
