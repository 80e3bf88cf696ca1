package prometheus

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/spread"
	"github.com/respool/respool/resource"
)

// Meter is the source of a [Collector], such as a *metrics.Meter. Each scrape calls
// Snapshot with a limit of 0.
type Meter interface {
	Snapshot(limit int) metrics.Snapshot
}

// Config configures a [Collector].
type Config struct {
	// Meters are exported. Nil means metrics.All at the time of the scrape; empty
	// means none. The second of two equal names gets the suffix "#2".
	Meters []Meter
	// Prefix begins every name and is followed by an underscore; "" means
	// [DefaultPrefix].
	Prefix string
	// ConstLabels are added to every metric. Two collectors in one registry need
	// different prefixes or different values of ConstLabels.
	ConstLabels prometheus.Labels
	// Buckets are the upper bounds of the classic buckets in seconds, ascending,
	// without +Inf. Nil means 16 bounds from 100 µs to 60 s; empty means native
	// buckets only, which Prometheus scrapes if it is configured to.
	Buckets []float64
}

// DefaultPrefix begins the names of the metrics if [Config] has no Prefix.
const DefaultPrefix = "resource_pool"

// defaultBuckets reach from a wait within one machine to the longest waits that
// callers accept.
var defaultBuckets = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60,
}

// Collector is a prometheus.Collector of pools. Between scrapes it keeps only which endpoints have
// labels of their own, and what the others have counted. It is safe for concurrent use.
type Collector struct {
	meters  []Meter
	spread  spread.Labels
	buckets []float64
	descs   []*prometheus.Desc // of families, then of histograms
}

// Of returns a collector of these meters with the default names. Without meters it
// exports metrics.All at the time of the scrape. It panics if a meter is nil.
func Of(meters ...Meter) *Collector {
	if len(meters) == 0 {
		meters = nil // an empty slice would export none
	}
	c, err := NewCollector(Config{Meters: meters})
	if err != nil {
		panic(err)
	}
	return c
}

// NewCollector returns a collector to be registered once. It copies cfg. The error
// names every bad field.
func NewCollector(cfg Config) (*Collector, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.Buckets == nil {
		cfg.Buckets = defaultBuckets
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Collector{meters: slices.Clone(cfg.Meters), buckets: slices.Clone(cfg.Buckets)}
	desc := func(name, help, label string) {
		labels := []string{"pool"}
		if label != "" {
			labels = append(labels, label)
		}
		c.descs = append(c.descs, prometheus.NewDesc(cfg.Prefix+"_"+name, help, labels, cfg.ConstLabels))
	}
	for _, f := range families {
		desc(f.name, f.help, f.label)
	}
	for _, h := range histograms {
		desc(h.name, h.help, h.label)
	}
	return c, nil
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

func (cfg *Config) check() error {
	var bad []error
	complain := func(format string, args ...any) {
		bad = append(bad, fmt.Errorf("prometheus: Config."+format, args...))
	}
	for i, m := range cfg.Meters {
		if m == nil || m == Meter((*metrics.Meter)(nil)) { // metrics.New returns it with an error
			complain("Meters[%d] is nil", i)
		}
	}
	if !metricName.MatchString(cfg.Prefix) {
		complain("Prefix %q cannot begin the name of a metric", cfg.Prefix)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.ConstLabels)) {
		own := slices.ContainsFunc(families, func(f family) bool { return f.label == name })
		switch {
		case !labelName.MatchString(name) || len(name) > 1 && name[:2] == "__":
			complain("ConstLabels: %q is not a valid label name", name)
		case name == "pool" || name == "le" || own:
			complain("ConstLabels: the metrics have a label %q of their own", name)
		case !utf8.ValidString(cfg.ConstLabels[name]):
			complain("ConstLabels[%q] is not UTF-8", name)
		}
	}
	for i, b := range cfg.Buckets {
		if !(b > 0) || b > 1e10 || i > 0 && b <= cfg.Buckets[i-1] {
			complain("Buckets[%d] is %v; bounds must be positive, finite and ascending", i, b)
		}
	}
	return errors.Join(bad...)
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It takes a snapshot of every meter, which
// does not block a pool.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	var names label.Names
	var pools []string
	for _, m := range c.shown() {
		s := m.Snapshot(0)
		pool := names.Unique(s.Name)
		pools = append(pools, pool)
		c.collect(ch, pool, &scrape{s, c.spread.Of(pool, s.Endpoints)})
	}
	c.spread.Keep(pools)
}

// shown returns the meters of this scrape.
func (c *Collector) shown() []Meter {
	if c.meters != nil {
		return c.meters
	}
	var all []Meter
	for _, m := range metrics.All() {
		all = append(all, m)
	}
	return all
}

// scrape is what a scrape shows of one pool.
type scrape struct {
	metrics.Snapshot
	labeled []resource.EndpointInfo // the endpoints that have labels
}

func (c *Collector) collect(ch chan<- prometheus.Metric, pool string, s *scrape) {
	send := func(d *prometheus.Desc, m prometheus.Metric, err error) {
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		ch <- m
	}
	for i, f := range families {
		d := c.descs[i]
		if f.value != nil {
			m, err := prometheus.NewConstMetric(d, f.kind, f.value(s), pool)
			send(d, m, err)
			continue
		}
		if f.each != nil {
			for _, p := range f.each(s) {
				labels := []string{pool, p.label}
				if f.label == "" {
					labels = labels[:1]
				}
				m, err := prometheus.NewConstMetric(d, f.kind, p.value, labels...)
				send(d, m, err)
			}
			continue
		}
		values := make(label.Tally)
		f.values(s, values)
		for l, n := range values {
			m, err := prometheus.NewConstMetric(d, f.kind, float64(n), pool, l)
			send(d, m, err)
		}
	}
	for i, h := range histograms {
		d := c.descs[len(families)+i]
		for _, one := range h.of(&s.Snapshot) {
			m, err := newHistogram(d, one.histogram, c.buckets, append([]string{pool}, one.labels...)...)
			send(d, m, err)
		}
	}
}
