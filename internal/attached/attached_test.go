package attached

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// reporter is a MultiplexReporter with one state.
type reporter struct{ state resource.Multiplexer }

func (r *reporter) Multiplexer(limit int) resource.Multiplexer {
	m := r.state
	m.Resources = slices.Clone(m.Resources[:min(limit, len(m.Resources))])
	return m
}

type panics struct{}

func (panics) Multiplexer(int) resource.Multiplexer { panic("boom") }

func of(name string, calls int64, ids ...uint64) *reporter {
	r := &reporter{resource.Multiplexer{Name: name, Calls: calls, Held: len(ids), Took: resource.Durations{Zero: calls}}}
	for _, id := range ids {
		r.state.Resources = append(r.state.Resources, resource.MultiplexedResource{ID: id})
	}
	return r
}

// said is what a list has, in words.
func said(all []resource.Multiplexer) (s []string) {
	for _, m := range all {
		var ids []uint64
		for _, r := range m.Resources {
			ids = append(ids, r.ID)
		}
		s = append(s, fmt.Sprintf("%s calls %d took %d held %d %v", m.Name, m.Calls, m.Took.Zero, m.Held, ids))
	}
	return s
}

func TestList(t *testing.T) {
	var l List[string]
	if got := l.All(9); len(got) != 0 {
		t.Errorf("an empty list has %v", got)
	}
	removeA := l.Add("k1", of("b", 10, 3, 1))
	l.Add("k2", of("b", 5, 2))
	l.Add("k2", of("a", 7, 9))
	l.Add("k2", panics{})
	check := func(what string, got []resource.Multiplexer, want ...string) {
		t.Helper()
		if s := said(got); !slices.Equal(s, want) {
			t.Errorf("%s: %q, want %q", what, s, want)
		}
	}
	check("all", l.All(9), "a calls 7 took 7 held 1 [9]", "b calls 15 took 15 held 3 [1 2 3]")
	check("with a limit", l.All(2), "a calls 7 took 7 held 1 [9]", "b calls 15 took 15 held 3 [1 2]")
	check("of a key", l.Of("k1", 9), "b calls 10 took 10 held 2 [3 1]")
	check("of no key", l.Of("k3", 9))
	removeA()
	removeA()
	check("after the removal", l.All(9), "a calls 7 took 7 held 1 [9]", "b calls 15 took 15 held 1 [2]")
	check("of the key", l.Of("k1", 9), "b calls 10 took 10 held 0 []")
	l.Add("k1", of("b", 3, 7))
	check("of the key, used again", l.Of("k1", 9), "b calls 13 took 13 held 1 [7]")
	check("of another key", l.Of("k2", 9), "a calls 7 took 7 held 1 [9]", "b calls 5 took 5 held 1 [2]")
}

// However many keys are used, the counters of only so many are kept, the latest ones, and those
// of all keys together are complete.
func TestList_ManyKeys(t *testing.T) {
	var l List[int]
	const keys = maxEnds + 40
	for key := range keys {
		for range 2 {
			l.Add(key, of("calls", 1))()
		}
	}
	if n := len(l.ends); n != maxEnds {
		t.Errorf("%d are kept", n)
	}
	if got := l.Of(keys-1, 0); len(got) != 1 || got[0].Calls != 2 {
		t.Errorf("of the last key there is %q", said(got))
	}
	if got := l.Of(0, 0); len(got) != 0 {
		t.Errorf("of the first key there is %q", said(got))
	}
	if got := l.All(0); len(got) != 1 || got[0].Calls != 2*keys {
		t.Errorf("of all there is %q", said(got))
	}
}

// Names become labels, so there are only so many, and what is beyond them is counted together.
func TestList_ManyNames(t *testing.T) {
	var l List[int]
	for i := range 100 {
		remove := l.Add(i, of(fmt.Sprintf("name %03d", i), 1))
		if i%2 == 0 {
			remove()
		}
	}
	all := l.All(0)
	sum := int64(0)
	for _, m := range all {
		sum += m.Calls
	}
	if len(all) > maxNames+1 || sum != 100 {
		t.Errorf("%d names with %d calls: %q", len(all), sum, said(all))
	}
}

// A key that cannot be hashed, as the key of a Manager may be, harms nothing.
func TestList_BadKey(t *testing.T) {
	var l List[any]
	l.Add([]int{1}, of("bad", 1))()
	l.Add([]int{1}, of("bad", 0))()
	l.Add([]int{1}, of("bad", 1))
	l.Add("good", of("good", 2))
	if got := l.Of("good", 0); len(got) != 1 || got[0].Calls != 2 {
		t.Errorf("%q", said(got))
	}
	if got := l.All(0); len(got) != 2 || got[0].Calls != 2 {
		t.Errorf("%q", said(got))
	}
}

func TestList_Concurrent(t *testing.T) {
	var l List[int]
	var wg sync.WaitGroup
	deadline := time.Now().Add(10 * time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for last := int64(0); last < 400 && time.Now().Before(deadline); {
			n := int64(0)
			for _, m := range l.All(1) {
				n += m.Calls
			}
			if n < last {
				t.Errorf("the calls fell from %d to %d", last, n)
				return
			}
			last = n
		}
	}()
	for g := range 4 {
		wg.Go(func() {
			for range 100 {
				remove := l.Add(g, of("x", 1, 1))
				l.Of(g, 1)
				remove()
			}
		})
	}
	wg.Wait()
	<-done
	if all := l.All(0); len(all) != 1 || all[0].Calls != 400 || all[0].Held != 0 {
		t.Errorf("%q", said(all))
	}
}
