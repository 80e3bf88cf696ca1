package endpoint

import (
	"context"
	"fmt"
	"slices"
)

// Static returns a Resolver of endpoints that do not change. If there are none, or they are
// invalid, Watch returns an error at once that wraps [ErrConfig] and names every fault, as
// [Check] does.
func Static(endpoints ...Endpoint) Resolver { return static(slices.Clone(endpoints)) }

type static []Endpoint

// Watch implements [Resolver].
func (s static) Watch(ctx context.Context, f func(Update)) error {
	if err := s.check(); err != nil {
		return err
	}
	if ctx.Err() == nil {
		f(Update{Endpoints: slices.Clone(s), Complete: true})
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// check implements checker.
func (s static) check() error {
	if len(s) == 0 {
		return fmt.Errorf("%w: Static has no endpoints", ErrConfig)
	}
	if err := Validate(s); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}
