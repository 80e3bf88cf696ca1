package metrics

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/expo"
	"github.com/respool/respool/internal/settings"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Meter observes one pool. It is safe for concurrent use.
type Meter struct {
	name string
	cfg  Config
	born time.Time

	wait, hold, made, check, closed expo.Recorder
	destroyed, refused              tally
	known                           known
	events                          ring
	leases                          leases
	reports                         reports
	outage                          outage
	history                         history

	holdSquares  sum          // of the weights of what hold has
	waitsEnded   atomic.Int64 // with or without a resource
	hits         highest      // acquires that certainly found an idle resource
	sampledUntil atomic.Int64 // until then the pool samples every lease, in Unix nanoseconds

	mu     sync.Mutex // guards the fields below, but for src
	source Source
	timer  *time.Timer // of the next scan for overdue leases
	ended  bool

	sampler *time.Timer // of the next point of the history; nil: it is not kept

	src atomic.Pointer[Source] // source, for readers without mu
}

// New returns a meter for the pool that is shown under name: 1 to 128 bytes of
// printable UTF-8, and not a secret. The error names every bad field.
//
// Set [Meter.Trace] in the Config of the pool, then pass the pool to [Meter.Watch].
// A meter without Watch need not be closed.
func New(name string, cfg Config) (*Meter, error) {
	if err := cfg.check(name); err != nil {
		return nil, err
	}
	m := &Meter{name: name, cfg: cfg, born: time.Now()}
	m.leases.m = m
	return m, nil
}

// Name returns the name given to [New].
func (m *Meter) Name() string { return m.name }

// ErrNameTaken is the error of [Meter.Watch] while another meter of the same name
// watches.
var ErrNameTaken = errors.New("metrics: another meter of that name is watching")

// Watch begins to observe src, the pool whose Trace is [Meter.Trace], and lists the
// meter in [All]. Until [Meter.Close] the meter looks for overdue leases, if
// [Config.Overdue] is set, and adds to its [Meter.History], on timers and so without
// a goroutine in between. Watch fails with [ErrNameTaken], and if src is nil, or the
// meter watches already or is closed.
func (m *Meter) Watch(src Source) error {
	if v := reflect.ValueOf(src); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("metrics: Watch: the Source is nil")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ended:
		return fmt.Errorf("metrics: Watch: meter %q is closed", m.name)
	case m.source != nil:
		return fmt.Errorf("metrics: Watch: meter %q watches already", m.name)
	case !register(m):
		return fmt.Errorf("%w: %q", ErrNameTaken, m.name)
	}
	m.source = src
	m.src.Store(&src)
	if m.cfg.Overdue > 0 {
		m.timer = time.AfterFunc(m.cfg.Overdue, m.scan)
	}
	if m.history.begin(time.Now()) {
		m.sampler = time.AfterFunc(historyEvery, m.remember)
	}
	return nil
}

// Close undoes Watch: the meter leaves [All], its name is free, and it drops its History
// and the leases that are held. It does not wait for a running function of Config or
// Source. The other figures can still be read, and the Trace functions still count.
// Calling Close again does nothing.
func (m *Meter) Close() {
	m.mu.Lock()
	if !m.ended {
		m.ended = true
		if m.timer != nil {
			m.timer.Stop()
		}
		if m.sampler != nil {
			m.sampler.Stop()
			m.history.end()
		}
		if m.source != nil {
			unregister(m)
		}
	}
	m.mu.Unlock()
	m.leases.close()
}

// inspect asks the Source, if there is one. It contains a panic of the Source,
// which would end the process if a timer called it.
func (m *Meter) inspect(limit int) (i resource.Inspection, ok bool) {
	src := m.src.Load()
	if src == nil {
		return i, false
	}
	err := m.contain(func() { i = (*src).Inspect(limit) })
	return i, err == nil
}

// errPanicked stands for a panic that was contained.
var errPanicked = errors.New("metrics: a function of Config or Source panicked")

