package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/respool/respool/internal/cause"
)

// What an acquire can fail with, besides the end of its own context. Each is
// the cause of an [*AcquireError]; test with errors.Is.
var (
	// ErrClosed: the pool is closed, or was closed while the caller waited.
	ErrClosed = cause.New("resource: pool is closed", "closed")
	// ErrDraining: [Keyed.Drain] has closed the key, and a lease of it has not ended yet or
	// the caller waited when Drain was called. It matches ErrClosed too; an acquire of a Keyed
	// that is closed fails with ErrClosed alone.
	ErrDraining error = drainingError{}
	// ErrRejected: a policy refused. A [*Rejection] in the chain has details. If
	// ErrMakeRefused matches too, the creation of a resource was refused, not the caller;
	// [AcquireError.Reason] says which of the four policies refused.
	ErrRejected = errors.New("resource: rejected")
	// ErrMakeRefused: [Config.MakeGate] or [Config.Quota] refused a creation.
	ErrMakeRefused = errors.New("resource: creation refused")
	// ErrNoneIdle: no resource was idle, and the request was not to wait.
	ErrNoneIdle = errors.New("resource: none idle")
	// ErrMaxWait: [Request.MaxWait] was over. It matches
	// context.DeadlineExceeded too.
	ErrMaxWait error = maxWaitError{}
	// ErrOutage: creation is failing and no leased resource could come back.
	// [AcquireError.RetryAfter] says when the next creation is tried, and
	// [AcquireError.Wait] waits for that.
	ErrOutage = errors.New("resource: creation is failing")
	// ErrFull: [Pool.MakeOne] found no room for another resource.
	ErrFull = errors.New("resource: pool is at its maximum")
	// ErrMakeTimeout: a creation took longer than [Config.MakeTimeout].
	ErrMakeTimeout = cause.New("resource: creation timed out", "make timed out")
)

// maxWaitError is the type of ErrMaxWait.
type maxWaitError struct{}

func (maxWaitError) Error() string { return "resource: no resource within MaxWait" }

// Unwrap makes it match context.DeadlineExceeded, whose text would say that the caller's
// context had ended.
func (maxWaitError) Unwrap() error { return context.DeadlineExceeded }

// ErrTolerated keeps the resource if the error of a failed [Health] check matches it.
var ErrTolerated = errors.New("resource: failed check tolerated")

// Why the pool itself ended a resource: the cause that Destroy and Trace see.
var (
	// ErrDiscarded: [Lease.Discard] gave no cause of its own.
	ErrDiscarded = cause.New("resource: discarded", "discarded")
	// ErrDropped: the lease was not ended, and the garbage collector found that no
	// reference to it is left. The pool itself does not look for such leases; a package
	// built on it may, as wspool does.
	ErrDropped = cause.New("resource: lease was dropped without being ended", "dropped")
	// ErrReclaimed: [Pool.Reclaim] ended the lease, not its holder.
	ErrReclaimed = cause.New("resource: lease was reclaimed", "reclaimed")
	// ErrInvalidated: the invalidate function of [Config.Watch] gave no cause of its own.
	ErrInvalidated = cause.New("resource: invalidated", "invalidated")
	// ErrReleaseTimeout: an OnRelease took longer than [Config.ReleaseTimeout].
	ErrReleaseTimeout = cause.New("resource: OnRelease timed out", "release timed out")
	// ErrWornOut: the resource had all the leases that can be numbered, 2³⁶-2³² (64
	// billion).
	ErrWornOut = cause.New("resource: lease numbers are used up", "lease numbers used up")
	// ErrReset: [Pool.Reset] gave no cause of its own.
	ErrReset = cause.New("resource: reset", "reset")
	// ErrResized: more resources existed than a resized pool allows.
	ErrResized = cause.New("resource: pool resized", "resized")
	// ErrSuspect: other idle resources had failed their Health checks, this one had not
	// been checked yet, callers waited and the pool was full, so it made room.
	ErrSuspect = cause.New("resource: not verified in time, and a caller waits", "not verified")
	// ErrNearEnd: no idle resource had the [Request.MinRemaining] that a caller asked for,
	// and the pool was full, so the oldest idle one made room.
	ErrNearEnd = cause.New("resource: too near its end for a waiting caller", "near its end")
	// ErrNotFresh: a caller asked for an unused resource ([Request.Fresh]), and the pool
	// was full, so a used one made room.
	ErrNotFresh = cause.New("resource: used, and a waiting caller wants a new one", "not fresh")
	// ErrPreempted: the total of a [Keyed] was used up, and another key needed a slot.
	ErrPreempted = cause.New("resource: preempted by another key", "preempted")
	// ErrGoexit: a function called runtime.Goexit instead of returning.
	ErrGoexit = cause.New("resource: function ended its goroutine", "goexit")
)

