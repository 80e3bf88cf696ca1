package resource

import (
	"errors"
	"fmt"
	"math"
	"reflect"
)

// ErrBadKey means that a key of a [Keyed] cannot be looked up: it holds, in an interface, a
// value that cannot be hashed, such as a slice, or it is not equal to itself, as
// NaN is. The error names the type, and never the key, which may be a secret.
var ErrBadKey = errors.New("resource: key cannot be looked up")

// checksKeys reports whether some keys of type t cannot be looked up.
func checksKeys(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return checksKeys(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if checksKeys(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// checkKey is why key cannot be looked up, nil if it can.
func (k *Keyed[K, T]) checkKey(key K) error {
	if !k.checked {
		return nil
	}
	return reflectKey(key)
}

// reflectKey is not inlined: the key escapes, and would do so for all callers.
//
//go:noinline
func reflectKey[K any](key K) error { return checkKey(reflect.ValueOf(&key).Elem()) }

func checkKey(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return checkKey(v.Elem())
	case reflect.Float32, reflect.Float64:
		if math.IsNaN(v.Float()) {
			return fmt.Errorf("%w: a %v that is NaN", ErrBadKey, v.Type())
		}
	case reflect.Complex64, reflect.Complex128:
		if c := v.Complex(); math.IsNaN(real(c)) || math.IsNaN(imag(c)) {
			return fmt.Errorf("%w: a %v that is NaN", ErrBadKey, v.Type())
		}
	case reflect.Array:
		for i := range v.Len() {
			if err := checkKey(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := checkKey(v.Field(i)); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Map, reflect.Func:
		return fmt.Errorf("%w: it holds a %v, which cannot be hashed", ErrBadKey, v.Type())
	}
	return nil
}
