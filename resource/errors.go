package resource

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/respool/respool/internal/cause"
)

// What an acquire can fail with, besides the end of its own context. Each is
// the cause of an [*AcquireError]; test with errors.Is.
var (
	// ErrClosed: the pool is closed, or was while the caller waited.
	ErrClosed = cause.New("resource: pool is closed", "closed")
	// ErrRejected: a policy refused. A [*Rejection] in the chain tells more. It
	// was the creation of a resource that was refused, not the caller, if
	// ErrMakeRefused matches too; [AcquireError.Reason] tells the four apart.
	ErrRejected = errors.New("resource: rejected")
	// ErrMakeRefused: [Config.MakeGate] or [Config.Quota] refused a creation.
	ErrMakeRefused = errors.New("resource: creation refused")
	// ErrNoneIdle: nothing idle, and the request did not want to wait.
	ErrNoneIdle = errors.New("resource: none idle")
	// ErrMaxWait: [Request.MaxWait] was over. It matches
	// context.DeadlineExceeded too.
	ErrMaxWait = errors.New("resource: no resource within MaxWait")
	// ErrOutage: makes keep failing and nothing leased could come back.
	// [AcquireError.RetryAfter] says when the next one is tried, and
	// [AcquireError.Wait] waits for that.
	ErrOutage = errors.New("resource: makes keep failing")
	// ErrFull: [Pool.MakeOne] found no room for another resource.
	ErrFull = errors.New("resource: pool is at its maximum")
	// ErrMakeTimeout: a make took longer than [Config.MakeTimeout].
	ErrMakeTimeout = cause.New("resource: make timed out", "make timed out")
)

// ErrTolerated in what a [Health] check returns keeps the resource all the same.
var ErrTolerated = errors.New("resource: failed check tolerated")

// Why the pool itself ended a resource: the cause that Destroy and Trace see.
var (
	// ErrDiscarded: [Lease.Discard] gave no cause of its own.
	ErrDiscarded = cause.New("resource: discarded", "discarded")
	// ErrDropped: nobody had ended the lease, and nobody could any more when the
	// garbage collector found it. The pool itself does not look for such; one that
	// is built on it may, as wspool does.
	ErrDropped = cause.New("resource: lease was dropped, not ended", "dropped")
	// ErrReclaimed: [Pool.Reclaim] ended the lease, not its holder.
	ErrReclaimed = cause.New("resource: lease was reclaimed", "reclaimed")
	// ErrInvalidated: the invalidate function of [Config.Watch] gave no cause of its own.
	ErrInvalidated = cause.New("resource: invalidated", "invalidated")
	// ErrReleaseTimeout: an OnRelease took longer than [Config.ReleaseTimeout].
	ErrReleaseTimeout = cause.New("resource: OnRelease timed out", "release timed out")
	// ErrWornOut: it had all the leases that can be numbered, 2³⁶-2³² (64
	// billion).
	ErrWornOut = cause.New("resource: lease numbers are used up", "lease numbers used up")
	// ErrReset: [Pool.Reset] gave no cause of its own.
	ErrReset = cause.New("resource: reset", "reset")
	// ErrResized: the pool was resized below what it had.
	ErrResized = cause.New("resource: pool resized", "resized")
	// ErrSuspect: other idle ones had failed their Health checks, this one had not
	// been checked yet, callers waited and the pool was full, so it made room.
	ErrSuspect = cause.New("resource: not verified in time, and a caller waits", "not verified")
	// ErrNearEnd: nothing idle had the [Request.MinRemaining] that a caller
	// asked for, and the pool was full, so the oldest idle one made room.
	ErrNearEnd = cause.New("resource: too near its end for a waiting caller", "near its end")
	// ErrNotFresh: a caller asked for one that nobody had used
	// ([Request.Fresh]), and the pool was full, so one that was used made room.
	ErrNotFresh = cause.New("resource: used, and a waiting caller wants a new one", "not fresh")
	// ErrPreempted: the total of a [Keyed] was used up, and another key wanted
	// the place.
	ErrPreempted = cause.New("resource: preempted by another key", "preempted")
	// ErrGoexit: a function called runtime.Goexit instead of returning.
	ErrGoexit = cause.New("resource: function ended its goroutine", "goexit")
)

// errNotReturned is the cause of a resource whose holder in Do panicked.
var errNotReturned = cause.New("resource: the function in Do did not return", "not returned")

