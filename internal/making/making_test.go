package making_test

import (
	"context"
	"errors"
	"testing"

	"github.com/respool/respool/internal/making"
)

type name struct{}

func TestContext(t *testing.T) {
	life, end := context.WithCancelCause(context.WithValue(t.Context(), name{}, "life"))
	creation, stop := context.WithCancelCause(context.Background())
	defer end(nil)
	defer stop(nil)
	ctx := making.With(life, creation)
	derived, cancel := context.WithCancel(context.WithValue(ctx, name{}, "derived"))
	defer cancel()
	for _, c := range []context.Context{ctx, derived} {
		if making.Context(c) != creation {
			t.Errorf("%v: the creation's context is not found", c)
		}
	}
	if making.Context(life) != life || ctx.Value(name{}) != "life" {
		t.Error("a context of no creation is not returned as it is, or lost its values")
	}
	cause := errors.New("the end")
	stop(cause)
	if ctx.Err() != nil || context.Cause(making.Context(derived)) != cause {
		t.Error("the creation's context has not ended alone")
	}
	end(nil)
	if ctx.Err() == nil {
		t.Error("the resource's life goes on")
	}
}
