package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// TestMain runs the device if the test binary was started as one.
func TestMain(m *testing.M) {
	if os.Getenv(asDevice) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const want = `a warm model: small answers hello
it was loaded before: true
another model: large answers hello
the next caller: large answers hello again
it was loaded before: true
a third model: medium answers hello
an idle context gave way: true
a model for which the device has no room now: out of memory
a smaller one: small answers hello
the first one again, when there is room: large answers hello
30 callers at once: 30 served
memory in use, as the device saw it, at most 24 GiB: true
closed: every context that was loaded has ended: true
`

// An argument is an error that names it.
func TestProgram_Arguments(t *testing.T) {
	var out, errs bytes.Buffer
	if status := program([]string{"-serve", "x"}, &out, &errs); status != 2 || out.Len() > 0 || errs.String() != "models: takes no arguments, got [\"-serve\" \"x\"]\n" {
		t.Errorf("status %d, %q and %q", status, &out, &errs)
	}
}

// The program shows what becomes of contexts.
func TestRun(t *testing.T) {
	var got bytes.Buffer
	if err := run(t.Context(), &got); err != nil {
		t.Fatalf("%v\n%s", err, got.String())
	}
	if got.String() != want {
		t.Errorf("the program said\n%s\nwant\n%s", got.String(), want)
	}
}

// The policy keeps the contracts of an Admission and of an Eviction.
func TestMemoryConforms(t *testing.T) {
	policytest.Admission(t, func() resource.Admission { return newMemory(4).part(1) })
	policytest.Eviction(t, func() resource.Eviction { return newMemory(4).part(1) })
}

// Loads get memory in order: a large one is not passed by small ones. When it has waited, as many
// contexts as it needs are evicted, and no more.
func TestMemoryInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(8)
		small, large := m.part(2), m.part(6)
		var held []resource.Done
		for range 3 {
			done, err := small.Admit(t.Context(), resource.Request{})
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, done)
		}
		order := make(chan string, 2)
		wait := func(p *part, name string) {
			go func() {
				if _, err := p.Admit(t.Context(), resource.Request{}); err != nil {
					t.Error(err)
				}
				order <- name
			}()
			synctest.Wait()
		}
		wait(large, "large")
		wait(small, "small") // it would find room
		idle := resource.Info{Idle: time.Second, Idlers: 3, Total: 3}
		if err := small.Evict(idle); err != nil {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(patience) // in the bubble
		synctest.Wait()
		for name, i := range map[string]resource.Info{
			"one that is about to be lent": {Idle: time.Second, Total: 3},
			"one that was just loaded":     {Total: 3},
			"one at a later age":           {Idle: time.Second, Leases: 1},
			"one at a later age, used":     {Leases: 1},
		} {
			if err := small.Evict(i); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		ended := 0
		for range 3 {
			if err := small.Evict(idle); errors.Is(err, errNeeded) {
				ended++
			}
		}
		if ended != 2 {
			t.Errorf("%d contexts of 2 GiB were evicted for one of 6, of which 2 were free", ended)
		}
		for range ended {
			held[0](resource.Outcome{})
			held = held[1:]
		}
		if first := <-order; first != "large" {
			t.Errorf("%s was first", first)
		}
		held[0](resource.Outcome{})
		<-order
	})
}

// A load that gives up leaves the line to the next.
func TestMemoryGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(4)
		done, err := m.part(3).Admit(t.Context(), resource.Request{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.part(3).Admit(t.Context(), resource.Request{NoWait: true}); !errors.Is(err, errFull) {
			t.Errorf("without waiting: %v", err)
		}
		got := make(chan error, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { _, err := m.part(4).Admit(ctx, resource.Request{}); got <- err }()
		synctest.Wait()
		go func() { _, err := m.part(1).Admit(t.Context(), resource.Request{}); got <- err }()
		synctest.Wait()
		if err := <-got; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first in line: %v", err)
		}
		if err := <-got; err != nil {
			t.Errorf("the next: %v", err)
		}
		done(resource.Outcome{})
		if m.free != 3 {
			t.Errorf("%d GiB are free", m.free)
		}
	})
}
