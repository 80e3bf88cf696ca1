package wspool

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/respool/respool/internal/redact"
)

// String shows what is set without secrets: of the URL its scheme and host, of
// Subprotocols how many there are, numbers and durations as they are, and of
// anything else its type. So do all verbs of fmt, slog and JSON. A Config in an
// unexported field of another struct is beyond its reach: fmt prints the fields
// of that as they are.
func (c Config) String() string { return shownConfig(c).String() }

// Format writes String for every verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is a group of what String shows.
func (c Config) LogValue() slog.Value { return shownConfig(c).LogValue() }

// MarshalJSON is an object of what String shows. A Config cannot be read back.
func (c Config) MarshalJSON() ([]byte, error) { return shownConfig(c).MarshalJSON() }

// String shows h without secrets: the scheme and host of the URL, the names of
// headers, and how many subprotocols there are. So do all verbs of fmt, slog and
// JSON.
func (h Handshake) String() string { return shownHandshake(h).String() }

// Format writes String for every verb.
func (h Handshake) Format(f fmt.State, _ rune) { io.WriteString(f, h.String()) }

// LogValue is a group of what String shows.
func (h Handshake) LogValue() slog.Value { return shownHandshake(h).LogValue() }

// MarshalJSON is an object of what String shows.
func (h Handshake) MarshalJSON() ([]byte, error) { return shownHandshake(h).MarshalJSON() }

// Format writes the kind of pool, and what String of its Config shows, for every
// verb: fmt would follow pointers, without a lock, and print all that is behind
// them.
func (p *Pool) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.Pool{%v}", p.hub.cfg) }

// Format writes the kind of manager for every verb, as [Pool.Format] does.
func (m *Manager[K]) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.Manager[%T]", *new(K)) }

// Format writes the key for every verb.
func (v KeyView[K]) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.KeyView{%v}", v.key) }

// Format writes the kind of lease for every verb, as [Pool.Format] does.
func (c *Conn) Format(f fmt.State, _ rune) { io.WriteString(f, "wspool.Conn") }

// shown is a struct as it may be printed.
type shown struct {
	name   string
	fields []slog.Attr // strings, numbers, durations and bools
}

func (s shown) String() string {
	b := []byte(s.name + "{")
	for i, a := range s.fields {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "%s: %v", a.Key, a.Value)
	}
	return string(append(b, '}'))
}

func (s shown) LogValue() slog.Value { return slog.GroupValue(s.fields...) }

func (s shown) MarshalJSON() ([]byte, error) {
	b := []byte("{")
	for i, a := range s.fields {
		if i > 0 {
			b = append(b, ',')
		}
		key, _ := json.Marshal(a.Key) // strings and numbers: it cannot fail
		value, err := json.Marshal(a.Value.Any())
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}

// shownConfig is what may be shown of c. A field that is added later shows nothing
// but its type, unless it is a number.
func shownConfig(c Config) shown {
	s := shown{name: "wspool.Config"}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		switch {
		case name == "URL":
			if c.URL != "" {
				s.fields = append(s.fields, slog.String(name, shownTarget(c.URL)))
			}
		case name == "Subprotocols":
			if len(c.Subprotocols) > 0 {
				s.fields = append(s.fields, slog.Int(name, len(c.Subprotocols)))
			}
		case f.IsZero():
		default:
			s.fields = append(s.fields, shownField(name, f))
		}
	}
	return s
}

func shownField(name string, f reflect.Value) slog.Attr {
	if d, ok := f.Interface().(time.Duration); ok {
		return slog.Duration(name, d)
	}
	switch f.Kind() {
	case reflect.Bool:
		return slog.Bool(name, f.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return slog.Int64(name, f.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return slog.Uint64(name, f.Uint())
	case reflect.Float32, reflect.Float64:
		return slog.Float64(name, f.Float())
	case reflect.Func:
		return slog.String(name, "func")
	case reflect.Interface:
		return slog.String(name, f.Elem().Type().String())
	}
	return slog.String(name, f.Type().String())
}

func shownHandshake(h Handshake) shown {
	return shown{"wspool.Handshake", []slog.Attr{
		slog.String("URL", shownTarget(h.URL)), slog.String("Header", shownNames(h.Header)), slog.Int("Subprotocols", len(h.Subprotocols)),
	}}
}

// shownNames is the names of the headers in h.
func shownNames(h http.Header) string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, redact.Clean(name, shownName))
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

// shownTarget is a URL without all that may be secret.
func shownTarget(s string) string {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return ""
	case err != nil || u.Host == "":
		return redact.Dots
	case u.Path == "" && u.RawQuery == "" && u.User == nil:
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + "://" + u.Host + "/" + redact.Dots
}
