package resource

import (
	"errors"
	"fmt"
	"time"
)

// DefaultForgetAfter is what zero means in [KeyedConfig.ForgetAfter].
const DefaultForgetAfter = time.Minute

// MinForgetAfter is the least [KeyedConfig.ForgetAfter]: all keys are visited as
// often.
const MinForgetAfter = time.Millisecond

// KeyedConfig says what the pools of a [Keyed] are like. [NewKeyed] copies it.
type KeyedConfig[K comparable, T any] struct {
	// Config returns the Config of the pool for key; its MaxSize is the most
	// that this key may have. Required. It is called when the key is first
	// used, and again when it is used after it was forgotten, by the caller
	// who uses it, and must not block: others who use the key meanwhile wait
	// for it, whatever their contexts say. Nor may it use that key of the
	// Keyed itself, which would wait for ever. With an error, or a bad Config,
	// those callers fail, and the key is as if it had not been used.
	//
	// Policies may be shared between the Configs, so that they hold for all
	// keys together, but a [Queue] may not: return a new one each time.
	Config func(key K) (Config[T], error)

	// MaxTotal is how many resources of all keys may exist at once, those
	// being made (or waiting for their MakeGate) and being destroyed
	// included. Required, from 1 to 2³¹-1;
	// [Keyed.Resize] changes it.
	MaxTotal int

	// ForgetAfter is how long a key must have been without resources and
	// without use to be forgotten, at least MinForgetAfter. Zero:
	// DefaultForgetAfter.
	ForgetAfter time.Duration
}

// check names every bad field.
func (c *KeyedConfig[K, T]) check() error {
	var bad []error
	if c.Config == nil {
		bad = append(bad, errors.New("Config is nil"))
	}
	if err := checkSize(c.MaxTotal); err != nil {
		bad = append(bad, fmt.Errorf("MaxTotal %w", err))
	}
	if c.ForgetAfter != 0 && c.ForgetAfter < MinForgetAfter {
		bad = append(bad, fmt.Errorf("ForgetAfter is %v, not 0 or at least %v", c.ForgetAfter, MinForgetAfter))
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("resource: bad KeyedConfig: %w", errors.Join(bad...))
}
