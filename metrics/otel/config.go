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
	// DefaultPrefix begins the names of instruments if [Config] has no Prefix.
	DefaultPrefix = "resource.pool"

	// Scope is the name of the instrumentation scope.
	Scope = "github.com/respool/respool/metrics/otel"
)

// Meter is a source of figures, such as a *metrics.Meter. Each collection calls
// Snapshot with a limit of 0.
type Meter interface {
	Snapshot(limit int) metrics.Snapshot
}

// Config selects the pools that are exported, and the names. The zero Config exports
// all pools under [DefaultPrefix].
type Config struct {
	// Meters are exported. Nil means metrics.All at the time of the collection;
	// empty means none. The second of two equal names gets the suffix "#2".
	Meters []Meter
	// Prefix begins every name and is followed by a dot; "" means [DefaultPrefix].
	// With "db.client.connection" the names that the conventions define are theirs;
	// "ws.client.connection" suits WebSockets.
	Prefix string
	// Attributes are added to every data point.
	Attributes []attribute.KeyValue
}

var prefixForm = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,127}$`)

// ready returns a copy with the defaults filled in. The error names every bad field.
func (cfg Config) ready() (Config, error) {
	var bad []error
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if !prefixForm.MatchString(cfg.Prefix) || strings.HasSuffix(cfg.Prefix, ".") {
		bad = append(bad, fmt.Errorf("otel: Config.Prefix %q cannot begin the name of an instrument", cfg.Prefix))
	}
	for i, m := range cfg.Meters {
		if m == nil || m == Meter((*metrics.Meter)(nil)) { // metrics.New returns it with an error
			bad = append(bad, fmt.Errorf("otel: Config.Meters[%d] is nil", i))
		}
	}
	for i, kv := range cfg.Attributes {
		switch {
		case !kv.Valid():
			bad = append(bad, fmt.Errorf("otel: Config.Attributes[%d] has no key or no value", i))
		case !isUTF8(kv): // protocol buffers would refuse the whole export
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

// poolKey returns the attribute for the name of a pool.
func poolKey(prefix string) attribute.Key {
	if strings.HasSuffix(prefix, ".pool") {
		return attribute.Key(prefix + ".name")
	}
	return attribute.Key(prefix + ".pool.name")
}

// noun returns the unit of what the pool holds.
func (cfg *Config) noun() string {
	if strings.HasSuffix(cfg.Prefix, "connection") {
		return "{connection}"
	}
	return "{resource}"
}

// each calls f with a snapshot of each pool, its unique name and the common attributes of its points.
func (cfg *Config) each(f func(s *metrics.Snapshot, pool string, common []attribute.KeyValue)) {
	meters := cfg.Meters
	if meters == nil {
		for _, m := range metrics.All() {
			meters = append(meters, m)
		}
	}
	var names label.Names
	for _, m := range meters {
		s := m.Snapshot(0)
		pool := names.Unique(s.Name)
		f(&s, pool, append(slices.Clone(cfg.Attributes), poolKey(cfg.Prefix).String(pool)))
	}
}
