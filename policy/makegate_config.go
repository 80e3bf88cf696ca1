package policy

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// What zero means in a [MakeGateConfig].
const (
	DefaultInitialBackoff = 100 * time.Millisecond
	DefaultMaxBackoff     = 5 * time.Second
	DefaultMultiplier     = 2.0
	DefaultJitter         = 0.5
)

// MakeGateConfig says how a [MakeGate] works. Only Concurrent is required.
type MakeGateConfig struct {
	// Concurrent is how many makes may run at once. At least 1.
	Concurrent int
	// InitialBackoff is how long no make is let through after the first
	// failure, before jitter. Zero: DefaultInitialBackoff, or MaxBackoff if
	// that is less.
	InitialBackoff time.Duration
	// MaxBackoff is the longest the backoff grows to, before jitter; at most 10
	// years. Zero: DefaultMaxBackoff, or InitialBackoff if that is more.
	MaxBackoff time.Duration
	// Multiplier is how much longer each backoff is than the one before. At
	// least 1. Zero: DefaultMultiplier.
	Multiplier float64
	// Jitter spreads each backoff evenly from 1-Jitter to 1+Jitter times its
	// length, so that many processes do not try in step. From 0 to 1. Zero:
	// DefaultJitter; for none, which is seldom wise, give a tiny one.
	Jitter float64
}

// longestBackoff keeps the sums far from the end of a Duration.
const longestBackoff = 10 * 365 * 24 * time.Hour

// check names every bad field.
func (c *MakeGateConfig) check() error {
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	no(c.Concurrent >= 1, "Concurrent is %d, not at least 1", c.Concurrent)
	no(c.InitialBackoff >= 0, "InitialBackoff is %v, not at least 0", c.InitialBackoff)
	no(c.MaxBackoff >= 0, "MaxBackoff is %v, not at least 0", c.MaxBackoff)
	no(c.MaxBackoff <= longestBackoff, "MaxBackoff is %v, more than %v", c.MaxBackoff, longestBackoff)
	no(c.InitialBackoff <= longestBackoff, "InitialBackoff is %v, more than %v", c.InitialBackoff, longestBackoff)
	no(c.MaxBackoff <= 0 || c.InitialBackoff <= c.MaxBackoff, "InitialBackoff is %v, over MaxBackoff %v", c.InitialBackoff, c.MaxBackoff)
	no(c.Multiplier == 0 || c.Multiplier >= 1 && !math.IsInf(c.Multiplier, 1), "Multiplier is %v, not a number from 1 on", c.Multiplier)
	no(c.Jitter >= 0 && c.Jitter <= 1, "Jitter is %v, not from 0 to 1", c.Jitter)
	if bad == nil {
		return nil
	}
	return fmt.Errorf("policy: bad MakeGateConfig: %w", errors.Join(bad...))
}

// withDefaults returns a copy in which zero values are replaced.
func (c MakeGateConfig) withDefaults() MakeGateConfig {
	switch {
	case c.InitialBackoff == 0 && c.MaxBackoff == 0:
		c.InitialBackoff, c.MaxBackoff = DefaultInitialBackoff, DefaultMaxBackoff
	case c.InitialBackoff == 0:
		c.InitialBackoff = min(DefaultInitialBackoff, c.MaxBackoff)
	case c.MaxBackoff == 0:
		c.MaxBackoff = max(DefaultMaxBackoff, c.InitialBackoff)
	}
	if c.Multiplier == 0 {
		c.Multiplier = DefaultMultiplier
	}
	if c.Jitter == 0 {
		c.Jitter = DefaultJitter
	}
	return c
}
