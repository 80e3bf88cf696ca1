package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Trace returns the Trace that feeds the meter, for the Config of the pool that the
// meter watches, or of the [resource.Keyed]. The figures of two pools with one meter
// could not be told apart. Each function calls that of next after its own; next may
// be nil, and is copied. So a meter for each key and one for the whole Keyed or Manager
// can watch together: with Trace: perKey.Trace(whole.Trace(nil)), perKey watches the View
// of its key and whole the Manager. A sum over all meters then counts everything twice.
//
// Leased and Ended take one or two microseconds for a lease that is sampled, most of
// it for the stack of the caller. If the caller sets both to nil, the pool does not
// sample: Hold, Held and the profile stay empty, and an overdue lease is reported
// without its stack.
func (m *Meter) Trace(next *resource.Trace) *resource.Trace {
	if next == nil {
		next = &resource.Trace{}
	}
	n := *next
	return &resource.Trace{
		Waited: func(ctx context.Context, e resource.WaitEvent) {
			m.onWaited(e)
			if n.Waited != nil {
				n.Waited(ctx, e)
			}
		},
		Failed: func(ctx context.Context, e *resource.AcquireError) {
			m.onFailed(e)
			if n.Failed != nil {
				n.Failed(ctx, e)
			}
		},
		Rejected: func(ctx context.Context, err error) {
			m.onRefused("caller", err)
			if n.Rejected != nil {
				n.Rejected(ctx, err)
			}
		},
		Made: func(ctx context.Context, e resource.MakeEvent) {
			m.onMade(e)
			if n.Made != nil {
				n.Made(ctx, e)
			}
		},
		Refused: func(ctx context.Context, err error) {
			m.onRefused("creation", err)
			if n.Refused != nil {
				n.Refused(ctx, err)
			}
		},
		Checked:   both(m.onChecked, n.Checked),
		Destroyed: both(m.onDestroyed, n.Destroyed),
		Outage:    both(m.onOutage, n.Outage),
		Panicked:  both(m.onPanicked, n.Panicked),
		Leased: func(ctx context.Context, e resource.LeaseEvent) {
			m.leases.begin(e)
			if n.Leased != nil {
				n.Leased(ctx, e)
			}
		},
		Ended: both(m.onEnded, n.Ended),
	}
}

// both calls f and then g, which may be nil.
func both[E any](f, g func(E)) func(E) {
	if g == nil {
		return f
	}
	return func(e E) {
		f(e)
		g(e)
	}
}

func (m *Meter) onWaited(e resource.WaitEvent) {
	if e.Err == nil {
		m.wait.Record(e.ID, e.Waited, 1)
	}
	m.waitsEnded.Add(1)
}

// onFailed adds an event for an acquire that failed, but not for one that did not want
// to wait, and not for one that the Admission refused: onRefused adds that.
func (m *Meter) onFailed(e *resource.AcquireError) {
	kind := "not served"
	switch e.Reason {
	case resource.ReasonNoneIdle, resource.ReasonAdmission:
		return
	case resource.ReasonCanceled, resource.ReasonMaxWait:
		kind = "gave up"
	}
	m.events.add(kind, e.Reason.String(), func() string {
		return fmt.Sprintf("acquire failed after %v: %s", e.Waited.Round(time.Microsecond), text.Of(e.Err))
	})
}

// onRefused adds a refusal; what is "caller" or "creation".
func (m *Meter) onRefused(what string, err error) {
	policy := m.refused.add(refuser(err), fromPolicies)
	m.events.add("refused", what+" "+policy, func() string {
		return fmt.Sprintf("%s, by %s: %s", what, policy, text.Of(err))
	})
}

func (m *Meter) onMade(e resource.MakeEvent) {
	took := e.Took.Round(time.Microsecond)
	if e.Err != nil {
		m.events.add("failed", "", func() string { return fmt.Sprintf("creation, after %v: %s", took, text.Of(e.Err)) })
		return
	}
	m.made.Record(e.ID, e.Took, 1)
	m.events.add("made", "", func() string { return fmt.Sprintf("resource %d, in %v", e.ID, took) })
}

func (m *Meter) onChecked(e resource.CheckEvent) {
	m.check.Record(e.Info.ID, e.Took, 1)
	if e.Err != nil {
		m.events.add("check", "", func() string {
			return fmt.Sprintf("resource %d failed after %v: %s", e.Info.ID, e.Took.Round(time.Microsecond), text.Of(e.Err))
		})
	}
}

func (m *Meter) onDestroyed(e resource.DestroyEvent) {
	m.closed.Record(e.Info.ID, e.Took, 1)
	label := m.destroyed.add(m.label(e.Cause))
	m.events.add("destroyed", label, func() string {
		return fmt.Sprintf("resource %d, age %v, after %d leases: %s",
			e.Info.ID, e.Info.Age.Round(time.Millisecond), e.Info.Leases, text.Of(e.Cause))
	})
}

func (m *Meter) onOutage(cause error) {
	if cause == nil {
		begun, _ := m.outage.read()
		if i, known := m.inspect(0); !known || !i.Outage { // else another key still has one
			m.outage.end(begun)
		}
		m.events.add("recovered", "", func() string { return "resource creation succeeds again" })
		return
	}
	m.outage.begin(time.Now())
	m.events.add("outage", "", func() string { return "resource creation is failing: " + text.Of(cause) })
}

func (m *Meter) onPanicked(err error) {
	m.events.add("panic", "", func() string { return text.Of(err) })
}

func (m *Meter) onEnded(e resource.EndEvent) {
	weight := max(1, e.Sampled)
	m.hold.Record(e.ID, e.Held, weight)
	m.holdSquares.add(float64(weight) * float64(weight))
	m.leases.end(e)
}
