package metrics

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/metrics/internal/expo"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Meter watches one pool. Its methods may be called by many goroutines at once.
type Meter struct {
	name string
	cfg  Config
	born time.Time

	wait, hold, made, check, closed expo.Recorder
	destroyed, refused              tally
	known                           known
	events                          ring
	leases                          leases
	telling                         telling
	outage                          outage

	told atomic.Int64 // waits that have ended, however
	hits highest      // how many acquires found one idle, as far as is sure

	mu     sync.Mutex // guards what follows
	source Source
	timer  *time.Timer // of the next scan for what is overdue
	ended  bool

	src atomic.Pointer[Source] // source, for those who read
}

// New makes a meter for the pool that will be called name, wherever meters are
// shown: 1 to 128 bytes of printable UTF-8, and no secret. The error names
// every bad field.
//
// Give [Meter.Trace] to the Config of the pool, and the pool to [Meter.Watch]. A
// meter that was never watching need not be closed.
func New(name string, cfg Config) (*Meter, error) {
	if err := cfg.check(name); err != nil {
		return nil, err
	}
	m := &Meter{name: name, cfg: cfg, born: time.Now()}
	m.leases.m = m
	return m, nil
}

// Name is the name given to [New].
func (m *Meter) Name() string { return m.name }

// ErrNameTaken means that another meter with that name is watching.
var ErrNameTaken = errors.New("metrics: another meter of that name is watching")

// Watch says which pool has the meter's [Meter.Trace], once that is made, and
// lists the meter in [All]. From then until Close it is looked at for leases
// that are overdue. It fails with [ErrNameTaken], and if src is nil, or the meter
// watches already or is closed.
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
	return nil
}

// Close ends the watching: the meter is no longer in [All], its name is free,
// and it forgets who holds what. It does not wait for an OnOverdue that runs.
// The rest can still be read, and its Trace functions still count. Closing again
// does nothing.
func (m *Meter) Close() {
	m.mu.Lock()
	if !m.ended {
		m.ended = true
		if m.timer != nil {
			m.timer.Stop()
		}
		if m.source != nil {
			unregister(m)
		}
	}
	m.mu.Unlock()
	m.leases.close()
}

// inspect asks the pool, if there is one. It contains a panic in a Source, which
// would else end the process where a timer asks.
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

// contain calls what is not ours. A panic in it becomes an Event, and
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

// Snapshot returns what the meter knows, with at most limit resources, as many
// waiting callers and as many held leases; 0 or less: none of these. It blocks
// nobody, and costs about 50 µs, some for each that it lists, and where limit is not
// 0 a little for each that is held. Before Watch the Inspection is empty.
//
// While the pool is at work, what it lists is not of one instant. Once that is
// at rest the sums are those of its [resource.Stats]: Wait.Count is Acquired,
// Make.Count is Made and Make.Sum MakeTime, Close.Count and the sum of Destroyed
// are Destroyed, and the sum of Refused is Rejected and Refused; if the pool has
// had the meter's Trace from its making and to itself.
func (m *Meter) Snapshot(limit int) Snapshot {
	limit = max(limit, 0)
	told := m.told.Load() // before wait, which has all of these
	s := Snapshot{
		Name:  m.name,
		Time:  time.Now(),
		Wait:  histogram(&m.wait), // before Acquired, which each of them is in already
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
	known := false
	s.Inspection, known = m.inspect(limit)
	hits := m.hits.atLeast(s.Acquired - s.Wait.Count - max(0, s.Stats.Waited-told))
	s.Wait.Count += hits
	s.Wait.Zero += hits
	s.Outages, s.Since = m.outage.read()
	if known && !s.Outage { // told in another order than it happened
		s.Since = time.Time{}
	}
	return s
}

// histogram is what r has counted.
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
