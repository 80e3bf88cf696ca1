package proof_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
	"pgregory.net/rapid"
)

// TestModel checks the pool in random scripts.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawScript(r)
		if err := prove(t, s, newReal[*thing]); err != nil {
			r.Fatalf("%v\nin the script\n%v", err, s)
		}
	})
}

// TestQueueSurplus checks that one caller of an empty pool causes one creation, with a
// Queue too. The model cannot check that, since a surplus creation would begin at the
// instant at which the caller is served.
func TestQueueSurplus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(script{})
		p, err := newReal(resource.Config[int]{
			Make:    func(context.Context) (int, error) { time.Sleep(ms(50)); return 0, nil },
			MaxSize: 3,
			Queue:   &order{w: w},
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := p.AcquireWith(t.Context(), resource.Request{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s := p.Stats(); s.Made > 1 {
			t.Errorf("%d made for one caller", s.Made)
		}
		l.Release()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// plainScript removes from a script what the plain pool does not support.
func plainScript(s script) script {
	s.shape.queue = ""
	s.ops = slices.Clone(s.ops)
	for i := range s.ops {
		switch o := &s.ops[i]; o.kind {
		case "fresh":
			o.kind = "acquire"
		case "nowait":
			o.a = 0
		}
	}
	return s
}

// TestModelPlain checks that the plain pool passes, so the model is satisfiable.
func TestModelPlain(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := plainScript(drawScript(r))
		if err := prove(t, s, newPlain[*thing]("")); err != nil {
			r.Fatalf("%v\nin the script\n%v", err, s)
		}
	})
}

// TestModelCatchesUsed checks that the model detects a used resource lent for a Fresh
// request.
func TestModelCatchesUsed(t *testing.T) {
	draw := rapid.Custom(drawScript)
	for n := range 3000 {
		if err := prove(t, draw.Example(n), newCareless); err != nil {
			t.Logf("caught by script %d: %v", n, err)
			return
		}
	}
	t.Error("not caught")
}

// TestModelCatches checks that the model detects each bug of the plain pool within a fixed
// number of scripts.
func TestModelCatches(t *testing.T) {
	draw := rapid.Custom(drawScript)
	for _, bug := range []string{
		"lends twice",
		"loses a wake-up",
		"serves the last",
		"serves a context that has ended",
		"ends another's lease",
		"lends the invalidated",
		"lends what was made before Reset",
		"lends from the wrong end", // of OldestFirst
		"keeps too many",
		"forgets that dying ones take a place",
		"makes too many",
		"destroys twice",
		"destroys what was hijacked",
		"forgets to count a hijack",
		"forgets what came late",
		"forgets a Done",
		"runs a Done twice",
		"hides a failed make",
		"tells of a failed make though something is leased",
		"tells of what a Reset canceled",
		"lets makes go on at Reset",
		"keeps what came after MakeTimeout",
		"counts on makes that hang",
		"gives up to warm",
		"closes too early",
	} {
		t.Run(bug, func(t *testing.T) {
			for n := range 3000 {
				s := plainScript(draw.Example(n))
				if err := prove(t, s, newPlain[*thing](bug)); err != nil {
					t.Logf("caught by script %d: %v", n, err)
					return
				}
			}
			t.Errorf("not caught")
		})
	}
}
