package museum

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func checks() []Exhibit {
	return []Exhibit{
		{Name: "checks-dial", Run: checksDial,
			What: "Five idle items, checks of 30 ms, one caller: nothing is made because they are being checked."},
		{Name: "checks-reorder", Run: checksReorder,
			What: "Checks keep the order: the item used last is lent next."},
		{Name: "dead-idle", Issues: []string{"livekit/agents#6513", "bifrost#3002"}, Run: deadIdle,
			What: "What dies while it is idle is found by a check, and not lent."},
	}
}

const checkEvery = 50 * time.Millisecond

// check counts; what is ill fails.
func (w *works) check(it *peer.Item) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	note(&w.checked, it.ID, w.checked[it.ID]+1)
	if w.ill[it.ID] {
		return errors.New("ill")
	}
	return nil
}

// checkedAll returns a condition: each of n items has been checked since now.
func (w *works) checkedAll(n int) func() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := map[int]int{}
	for id, c := range w.checked {
		before[id] = c
	}
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		fresh := 0
		for id, c := range w.checked {
			if c > before[id] {
				fresh++
			}
		}
		return fresh >= n
	}
}

// openChecked opens a pool that checks what is idle, with n items in it.
func openChecked(k peer.Kind, w *works, n int, check func(*peer.Item) error) (stage, error) {
	s, err := openLazy(k, w, 2*n, func(c *peer.Config) { c.Check, c.CheckEvery = check, checkEvery })
	if err != nil {
		return s, err
	}
	return s, s.Warm(context.Background(), n)
}

func checksDial(_ context.Context, k peer.Kind) (Finding, error) {
	const idle = 5
	w := &works{}
	s, err := openChecked(k, w, idle, func(it *peer.Item) error {
		time.Sleep(30 * time.Millisecond)
		return w.check(it)
	})
	if err != nil {
		return Finding{}, err
	}
	before, _, _ := w.tally()
	var longest time.Duration
	for end := time.Now().Add(600 * time.Millisecond); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		began := time.Now()
		l, err := s.take()
		if err != nil {
			return broken("Acquire", err)
		}
		longest = max(longest, time.Since(began))
		l.Release()
	}
	after, _, _ := w.tally()
	return judge(after == before, "%d makes, longest acquire %s", after-before, ms(longest))
}

func checksReorder(_ context.Context, k peer.Kind) (Finding, error) {
	const idle, rounds = 4, 8
	w := &works{}
	s, err := openChecked(k, w, idle, w.check)
	if err != nil {
		return Finding{}, err
	}
	var ids []string
	same := 0
	looked := w.checkedAll(1)
	time.Sleep(4 * checkEvery)
	silent := !looked() // it looks at what is idle, and does not say so
	for i := range rounds {
		if silent {
			time.Sleep(checkEvery)
		} else if !until(w.checkedAll(idle)) {
			return fails("not all are checked")
		}
		time.Sleep(settle)
		l, err := s.take()
		if err != nil {
			return broken("Acquire", err)
		}
		ids = append(ids, strconv.Itoa(l.Item().ID))
		l.Release()
		if i > 0 && ids[i] == ids[i-1] {
			same++
		}
	}
	if same < (rounds-1)*2/3 {
		return fails("lent %s", strings.Join(ids[:5], " "))
	}
	return passes()
}

func deadIdle(_ context.Context, k peer.Kind) (Finding, error) {
	const idle = 2
	w := &works{ill: map[int]bool{}}
	s, err := openChecked(k, w, idle, w.check)
	if err != nil {
		return Finding{}, err
	}
	w.mu.Lock()
	last := w.begun
	for id := range last {
		w.ill[id+1] = true
	}
	w.mu.Unlock()
	time.Sleep(6 * checkEvery)
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	if l.Item().ID <= last {
		return fails("a dead item lent")
	}
	return passes()
}
