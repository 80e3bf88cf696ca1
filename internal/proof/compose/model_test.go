package compose_test

import (
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func TestModel(t *testing.T) {
	admitted, refused, broke := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, n: draw(t, 3)}
		t.Logf("%v", h.n)
		t.Repeat(map[string]func(*rapid.T){
			"admit":  h.admit,
			"admit2": h.admit, // more often than returning
			"end":    h.end,
			"resize": h.resize,
			"": func(t *rapid.T) {
				if err := h.n.check(); err != nil {
					t.Fatal(err)
				}
			},
		})
		for len(h.held) > 0 {
			h.give(0, resource.Outcome{})
		}
		if err := h.n.check(); err != nil {
			t.Fatalf("after all permits were returned: %v", err)
		}
		admitted, refused, broke = admitted+h.admitted, refused+h.refused, broke+h.broke
	})
	t.Logf("%d admitted, %d refused, %d panicked", admitted, refused, broke)
	if admitted == 0 || refused == 0 || broke == 0 {
		t.Errorf("%d admitted, %d refused, %d panicked: the histories do not cover all results", admitted, refused, broke)
	}
}

// history is a random history of one nesting.
type history struct {
	t    *rapid.T
	n    node
	held []permit

	admitted, refused, broke int
}

type permit struct {
	done resource.Done
	undo func()
}

func (h *history) admit(t *rapid.T) {
	r := resource.Request{
		Priority: rapid.IntRange(-1, 3).Draw(t, "priority"),
		Cost:     rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 7, -1}).Draw(t, "cost"),
		Class:    rapid.SampledFrom(classes).Draw(t, "class"),
		NoWait:   rapid.Bool().Draw(t, "noWait"),
	}
	want, undo := h.n.ask(r)
	got, done := admits, resource.Done(nil)
	func() {
		defer func() {
			if recover() != nil {
				got = panics
			}
		}()
		var err error
		if done, err = h.n.policy().Admit(context.Background(), r); err != nil {
			got = refuses
			var refusal *resource.Rejection
			if done != nil || !errors.Is(err, errProbe) && !errors.As(err, &refusal) {
				t.Fatalf("%+v is refused with %v and a Done: %v", r, err, done != nil)
			}
		}
	}()
	if got != want {
		t.Fatalf("%+v: the policy %v, the model %v", r, got, want)
	}
	switch got {
	case admits:
		h.admitted++
		h.held = append(h.held, permit{done, undo})
	case refuses:
		h.refused++
	case panics:
		h.broke++
	}
}

func (h *history) end(t *rapid.T) {
	if len(h.held) == 0 {
		t.Skip("nothing is held")
	}
	h.give(rapid.IntRange(0, len(h.held)-1).Draw(t, "which"), rapid.SampledFrom([]resource.Outcome{
		{}, {Verdict: resource.OK}, {Verdict: resource.Failed, Err: errProbe},
	}).Draw(t, "outcome"))
}

func (h *history) give(i int, o resource.Outcome) {
	p := h.held[i]
	h.held = append(h.held[:i:i], h.held[i+1:]...)
	if p.done != nil {
		p.done(o)
	}
	p.undo()
}

// resize changes one of the limits.
func (h *history) resize(t *rapid.T) {
	all := limits(h.n, nil)
	if len(all) == 0 {
		t.Skip("no Limit")
	}
	n := rapid.SampledFrom(all).Draw(t, "limit")
	n.max = rapid.IntRange(1, 8).Draw(t, "to")
	n.p.Resize(n.max)
}

// limits are the Limits of a nesting.
func limits(n node, all []*limit) []*limit {
	switch n := n.(type) {
	case *limit:
		return append(all, n)
	case *reserve:
		return append(all, n.of)
	case *chain:
		for _, k := range n.kids {
			all = limits(k, all)
		}
	case *fork:
		all = limits(n.kids[1], limits(n.kids[0], all))
	}
	return all
}

// TestModelCatches checks that the comparison detects a wrong count.
func TestModel_SeesALeak(t *testing.T) {
	n := &limit{p: policy.Limit(3), max: 3}
	if _, err := n.p.Admit(context.Background(), resource.Request{}); err != nil {
		t.Fatal(err)
	}
	if n.check() == nil {
		t.Error("the model does not detect a permit that it did not grant")
	}
	if v, _ := n.ask(resource.Request{Cost: 4}); v != refuses {
		t.Errorf("a Limit of 3 %v a cost of 4", v)
	}
}