// errNotReturned is the cause of a resource whose holder in Do panicked.
var errNotReturned = cause.New("resource: the function in Do did not return", "not returned")

// drainingError is the type of ErrDraining.
type drainingError struct{}

func (drainingError) Error() string { return "resource: key is being drained" }

// Unwrap makes ErrDraining match ErrClosed.
func (drainingError) Unwrap() error { return ErrClosed }

// AcquireError says why no resource was lent and how the pool was at that time. Unwrap
// leads to Err, so errors.Is finds context.DeadlineExceeded, context.Canceled, [ErrClosed],
// [ErrDraining], [ErrRejected], [ErrMakeRefused], [ErrOutage], [ErrNoneIdle] or what Make
// returned.
type AcquireError struct {
	Err    error         // why
	Reason Reason        // the kind of Err, one of a fixed set; Stats counts by it
	Waited time.Duration // how long the caller had waited
	// RetryAfter is how long to wait before asking again: a policy has said so, or the pool in an
	// outage. 0: not known, as after a failed call of Make, whose error may say more.
	RetryAfter time.Duration
	Load       Load  // how the pool was; Wanting includes the slot that this caller wanted of a Keyed's total
	LastMake   error // how the last creation failed, if none has succeeded since

	LastMakeAgo time.Duration // how long before this failure LastMake was; 0: LastMake is nil

	tried   <-chan struct{} // closed when the next creation has been tried; nil: see retryAt
	retryAt time.Time       // when RetryAfter has passed; zero: RetryAfter is 0
	sooner  <-chan struct{} // closed by Close and RetryNow: RetryAfter no longer applies
}

// Error says what failed and why. It contains no figures, so that the same failure has the
// same text each time; they are in the fields, in %+v, and in the group that LogValue
// returns.
func (e *AcquireError) Error() string { return withLastMake("resource: acquire", e.Err, e.LastMake) }

func withLastMake(what string, err, last error) string {
	if last == nil || errors.Is(err, last) {
		return fmt.Sprintf("%s: %v", what, err)
	}
	return fmt.Sprintf("%s: %v; last creation: %v", what, err, last)
}

// Format adds, for %+v, how long the caller had waited, how the pool was, when it is worth
// asking again, and how long ago the last creation failed.
func (e *AcquireError) Format(f fmt.State, verb rune) {
	type plain AcquireError
	writeError(f, verb, e, (*plain)(e), func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%v (waited %v; %v", e, e.Waited, e.Load)
		if e.RetryAfter > 0 {
			_, _ = fmt.Fprintf(w, "; retry after %v", e.RetryAfter)
		}
		if e.LastMake != nil {
			_, _ = fmt.Fprintf(w, "; last creation failed %v before", e.LastMakeAgo)
		}
		_, _ = io.WriteString(w, ")")
	})
}

// LogValue is a group: the text, the reason, how long the caller had waited, when it is
// worth asking again if that is known, how long ago the last creation failed if none has
// succeeded since, and how the pool was.
func (e *AcquireError) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("text", e.Error()), slog.String("reason", e.Reason.String()), slog.Duration("waited", e.Waited)}
	if e.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
	}
	if e.LastMake != nil {
		attrs = append(attrs, slog.Duration("last_make_ago", e.LastMakeAgo))
	}
	return slog.GroupValue(append(attrs, slog.Any("load", e.Load))...)
}

// Unwrap leads to Err.
func (e *AcquireError) Unwrap() error { return e.Err }

// WarmError says why fewer resources exist than [Pool.Warm] was asked for. Unwrap leads to
// Err and LastMake.
type WarmError struct {
	Err      error // the context's
	Have     int   // resources that exist
	Want     int   // resources that were asked for
	LastMake error // how the last creation failed or was refused, if none has succeeded since
}