// contain calls a function of the user. A panic in it becomes an Event and
// errPanicked.
func (m *Meter) contain(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errPanicked
			m.events.add("panic", "metrics", func() string { return text.Discreet(fmt.Sprint(v)) })
		}
	}()
	f()
	return nil
}

// Snapshot returns the figures of the pool, with at most limit resources, limit
// waiting callers and limit held leases, and with the settings of the pool and of the meter;
// none of these if limit is 0 or less. It
// does not block the pool. It takes about 50 µs, more for each entry that it lists
// and, if limit is not 0, a little for each lease that is held. Before Watch the
// Inspection is empty.
//
// While the pool is in use, the parts of a Snapshot are not of one instant. Once the
// pool is at rest, and if it alone has had the meter's Trace since it was made, the
// sums equal those of its [resource.Stats]: Wait.Count is Acquired, Make.Count is
// Made, Make.Sum is MakeTime, Close.Count and the sum of Destroyed are Destroyed, and
// the sum of Refused is Rejected + Refused, unless callers use [resource.Keyed.AcquireAny]:
// Refused counts each key that refused one, Rejected only callers that no key served.
func (m *Meter) Snapshot(limit int) Snapshot {
	limit = max(limit, 0)
	ended := m.waitsEnded.Load() // before wait, which has all of these
	s := Snapshot{
		Name:  m.name,
		Time:  time.Now(),
		Wait:  histogram(&m.wait), // before Acquired, which includes each of them
		Hold:  histogram(&m.hold),
		Make:  histogram(&m.made),
		Check: histogram(&m.check),
		Close: histogram(&m.closed),

		Destroyed: m.destroyed.read(),
		Refused:   m.refused.read(),
		Overdue:   m.leases.overdue(),
		Held:      m.leases.list(limit),
		Events:    m.events.list(),
	}
	s.Hold.squares = m.holdSquares.read()
	begun, _ := m.outage.read()
	known := false
	s.Inspection, known = m.inspect(limit)
	m.addHits(&s.Wait, &s.Stats, ended)
	if limit > 0 {
		s.Settings = slices.Concat(s.Settings, m.settings())
	}
	s.Outages, s.Since = m.outage.read()
	if known && !s.Outage { // the Trace reported the end before the beginning, or the key was forgotten
		m.outage.end(begun)
		s.Since = time.Time{}
	}
	return s
}

// settings returns how m was configured, beside the settings of its pool.
func (m *Meter) settings() (all []resource.Setting) {
	for _, f := range settings.Of(m.cfg, m.cfg, Config{}) {
		if f.Name == "Overdue" && f.Default {
			f.Value = "not set" // zero is no duration
		}
		all = append(all, resource.Setting{Of: "metrics.Config", Name: f.Name, Value: f.Value, Default: f.Default})
	}
	return all
}

// addHits adds to waits the acquires that found an idle resource: those of s that
// did not wait. ended was read before waits, and waits before s.
func (m *Meter) addHits(waits *Histogram, s *resource.Stats, ended int64) {
	hits := m.hits.atLeast(s.Acquired - waits.Count - max(0, s.Waited-ended))
	waits.Count += hits
	waits.Zero += hits
}

// histogram returns what r has counted.
func histogram(r *expo.Recorder) Histogram {
	c := r.Read()
	h := Histogram{Count: c.Zero, Zero: c.Zero, Sum: c.Sum}
	first, end := math.MaxInt, 0
	for i, n := range c.Buckets {
		if n > 0 {
			first, end = min(first, i/4), i/4+1
			h.Count += n
		}
	}
	if end == 0 {
		return h
	}
	h.First = expo.First/4 + first
	h.quarters = c.Buckets[4*first : 4*end]
	h.Buckets = make([]int64, end-first)
	for i, n := range h.quarters {
		h.Buckets[i/4] += n
	}
	return h
}
