package resource_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// follower is an Admission that notes how the maximum was changed.
type follower struct {
	mu   sync.Mutex
	told []string
	at   int                // the maximum that it knows
	hook func(from, to int) // runs in FollowSize, after the note
}

func (f *follower) Admit(context.Context, resource.Request) (resource.Done, error) { return nil, nil }

func (f *follower) FollowSize(from, to int) {
	f.mu.Lock()
	f.told = append(f.told, fmt.Sprintf("%d to %d", from, to))
	if from != f.at {
		f.told = append(f.told, fmt.Sprintf("but it was %d", f.at))
	}
	f.at = to
	f.mu.Unlock()
	if f.hook != nil {
		f.hook(from, to)
	}
}

func (f *follower) wantTold(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.told, want) {
		t.Errorf("it was told %q, want %q", f.told, want)
	}
}

// Every Admission of the pool is told of each change, and of nothing else.
func TestResize_TellsPolicies(t *testing.T) {
	all := [3]*follower{{at: 2}, {at: 2}, {at: 2}}
	edit := func(h *harness) {
		h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota = all[0], all[1], all[2]
	}
	script(t, 2, edit, func(h *harness) {
		for _, n := range []int{2, 5, 5, 1, 2} {
			h.max = n
			if err := h.p.Resize(n); err != nil {
				t.Error(err)
			}
		}
		if err := h.p.Resize(0); err == nil {
			t.Error("a maximum of 0")
		}
		if err := <-h.close(time.Minute); err != nil {
			t.Error(err)
		}
		if err := h.p.Resize(7); err == nil {
			t.Error("a closed pool was resized")
		}
		for _, f := range all {
			f.wantTold(t, "2 to 5", "5 to 1", "1 to 2")
		}
	})
}

// I5, I9: FollowSize may use the pool, resize it, panic, and end its goroutine:
// the next change is told all the same.
func TestI9_FollowSize(t *testing.T) {
	f := &follower{at: 1}
	edit := func(h *harness) { h.cfg.Admission, h.max = f, 10 }
	script(t, 1, edit, func(h *harness) {
		f.hook = func(_, to int) {
			h.p.Stats()
			switch to {
			case 2:
				if err := h.p.Resize(3); err != nil { // it is told when this call has returned
					t.Error(err)
				}
				f.wantTold(t, "1 to 2")
			case 3:
				panic(errFault)
			case 4:
				runtime.Goexit()
			}
		}
		for _, n := range []int{2, 4, 5} {
			if err := h.p.Resize(n); err != nil {
				t.Error(err)
			}
		}
		f.wantTold(t, "1 to 2", "2 to 3", "3 to 4", "4 to 5")
		if n := h.p.Stats().Panics; n != 2 {
			t.Errorf("%d panics, want 2", n)
		}
	})
}

// I6: Close waits for a call that runs.
func TestI6_CloseWaitsForFollowSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{at: 1, hook: func(int, int) { time.Sleep(time.Second) }}
		p, err := resource.New(resource.Config[int]{
			Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 1, Admission: f,
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go p.Resize(2)
		synctest.Wait()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close returned after %v, want 1s", took)
		}
	})
}

// Changes at the same time: each call begins from what the one before it said, and
// the last one says what the maximum is.
func TestResize_ManyAtOnce(t *testing.T) {
	f := &follower{at: 1}
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) { cfg.Admission = f })
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				if err := p.Resize(1 + (g*7+i*3)%20); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if max := p.Stats().Max; f.at != max {
		t.Errorf("the policy knows %d as the maximum, which is %d", f.at, max)
	}
	for _, s := range f.told {
		if s[:3] == "but" {
			t.Error(s)
		}
	}
}
