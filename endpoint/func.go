package endpoint

import (
	"context"
	"errors"
)

// FuncConfig is a source of endpoints that the program has itself: a registry, a file, an
// API. Lookup is required.
type FuncConfig struct {
	// Lookup returns the endpoints there are, best first. With an error beside endpoints, these
	// are used but may not be all: no other is removed ([ErrIncomplete] says only that, and does
	// not count as a failure). An answer that is empty or invalid changes nothing. Lookup is
	// called by one goroutine at a time for each Watch, apart from calls that hang
	// ([Polling.Timeout]); it should return when its context ends. A panic in it is a failed
	// lookup.
	Lookup func(ctx context.Context) ([]Endpoint, error)
	// Name is how errors call the source, so not a secret. Empty: "Func".
	Name string
	// Polling says how often, and when an answer is complete.
	Polling Polling
}

// Func returns a [Resolver], which is also a [Refresher], that calls a function of the program.
// The error wraps [ErrConfig] and names every invalid field.
func Func(cfg FuncConfig) (Resolver, error) {
	var e faultList
	e.require(cfg.Lookup != nil, "Lookup is required")
	cfg.Polling.check(&e)
	if err := e.wrap(); err != nil {
		return nil, err
	}
	if cfg.Name == "" {
		cfg.Name = "Func"
	}
	most := cfg.Polling.MaxAnswers
	return newPoller(cfg.Name, cfg.Polling, func(ctx context.Context) answer {
		all, err := cfg.Lookup(ctx)
		a := answer{endpoints: all, capped: most > 0 && len(all) >= most, err: err}
		if len(all) > 0 && errors.Is(err, ErrIncomplete) {
			a.capped, a.err = true, nil
		}
		return a
	}), nil
}
