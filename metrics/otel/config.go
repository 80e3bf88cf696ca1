package otel

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
)

const (
	// DefaultPrefix is what names begin with unless [Config] says otherwise.
	DefaultPrefix = "resource.pool"

	// Scope is the name of the instrumentation scope.
	Scope = "github.com/respool/respool/metrics/otel"
)

// Meter is what is read: Snapshot is called at each collection, with a limit of
// 0, as no single resource is shown. A *metrics.Meter is one.
type Meter interface {
	Snapshot(limit int) metrics.Snapshot
}

// Config says which pools are shown, and under which names. The zero Config
// shows all, as resource.pool.
type Config struct {
	// Meters are those whose pools are shown; nil: those that watch a pool at
	// the time of the collection, see metrics.All; empty: none. Two of one name
	// are told apart by "#2" behind the second.
	Meters []Meter
	// Prefix begins every name, without the dot that follows; "" is
	// "resource.pool". With "db.client.connection" the names are those of the
	// conventions, as far as they go; "ws.client.connection" would suit
	// WebSockets.
	Prefix string
	// Attributes are put on every data point.
	Attributes []attribute.KeyValue
}

var prefixForm = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,127}$`)

// ready fills in what is left out, copies, and checks; the error names every bad
// field.
func (cfg Config) ready() (Config, error) {
	var bad []error
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if !prefixForm.MatchString(cfg.Prefix) || strings.HasSuffix(cfg.Prefix, ".") {
		bad = append(bad, fmt.Errorf("otel: Config.Prefix is %q, which cannot begin a name", cfg.Prefix))
	}
	for i, m := range cfg.Meters {
		if m == nil || m == Meter((*metrics.Meter)(nil)) { // what New returns with an error
			bad = append(bad, fmt.Errorf("otel: Config.Meters[%d] is nil", i))
		}
	}
	for i, kv := range cfg.Attributes {
		switch {
		case !kv.Valid():
			bad = append(bad, fmt.Errorf("otel: Config.Attributes[%d] has no key or no value", i))
		case !isUTF8(kv): // protocol buffers refuse it, and with it a whole export
			bad = append(bad, fmt.Errorf("otel: Config.Attributes[%d] is not UTF-8", i))
		}
	}
	cfg.Meters = slices.Clone(cfg.Meters)
	cfg.Attributes = slices.Clone(cfg.Attributes)
	return cfg, errors.Join(bad...)
}

func isUTF8(kv attribute.KeyValue) bool {
	texts := []string{string(kv.Key)}
	switch kv.Value.Type() {
	case attribute.STRING:
		texts = append(texts, kv.Value.AsString())
	case attribute.STRINGSLICE:
		texts = append(texts, kv.Value.AsStringSlice()...)
	}
	return !slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) })
}

// poolKey is the attribute that names a pool.
func poolKey(prefix string) attribute.Key {
	if strings.HasSuffix(prefix, ".pool") {
		return attribute.Key(prefix + ".name")
	}
	return attribute.Key(prefix + ".pool.name")
}

// noun is what a pool has, as units put it.
func (cfg *Config) noun() string {
	if strings.HasSuffix(cfg.Prefix, "connection") {
		return "{connection}"
	}
	return "{resource}"
}

// each calls f with a snapshot of each pool, and the attributes of its points
// that all have.
func (cfg *Config) each(f func(s *metrics.Snapshot, common []attribute.KeyValue)) {
	meters := cfg.Meters
	if meters == nil {
		for _, m := range metrics.All() {
			meters = append(meters, m)
		}
	}
	var names label.Names
	for _, m := range meters {
		s := m.Snapshot(0)
		f(&s, append(slices.Clone(cfg.Attributes), poolKey(cfg.Prefix).String(names.Unique(s.Name))))
	}
}