func (e *WarmError) Error() string { return withLastMake("resource: warm", e.Err, e.LastMake) }

// Format adds, for %+v, how many there are of how many.
func (e *WarmError) Format(f fmt.State, verb rune) {
	type plain WarmError
	writeError(f, verb, e, (*plain)(e), func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%v (%d of %d exist)", e, e.Have, e.Want)
	})
}

// LogValue is a group: the text, and how many there are of how many.
func (e *WarmError) LogValue() slog.Value {
	return slog.GroupValue(slog.String("text", e.Error()), slog.Int("have", e.Have), slog.Int("want", e.Want))
}

// Unwrap leads to Err and LastMake.
func (e *WarmError) Unwrap() []error {
	if e.LastMake == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.LastMake}
}

// outageCause is ErrOutage and the failure that it comes from. Its text is built when it is
// asked for, since that calls the methods of the error that Make returned.
type outageCause struct{ last error }

func (e *outageCause) Error() string   { return fmt.Sprintf("%v: %v", ErrOutage, e.last) }
func (e *outageCause) Unwrap() []error { return []error{ErrOutage, e.last} }

// Rejection is a refusal that says which policy refused, and for how long. An [Admission]
// returns one. If it returns an error that does not match [ErrRejected], the pool wraps
// that in a Rejection whose Policy is the name of the Config's field: "Admission",
// "MakeGate" or "Quota"; so it does with whatever a [Queue] returns: "Queue".
// errors.Is(err, ErrRejected) holds, as it does for Err and what Err wraps.
type Rejection struct {
	Policy     string        // the name of the policy; may be empty
	RetryAfter time.Duration // after how long it is worth asking again; 0: not known
	Err        error         // why; may be nil
}

func (r *Rejection) Error() string {
	var b strings.Builder
	b.WriteString("rejected")
	if r.Policy != "" {
		b.WriteString(" by " + r.Policy)
	}
	if r.Err != nil {
		fmt.Fprintf(&b, ": %v", r.Err)
	}
	return b.String()
}

// Format adds, for %+v, when it is worth asking again.
func (r *Rejection) Format(f fmt.State, verb rune) {
	type plain Rejection
	writeError(f, verb, r, (*plain)(r), func(w io.Writer) {
		_, _ = fmt.Fprint(w, r.Error())
		if r.RetryAfter > 0 {
			_, _ = fmt.Fprintf(w, " (retry after %v)", r.RetryAfter)
		}
	})
}

// LogValue is a group: the text, the policy, and when it is worth asking again.
func (r *Rejection) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("text", r.Error())}
	if r.Policy != "" {
		attrs = append(attrs, slog.String("policy", r.Policy))
	}
	if r.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", r.RetryAfter))
	}
	return slog.GroupValue(attrs...)
}

// Unwrap makes a Rejection match [ErrRejected] and its own Err.
func (r *Rejection) Unwrap() []error {
	if r.Err == nil {
		return []error{ErrRejected}
	}
	return []error{ErrRejected, r.Err}
}

// PanicError is a panic in a function that the pool called, made an error.
type PanicError struct {
	Where string // which function: "Make", "Destroy", "Evict", …
	Value any    // what it panicked with
	Stack []byte // where
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("resource: panic in %s: %v", e.Where, e.Value)
}

// Format adds, for %+v, the stack.
func (e *PanicError) Format(f fmt.State, verb rune) {
	type plain PanicError
	writeError(f, verb, e, (*plain)(e), func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%v\n\n%s", e, e.Stack)
	})
}

// Unwrap leads to the panic's value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// CloseError says what had not ended when the context of [Pool.Close] ended.
type CloseError struct {
	Err    error    // the context's
	Load   Load     // what had not ended
	Busy   int      // goroutines of the pool's own: creations, sweeps, checks, calls of OnRelease, a Queue or Trace
	Leased []uint64 // the IDs of the leased resources, at most 16 of them
}

// Error says that something had not ended, without figures: see [AcquireError.Error].
func (e *CloseError) Error() string {
	return fmt.Sprintf("resource: close: not everything has ended: %v", e.Err)
}

// Format adds, for %+v, what had not ended.
func (e *CloseError) Format(f fmt.State, verb rune) {
	type plain CloseError
	writeError(f, verb, e, (*plain)(e), func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%v (%v; leased IDs %v; %d goroutines)", e, e.Load, e.Leased, e.Busy)
	})
}