// AcquireError says why no resource was lent and how the pool was just then.
// Unwrap leads to Err, so errors.Is finds context.DeadlineExceeded,
// context.Canceled, [ErrClosed], [ErrRejected], [ErrMakeRefused], [ErrOutage],
// [ErrNoneIdle] or what Make returned.
type AcquireError struct {
	Err        error         // why
	Reason     Reason        // the same as one of a fixed set; what Stats counts
	Waited     time.Duration // how long the caller had waited
	RetryAfter time.Duration // when it is worth asking again; 0: not known
	Load       Load          // how the pool was
	LastMake   error         // how the last make failed, if none has succeeded since

	tried   <-chan struct{} // closed when the next make has been tried; nil: see retryAt
	retryAt time.Time       // when RetryAfter has passed; zero: RetryAfter is 0
}

// Error says what failed and why. It has no figures in it, so that the same
// failure reads the same each time; those are in the fields, in %+v, and in what
// LogValue gives to slog.
func (e *AcquireError) Error() string { return withLastMake("resource: acquire", e.Err, e.LastMake) }

func withLastMake(what string, err, last error) string {
	if last == nil || errors.Is(err, last) {
		return fmt.Sprintf("%s: %v", what, err)
	}
	return fmt.Sprintf("%s: %v; last make: %v", what, err, last)
}

// Format adds, for %+v, how long the caller had waited, how the pool was, and when
// it is worth asking again.
func (e *AcquireError) Format(f fmt.State, verb rune) {
	type plain AcquireError
	writeError(f, verb, e, (*plain)(e), func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%v (waited %v; %v", e, e.Waited, e.Load)
		if e.RetryAfter > 0 {
			_, _ = fmt.Fprintf(w, "; retry after %v", e.RetryAfter)
		}
		_, _ = io.WriteString(w, ")")
	})
}

// LogValue is a group: the text, the reason, how long the caller had waited, when it is worth
// asking again if that is known, and how the pool was.
func (e *AcquireError) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("text", e.Error()), slog.String("reason", e.Reason.String()), slog.Duration("waited", e.Waited)}
	if e.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
	}
	return slog.GroupValue(append(attrs, slog.Any("load", e.Load))...)
}

// Unwrap leads to Err.
func (e *AcquireError) Unwrap() error { return e.Err }

// WarmError says why [Pool.Warm] has made fewer than it was asked for. Unwrap
// leads to Err and LastMake.
type WarmError struct {
	Err      error // the context's
	Have     int   // resources that exist
	Want     int   // resources that were asked for
	LastMake error // how the last make failed or was refused, if none has succeeded since
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

// outageCause is ErrOutage and the failure that it comes from. Its text is made
// when it is asked for, since that calls the methods of a Make's own error.
type outageCause struct{ last error }

func (e *outageCause) Error() string   { return fmt.Sprintf("%v: %v", ErrOutage, e.last) }
func (e *outageCause) Unwrap() []error { return []error{ErrOutage, e.last} }

// Rejection is a refusal that tells who refused and for how long. An
// [Admission] returns it, or the pool makes one around what it returned.
// errors.Is(err, ErrRejected) holds, as it does for Err and what Err wraps.
type Rejection struct {
	Policy     string        // which policy; may be empty
	RetryAfter time.Duration // when it is worth asking again; 0: not known
	Err        error         // what the policy said; may be nil
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

// CloseError says what was still out when the context of [Pool.Close] ended.
type CloseError struct {
	Err    error    // the context's
	Load   Load     // what is out
	Busy   int      // goroutines of the pool's own: makes, sweeps, checks, calls of OnRelease, a Queue or Trace
	Leased []uint64 // the IDs of the resources that holders still have, at most 16 of them
}

// Error says that something was still out, without figures: see [AcquireError.Error].
func (e *CloseError) Error() string {
	return fmt.Sprintf("resource: close: not everything has ended: %v", e.Err)
}

// Format adds, for %+v, what was still out.
func (e *CloseError) Format(f fmt.State, verb rune) {
	type plain CloseError
	writeError(f, verb, e, (*plain)(e), func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%v (%v; leased IDs %v; %d goroutines)", e, e.Load, e.Leased, e.Busy)
	})
}

// LogValue is a group: the text, and what was still out.
func (e *CloseError) LogValue() slog.Value {
	return slog.GroupValue(slog.String("text", e.Error()), slog.Any("load", e.Load),
		slog.Any("leased", e.Leased), slog.Int("goroutines", e.Busy))
}

// Unwrap leads to Err.
func (e *CloseError) Unwrap() error { return e.Err }
