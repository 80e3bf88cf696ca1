// Package time stands for time in a program under the scheduler: its clock is virtual.
package time

import (
	"time"

	"github.com/respool/respool/internal/explore/sched"
)

// The types of package time.
type (
	Duration   = time.Duration
	Time       = time.Time
	Location   = time.Location
	Month      = time.Month
	Weekday    = time.Weekday
	ParseError = time.ParseError
)

// The constants of package time.
const (
	Nanosecond  = time.Nanosecond
	Microsecond = time.Microsecond
	Millisecond = time.Millisecond
	Second      = time.Second
	Minute      = time.Minute
	Hour        = time.Hour

	Layout      = time.Layout
	RFC3339     = time.RFC3339
	RFC3339Nano = time.RFC3339Nano
	RFC1123     = time.RFC1123
	DateTime    = time.DateTime
	DateOnly    = time.DateOnly
	TimeOnly    = time.TimeOnly
)

// The variables of package time.
var (
	UTC   = time.UTC
	Local = time.UTC
)

// Functions of package time that do not read the clock.
var (
	Date          = time.Date
	Parse         = time.Parse
	ParseDuration = time.ParseDuration
	Unix          = time.Unix
	UnixMilli     = time.UnixMilli
)

// start is the time at which every execution begins.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Now is that of package time.
func Now() Time { return start.Add(Duration(sched.Nanos())) }

// Since is that of package time.
func Since(t Time) Duration { return Now().Sub(t) }

// Until is that of package time.
func Until(t Time) Duration { return t.Sub(Now()) }

// Timer is time.Timer.
type Timer struct {
	C <-chan Time

	c chan Time
	t sched.Timer
}

// AfterFunc is that of package time.
func AfterFunc(d Duration, f func()) *Timer {
	t := new(Timer)
	t.t.F = func() { sched.Go(f) }
	t.t.Set(int64(d))
	return t
}

// NewTimer is that of package time.
func NewTimer(d Duration) *Timer {
	t := &Timer{c: make(chan Time, 1)}
	t.C = t.c
	t.t.F = t.send
	t.t.Set(int64(d))
	return t
}

// send sends the time, as the timer fires.
func (t *Timer) send() { sched.Offer(t.c, start.Add(Duration(sched.Clock()))) }

// Stop is that of time.Timer: nothing is received from C afterwards.
func (t *Timer) Stop() bool {
	active := t.t.Stop()
	t.drain(&active)
	return active
}

// Reset is that of time.Timer.
func (t *Timer) Reset(d Duration) bool {
	active := t.t.Set(int64(d))
	t.drain(&active)
	return active
}

// drain takes the value of a timer that has fired out of its channel: then it counts as active.
func (t *Timer) drain(active *bool) {
	if t.c == nil {
		return
	}
	select {
	case <-t.c:
		*active = true
	default:
	}
}

// After is that of package time.
func After(d Duration) <-chan Time { return NewTimer(d).C }

// Sleep is that of package time.
func Sleep(d Duration) { sched.Recv(After(d)) }

// Ticker is time.Ticker.
type Ticker struct {
	C <-chan Time

	c chan Time
	d Duration
	t sched.Timer
}

// NewTicker is that of package time.
func NewTicker(d Duration) *Ticker {
	t := &Ticker{c: make(chan Time, 1), d: d}
	t.C = t.c
	t.t.F = func() {
		sched.Offer(t.c, start.Add(Duration(sched.Clock())))
		t.t.Set(int64(t.d))
	}
	t.t.Set(int64(d))
	return t
}

// Stop is that of time.Ticker.
func (t *Ticker) Stop() { t.t.Stop() }

// Reset is that of time.Ticker.
func (t *Ticker) Reset(d Duration) {
	t.d = d
	t.t.Set(int64(d))
}
