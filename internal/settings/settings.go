// Package settings renders the fields of a configuration for display. It shows numbers,
// durations, names of functions and names of types. Texts and the contents of everything
// else may be secret, and are not shown.
package settings

import (
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Field is a field of a configuration.
type Field struct {
	Name    string // with the names of the structs around it: "Heartbeat.Every"
	Value   string // "not set" for a function, a policy or a text that is not there
	Default bool   // the field has the value that the zero configuration gives it
}

// Of returns the exported fields of a configuration, without those whose name is in skip.
// The three arguments are structs of one type: given is what the user has passed, filled
// the same with the defaults in place of zero values, and zero is the zero configuration
// with its defaults. Functions, pointers, interfaces and slices are those of given, since
// a nil one tells more than the default in its place.
func Of(given, filled, zero any, skip ...string) []Field {
	return fields(nil, "", reflect.ValueOf(given), reflect.ValueOf(filled), reflect.ValueOf(zero), skip)
}

func fields(all []Field, prefix string, given, filled, zero reflect.Value, skip []string) []Field {
	for i := range given.NumField() {
		f := given.Type().Field(i)
		name := prefix + f.Name
		if !f.IsExported() || contains(skip, name) {
			continue
		}
		switch f.Type.Kind() {
		case reflect.Struct:
			all = fields(all, name+".", given.Field(i), filled.Field(i), zero.Field(i), skip)
		case reflect.Bool, reflect.Float32, reflect.Float64,
			reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			v := plain(filled.Field(i))
			all = append(all, Field{name, v, v == plain(zero.Field(i))})
		default:
			v := opaque(given.Field(i))
			all = append(all, Field{name, v, v == notSet})
		}
	}
	return all
}

func contains(all []string, s string) bool {
	for _, one := range all {
		if one == s {
			return true
		}
	}
	return false
}

const notSet = "not set"

// plain renders what cannot be a secret.
func plain(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return Duration(x)
	case fmt.Stringer: // of the package of the configuration: a field has no type of the user
		return x.String()
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return "yes"
		}
		return "no"
	case reflect.Float32, reflect.Float64:
		if v.Float() < 0 {
			return off
		}
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	}
	if v.Int() < 0 {
		return off
	}
	return strconv.FormatInt(v.Int(), 10)
}

// off stands for a negative value, which switches off what the field configures.
const off = "off"

// Duration writes d without zero units, as "1m" or "1h30m", and "off" if it is negative.
func Duration(d time.Duration) string {
	if d < 0 {
		return off
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// opaque says what v is, and nothing that is in it.
func opaque(v reflect.Value) string {
	if v.IsZero() {
		return notSet
	}
	switch v.Kind() {
	case reflect.Func:
		return function(v)
	case reflect.Interface:
		v = v.Elem()
		if v.Kind() == reflect.Func && !v.IsNil() { // a type such as policy.AdmissionFunc
			return v.Type().String() + " " + function(v)
		}
		return v.Type().String()
	case reflect.Slice:
		return count(v.Len(), "entry", "entries")
	case reflect.Pointer:
		if n, only := functions(v.Elem()); only {
			if n == 0 {
				return notSet
			}
			return count(n, "function", "functions")
		}
	}
	return "set"
}

// functions returns how many fields of a struct are set, and whether all are functions.
func functions(v reflect.Value) (n int, only bool) {
	if v.Kind() != reflect.Struct {
		return 0, false
	}
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Func {
			return 0, false
		}
		if !f.IsNil() {
			n++
		}
	}
	return n, true
}

// Function returns the name of a function that is not nil, with its package.
func Function(f any) string { return function(reflect.ValueOf(f)) }

func function(v reflect.Value) string {
	f := runtime.FuncForPC(v.Pointer())
	if f == nil {
		return "set"
	}
	return strings.TrimSuffix(f.Name(), "-fm")
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
