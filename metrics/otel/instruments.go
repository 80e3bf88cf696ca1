package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
)

// kind is the kind of an instrument.
type kind uint8

const (
	level   kind = iota // an UpDownCounter: the sum over pools has a meaning
	gauge               // the sum over pools has none
	counter             // only grows
)

// figure is one instrument. It has either value, or by and values.
type figure struct {
	name, unit, help string // unit "": that of Config.noun
	kind             kind
	value            func(s *metrics.Snapshot) int64
	by               string
	values           func(s *metrics.Snapshot, t label.Tally)
}

var figures = []figure{
	{
		name: "count", help: "Resources by state.", kind: level,
		by: "state", values: func(s *metrics.Snapshot, t label.Tally) {
			t.Add("idle", int64(s.Idle))
			t.Add("used", int64(s.Leased))
			t.Add("making", int64(s.Making))
			t.Add("destroying", int64(s.Destroying))
		},
	},
	{
		name: "max", help: "Maximum number of resources.", kind: level,
		value: func(s *metrics.Snapshot) int64 { return int64(s.Max) },
	},
	{
		name: "idle.min", help: "Number of resources kept idle.", kind: level,
		value: func(s *metrics.Snapshot) int64 { return int64(s.MinIdle) },
	},
	{
		name: "pending_requests", unit: "{request}", help: "Callers waiting for a resource.", kind: level,
		value: func(s *metrics.Snapshot) int64 { return int64(s.Load.Waiting) },
	},
	{
		name: "timeouts", unit: "{timeout}", help: "Acquires that ended with their context or MaxWait.", kind: counter,
		value: func(s *metrics.Snapshot) int64 { return s.Failures.Canceled + s.Failures.MaxWait },
	},
	{
		name: "acquires", unit: "{acquire}", help: "Acquires that got a resource.", kind: counter,
		value: func(s *metrics.Snapshot) int64 { return s.Acquired },
	},
	{
		name: "acquire_failures", unit: "{acquire}", help: "Acquires that failed, by reason.", kind: counter,
		by: "reason", values: func(s *metrics.Snapshot, t label.Tally) {
			for reason, n := range s.Failures.All() {
				t.Add(reason.String(), n)
			}
		},
	},
	{
		name: "waits", unit: "{acquire}", help: "Acquires that waited, with or without success.", kind: counter,
		value: func(s *metrics.Snapshot) int64 { return s.Waited },
	},
	{
		name: "rejections", unit: "{rejection}", help: "Callers and creations refused, by policy.", kind: counter,
		by: "policy", values: func(s *metrics.Snapshot, t label.Tally) { t.AddAll(s.Refused) },
	},
	{
		name: "creates", help: "Creations that succeeded.", kind: counter,
		value: func(s *metrics.Snapshot) int64 { return s.Made },
	},
	{
		name: "create_failures", unit: "{failure}", help: "Creations that failed.", kind: counter,
		value: func(s *metrics.Snapshot) int64 { return s.Failed },
	},
	{
		name: "destroyed", help: "Resources destroyed, by cause.", kind: counter,
		by: "reason", values: func(s *metrics.Snapshot, t label.Tally) { t.AddAll(s.Destroyed) },
	},
	{
		name: "outage", unit: "1", help: "1 while resource creation is failing, else 0.", kind: gauge,
		value: func(s *metrics.Snapshot) int64 {
			if s.Outage {
				return 1
			}
			return 0
		},
	},
	{
		name: "outages", unit: "{outage}", help: "Outages that have begun.", kind: counter,
		value: func(s *metrics.Snapshot) int64 { return s.Outages },
	},
	{
		name: "leases_overdue", unit: "{lease}", help: "Leases held for longer than the limit of the meter.", kind: level,
		value: func(s *metrics.Snapshot) int64 { return int64(s.Overdue) },
	},
	{
		name: "panics", unit: "{panic}", help: "Panics contained in functions that the pool called.", kind: counter,
		value: func(s *metrics.Snapshot) int64 { return s.Panics },
	},
	{
		name: "fact.level", unit: "1", help: "Figures specific to the kind of pool that go up and down.", kind: gauge,
		by: "fact", values: func(s *metrics.Snapshot, t label.Tally) { facts(s, t, true) },
	},
	{
		name: "fact.total", unit: "1", help: "Figures specific to the kind of pool that count.", kind: counter,
		by: "fact", values: func(s *metrics.Snapshot, t label.Tally) { facts(s, t, false) },
	},
}

func facts(s *metrics.Snapshot, t label.Tally, level bool) {
	for _, f := range s.Facts {
		if f.Level == level {
			t.Add(f.Name, f.Value)
		}
	}
}

// Register creates the instruments and observes them at each collection, until the
// Unregister method of the result is called. A nil provider means the global one. It
// copies cfg. The error names every bad field, or is that of the provider.
//
// Two registrations with one provider need different prefixes, or attributes by which
// their points differ.
func Register(provider metric.MeterProvider, cfg Config) (metric.Registration, error) {
	cfg, err := cfg.ready()
	if err != nil {
		return nil, err
	}
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m := provider.Meter(Scope)
	instruments := make([]metric.Int64Observable, len(figures))
	all := make([]metric.Observable, len(figures), len(figures)+1)
	var bad []error
	for i, f := range figures {
		if instruments[i], err = instrument(m, &cfg, &f); err != nil {
			bad = append(bad, err)
		}
		all[i] = instruments[i]
	}
	oldest, err := m.Float64ObservableGauge(cfg.Prefix+".oldest_wait", metric.WithUnit("s"),
		metric.WithDescription("How long the first of the waiting callers has waited."))
	if err := errors.Join(append(bad, err)...); err != nil {
		return nil, err
	}
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		cfg.each(func(s *metrics.Snapshot, common []attribute.KeyValue) {
			o.ObserveFloat64(oldest, s.OldestWait.Seconds(), metric.WithAttributes(common...))
			for i, f := range figures {
				f.observe(o, instruments[i], s, cfg.Prefix, common)
			}
		})
		return nil
	}, append(all, oldest)...)
}

// instrument creates the instrument of f.
func instrument(m metric.Meter, cfg *Config, f *figure) (metric.Int64Observable, error) {
	name, unit, help := cfg.Prefix+"."+f.name, metric.WithUnit(f.unit), metric.WithDescription(f.help)
	if f.unit == "" {
		unit = metric.WithUnit(cfg.noun())
	}
	switch f.kind {
	case counter:
		return m.Int64ObservableCounter(name, unit, help)
	case level:
		return m.Int64ObservableUpDownCounter(name, unit, help)
	default:
		return m.Int64ObservableGauge(name, unit, help)
	}
}

func (f *figure) observe(o metric.Observer, to metric.Int64Observable, s *metrics.Snapshot, prefix string, common []attribute.KeyValue) {
	if f.value != nil {
		o.ObserveInt64(to, f.value(s), metric.WithAttributes(common...))
		return
	}
	values := make(label.Tally)
	f.values(s, values)
	for l, n := range values {
		o.ObserveInt64(to, n, metric.WithAttributes(common...), metric.WithAttributes(attribute.String(prefix+"."+f.by, l)))
	}
}