// LogValue is a group: the text, and what had not ended.
func (e *CloseError) LogValue() slog.Value {
	return slog.GroupValue(slog.String("text", e.Error()), slog.Any("load", e.Load),
		slog.Any("leased", e.Leased), slog.Int("goroutines", e.Busy))
}

// Unwrap leads to Err.
func (e *CloseError) Unwrap() error { return e.Err }

// unknownRetry is how long [AcquireError.Wait] waits where it is not known when it is worth
// asking again.
const unknownRetry = 100 * time.Millisecond

// Wait blocks until it is worth asking the pool again, or ctx ends, and does not poll. It
// then returns nil. The next acquire may fail again, but a loop of an acquire and a Wait
// after each failure is no faster than the pool's own tries.
//
// In an outage ([ErrOutage]) Wait blocks until the next creation has been tried, whether it
// succeeded, failed or was refused; the pool tries it when it is due, even if no caller
// comes. After another failure Wait blocks until RetryAfter has passed since or, if
// RetryAfter is 0, for 100 ms. It returns earlier if the pool is closed, and the next
// acquire fails with ErrClosed; and after [Pool.RetryNow], as soon as a creation may be
// tried, or in an outage has been tried.
//
// It returns the context's error if ctx ends first. It returns ErrClosed at once if that or
// [ErrDraining] is why the acquire failed.
//
// Any number of goroutines may call it at once, for the same error too.
func (e *AcquireError) Wait(ctx context.Context) error {
	if e.Reason == ReasonClosed || e.Reason == 0 && errors.Is(e.Err, ErrClosed) {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	var due <-chan time.Time
	var sooner <-chan struct{}
	if e.tried == nil {
		sooner = e.sooner
		wait := unknownRetry
		if e.RetryAfter > 0 {
			wait = e.RetryAfter
			if !e.retryAt.IsZero() {
				wait = time.Until(e.retryAt)
			}
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-e.tried:
	case <-due:
	case <-sooner:
	case <-ctx.Done():
		return ctxError(ctx)
	}
	return nil
}

// Reason is why an acquire failed: one of a fixed set, for a switch, a counter or
// a label. [AcquireError.Reason] has it. The zero Reason is none.
type Reason uint8

// The reasons. If several hold, an error has the one that was found first; their order here
// means nothing.
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
	// ReasonQuota: as ReasonMakeGate, for [Config.Quota].
	ReasonQuota
	// ReasonOutage: creation keeps failing, and the caller was refused at once
	// or while it waited: [ErrOutage].
	ReasonOutage
	// ReasonMakeFailed: a creation failed, or what it returned failed its first
	// check, and nothing else could serve the caller.
	ReasonMakeFailed
	// ReasonNoneIdle: nothing was idle, and the request was not to wait:
	// [ErrNoneIdle].
	ReasonNoneIdle
	// ReasonNearEnd: even a new resource has less than [Request.MinRemaining].
	ReasonNearEnd
	// ReasonClosed: the pool is closed, or was closed while the caller waited:
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

// makeRefusal is the refusal of a creation by a MakeGate or Quota.
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

// Unwrap makes a refused creation match ErrMakeRefused and what the policy returned.
func (e *makeRefusal) Unwrap() []error { return []error{ErrMakeRefused, e.err} }

// refusalReason is the reason of a caller that fails because err kept a creation from
// beginning.
func refusalReason(err error) Reason {
	if m, ok := err.(*makeRefusal); ok {
		return m.seam
	}
	return ReasonMakeGate
}

// reasonOf is the Reason of an error that failure has made.
func reasonOf(err error) Reason { return err.(*AcquireError).Reason }

// The text of an error is the same each time it happens, so that logs can be
// grouped by it. What varies is in its fields, in %+v, and in slog's attributes.

// writeError is the Format method of an error: detail for %+v, else its text as
// the verb wants it. plain is the error as a type without methods, for %#v.
func writeError(f fmt.State, verb rune, err error, plain any, detail func(w io.Writer)) {
	switch {
	case verb == 'v' && f.Flag('#'):
		_, _ = fmt.Fprintf(f, "%#v", plain)
	case verb == 'v' && f.Flag('+'):
		detail(f)
	default:
		_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), err.Error())
	}
}
