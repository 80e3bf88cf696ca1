package resource_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/respool/respool/resource"
)

// endsBadly is a context whose Err fails once the Admission has admitted.
type endsBadly struct {
	context.Context
	a    *countingAdmission
	fail func()
}

func (c endsBadly) Err() error {
	if c.a.last {
		c.fail()
	}
	return nil
}

type countingAdmission struct {
	admitted, done int
	last           bool // it has admitted since last was cleared
}

func (a *countingAdmission) Admit(context.Context, resource.Request) (resource.Done, error) {
	a.admitted++
	a.last = true
	return func(resource.Outcome) { a.done++ }, nil
}

// A permit goes back if a method of the caller's context panics or ends the goroutine.
func TestI4_ContextPanicsAfterTheAdmission(t *testing.T) {
	a := new(countingAdmission)
	p, err := resource.New(resource.Config[int]{
		Make:      func(context.Context) (int, error) { return 1, nil },
		MaxSize:   1,
		Admission: a,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	l, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	for what, fail := range map[string]func(){"panic": func() { panic("Err") }, "Goexit": runtime.Goexit} {
		recovered := make(chan any, 1)
		go func() {
			defer func() { recovered <- recover() }()
			a.last = false
			p.Acquire(endsBadly{t.Context(), a, fail})
		}()
		if v := <-recovered; (v == "Err") != (what == "panic") {
			t.Errorf("%s: recovered %v", what, v)
		}
	}
	if a.admitted != a.done {
		t.Errorf("%d permits, %d returned", a.admitted, a.done)
	}
}
