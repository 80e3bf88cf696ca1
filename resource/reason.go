package resource

import (
	"context"
	"iter"
)

// Reason is why an acquire failed: one of a fixed set, for a switch, a counter or
// a label. [AcquireError.Reason] has it. The zero Reason is none.
type Reason uint8

// The reasons. The first that holds is given, in no order of importance.
const (
	// ReasonCanceled: the caller's context ended, by its deadline or otherwise.
	ReasonCanceled Reason = iota + 1
	// ReasonMaxWait: [Request.MaxWait] was over: [ErrMaxWait].
	ReasonMaxWait
	// ReasonAdmission: [Config.Admission] refused the caller.
	ReasonAdmission
	// ReasonQueue: [Config.Queue] refused the caller while it waited.
	ReasonQueue
	// ReasonMakeGate: [Config.MakeGate] refused the creation that the caller
	// waited for, and nothing else could serve the caller in time.
	ReasonMakeGate
	// ReasonQuota: the same of [Config.Quota].
	ReasonQuota
	// ReasonOutage: creation keeps failing, and the caller was refused at once
	// or while it waited: [ErrOutage].
	ReasonOutage
	// ReasonMakeFailed: a creation failed, or what it returned failed its first
	// check, and nothing else could serve the caller.
	ReasonMakeFailed
	// ReasonNoneIdle: nothing was idle and the caller did not want to wait:
	// [ErrNoneIdle].
	ReasonNoneIdle
	// ReasonNearEnd: even a new resource has less than [Request.MinRemaining].
	ReasonNearEnd
	// ReasonClosed: the pool is closed, or was while the caller waited:
	// [ErrClosed].
	ReasonClosed

	reasons = iota + 1
)

// String is the label of the reason, such as "make_gate".
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return [reasons]string{
		"none", "canceled", "max_wait", "admission", "queue", "make_gate", "quota", "outage", "make_failed", "none_idle", "near_end", "closed",
	}[r]
}

// AcquireFailures counts the acquires that returned an error, each once, by
// [Reason]. A TryAcquire that returned false counts too. An acquire whose
// goroutine was ended by a policy has returned nothing and is not counted.
type AcquireFailures struct {
	Canceled   int64 // ReasonCanceled
	MaxWait    int64 // ReasonMaxWait
	Admission  int64 // ReasonAdmission
	Queue      int64 // ReasonQueue
	MakeGate   int64 // ReasonMakeGate
	Quota      int64 // ReasonQuota
	Outage     int64 // ReasonOutage
	MakeFailed int64 // ReasonMakeFailed
	NoneIdle   int64 // ReasonNoneIdle
	NearEnd    int64 // ReasonNearEnd
	Closed     int64 // ReasonClosed
}

// field is where r is counted.
func (f *AcquireFailures) field(r Reason) *int64 {
	return [reasons]*int64{
		new(int64), &f.Canceled, &f.MaxWait, &f.Admission, &f.Queue, &f.MakeGate, &f.Quota, &f.Outage, &f.MakeFailed, &f.NoneIdle, &f.NearEnd, &f.Closed,
	}[r]
}

// All yields each Reason, in the order of the constants, with its count.
func (f AcquireFailures) All() iter.Seq2[Reason, int64] {
	return func(yield func(Reason, int64) bool) {
		for r := Reason(1); r < reasons; r++ {
			if !yield(r, *f.field(r)) {
				return
			}
		}
	}
}

// Of is how many there were for that reason.
func (f AcquireFailures) Of(r Reason) int64 {
	if r >= reasons {
		return 0
	}
	return *f.field(r)
}

// Total is how many there were.
func (f AcquireFailures) Total() (n int64) {
	for _, c := range f.All() {
		n += c
	}
	return n
}

// Rejected is how many of them a policy refused: the caller itself (Admission,
// Queue) or the creation that it waited for (MakeGate, Quota).
func (f AcquireFailures) Rejected() int64 { return f.Admission + f.Queue + f.MakeGate + f.Quota }

func (f *AcquireFailures) add(o AcquireFailures) {
	for r, n := range o.All() {
		*f.field(r) += n
	}
}

// endReason is the Reason of an acquire that ends with ctx, which has ended.
func endReason(ctx context.Context) Reason {
	if context.Cause(ctx) == ErrMaxWait {
		return ReasonMaxWait
	}
	return ReasonCanceled
}

// makeRefusal is what a MakeGate or Quota said to a creation.
type makeRefusal struct {
	seam Reason // ReasonMakeGate or ReasonQuota
	err  error
}

func (e *makeRefusal) Error() string {
	where := "MakeGate"
	if e.seam == ReasonQuota {
		where = "Quota"
	}
	return "creation refused by " + where + ": " + e.err.Error()
}

// Unwrap makes a refused creation match ErrMakeRefused and what the policy said.
func (e *makeRefusal) Unwrap() []error { return []error{ErrMakeRefused, e.err} }

// refusalReason is the reason of a caller for whom err, a creation that was not
// allowed to begin, is the end.
func refusalReason(err error) Reason {
	if m, ok := err.(*makeRefusal); ok {
		return m.seam
	}
	return ReasonMakeGate
}

// reasonOf is the Reason of an error that failure has made.
func reasonOf(err error) Reason { return err.(*AcquireError).Reason }
