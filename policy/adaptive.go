package policy

import (
	"context"
	"errors"

	"github.com/respool/respool/resource"
)

// AdaptiveLimiter is the part of AdaptiveLimiter in
// github.com/failsafe-go/failsafe-go/adaptivelimiter that [Adaptive] uses. P is
// its Permit, and is inferred.
type AdaptiveLimiter[P AdaptivePermit] interface {
	// AcquirePermit blocks until there is a permit or ctx ends.
	AcquirePermit(ctx context.Context) (P, error)
	// TryAcquirePermit does not block.
	TryAcquirePermit() (P, bool)
}

// AdaptivePermit is Permit in
// github.com/failsafe-go/failsafe-go/adaptivelimiter.
type AdaptivePermit interface {
	Record() // gives the permit back; the time that it was out counts
	Drop()   // gives it back; the time does not count
}

// Adaptive admits as many at once as l finds that the server stands. The others
// wait until their context ends, or are refused with the error of l if it queues
// no more; with NoWait they are refused with [ErrFull]. Panics if l is nil.
//
// Use it as Config.MakeGate, and not as Config.Admission. l takes the time that
// a permit is out for the latency of the server and lowers its limit when that
// grows. The permit of a MakeGate is out as long as one make takes, which is
// just that. The permit of an Admission is out as long as the caller keeps its
// lease: when callers begin to keep theirs longer, which is no sign of overload,
// l takes away capacity from a server that has nothing wrong with it.
//
// The time counts if the make succeeded or ran into its timeout. How long one
// took that failed, or came to nothing, says nothing about load: a connection
// refused is over in no time.
func Adaptive[P AdaptivePermit](l AdaptiveLimiter[P]) resource.Admission {
	var m misuse
	m.unless(l != nil, "the limiter is nil")
	m.report("Adaptive")
	return &adaptive[P]{l}
}

type adaptive[P AdaptivePermit] struct{ l AdaptiveLimiter[P] }

// Admit implements [resource.Admission].
func (p *adaptive[P]) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	const name = "adaptive"
	if r.NoWait {
		permit, ok := p.l.TryAcquirePermit()
		if !ok {
			return nil, refuse(name, 0, ErrFull)
		}
		return giveBack(permit), nil
	}
	permit, err := p.l.AcquirePermit(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, refuse(name, 0, err)
	}
	return giveBack(permit), nil
}

func giveBack(permit AdaptivePermit) resource.Done {
	return func(o resource.Outcome) {
		if o.Verdict == resource.OK || o.Verdict == resource.Failed && timedOut(o.Err) {
			permit.Record()
		} else {
			permit.Drop()
		}
	}
}

func timedOut(err error) bool {
	return errors.Is(err, resource.ErrMakeTimeout) || errors.Is(err, context.DeadlineExceeded)
}
