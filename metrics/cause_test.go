package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

func TestLabel(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	for _, c := range []struct {
		cause error
		want  string
	}{
		{nil, "other"},
		{errors.New("password hunter2"), "other"},
		{fmt.Errorf("policy: made anew with %s", "a secret"), "other"},
		{resource.ErrClosed, "closed"},
		{fmt.Errorf("holder: %w", resource.ErrDiscarded), "discarded"},
		{fmt.Errorf("both: %w, %w", io.EOF, resource.ErrResized), "resized"},
		{policy.ErrMaxAge, "too old"},
		{fmt.Errorf("%w for 3s", wspool.ErrSilent), "peer silent"},
		{fmt.Errorf("%w (1 of 3): %w", policy.ErrCheckTimeout, context.DeadlineExceeded), "health check timed out"},
		{errors.Join(errors.New("a"), fmt.Errorf("%w", policy.ErrMaxLeases)), "lent too often"},
		{named("closed 1006"), "closed 1006"},
		{fmt.Errorf("x: %w", named("busy\n"+strings.Repeat("y", 100))), "busy " + strings.Repeat("y", 56) + "…"},
		{fmt.Errorf("x: %w", named("")), "other"},
		{&resource.PanicError{Where: "Check", Value: "boom"}, "panic"},
		{fmt.Errorf("%w: Check", resource.ErrGoexit), "goexit"},
		{fmt.Errorf("read: %w", io.EOF), "end of file"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), "timeout"},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), syscall.ECONNRESET.Error()},
		{fmt.Errorf("dial: %w", syscall.ETIMEDOUT), syscall.ETIMEDOUT.Error()},
		{fmt.Errorf("dial: %w", &net.DNSError{Err: "no answer", IsTimeout: true}), "timeout"},
		{fmt.Errorf("dial: %w", &net.DNSError{Err: "no such host", IsNotFound: true}), "other"},
		{badError{}, "other"},
		{fmt.Errorf("x: %w", badError{}), "other"},
	} {
		if got := m.Label(c.cause); got != c.want {
			t.Errorf("a %T is counted under %q, not %q", c.cause, got, c.want)
		}
	}
}

// A sentinel of the user's has a label from its second use on; a text that was made
// anew has none, however often, nor one that says a secret or is too long.
func TestLabel_Sentinels(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	moved := errors.New("DNS changed")
	for i, want := range []string{"other", "DNS changed", "DNS changed"} {
		if got := m.Label(fmt.Errorf("reset %d: %w", i, moved)); got != want {
			t.Errorf("use %d is counted under %q, not %q", i+1, got, want)
		}
	}
	for _, err := range []error{errors.New("wss://u:hunter2@h/?token=x"), errors.New(strings.Repeat("x", 65))} {
		for range 3 {
			if got := m.Label(err); got != "other" {
				t.Errorf("%v is counted under %q", err, got)
			}
		}
	}
	for range 1000 {
		if got := m.Label(errors.New("made anew")); got != "other" {
			t.Fatalf("a text that was made anew is counted under %q", got)
		}
	}
	for i := range 100 { // as many as there may be
		err := fmt.Errorf("sentinel %d", i)
		m.Label(err)
		m.Label(err)
	}
	if got := m.Label(moved); got != "DNS changed" {
		t.Errorf("is then counted under %q", got)
	}
}

// The labels of the errors for which resource, policy and wspool end resources.
// Dashboards have them in their queries.
func TestLabel_OfOurs(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	for want, err := range map[string]error{
		"closed": resource.ErrClosed, "discarded": resource.ErrDiscarded, "dropped": resource.ErrDropped,
		"reclaimed": resource.ErrReclaimed, "invalidated": resource.ErrInvalidated, "reset": resource.ErrReset,
		"resized": resource.ErrResized, "near its end": resource.ErrNearEnd, "not fresh": resource.ErrNotFresh,
		"preempted": resource.ErrPreempted, "goexit": resource.ErrGoexit, "make timed out": resource.ErrMakeTimeout,
		"release timed out": resource.ErrReleaseTimeout, "lease numbers used up": resource.ErrWornOut,
		"not verified": resource.ErrSuspect,

		"too old": policy.ErrMaxAge, "lent too often": policy.ErrMaxLeases, "idle too long": policy.ErrMaxIdle,
		"more idle than needed": policy.ErrSoftIdle, "health check timed out": policy.ErrCheckTimeout,

		"unsolicited message": wspool.ErrUnsolicited, "unread message": wspool.ErrUnread,
		"unfinished read or write": wspool.ErrUnfinished, "stale": wspool.ErrStale, "peer silent": wspool.ErrSilent,
		"message over the limit": wspool.ErrReadLimit, "not UTF-8": wspool.ErrNotUTF8, "flooded": wspool.ErrFlooded,
		"closed 1001": &wspool.CloseError{Code: 1001},
	} {
		if got := m.Label(fmt.Errorf("around: %w", err)); got != want {
			t.Errorf("%v is counted under %q, not %q", err, got, want)
		}
		if got := m.Label(errors.New(err.Error())); got != "other" {
			t.Errorf("another error with the text %q is counted under %q", err, got)
		}
	}
	if got := m.Label(fmt.Errorf("%w: %w", wspool.ErrStale, &wspool.CloseError{Code: 1006})); got != "stale" {
		t.Errorf("a stale connection is counted under %q", got)
	}
}

func TestLabel_OwnWords(t *testing.T) {
	m := newMeter(t, metrics.Config{Cause: func(err error) string {
		if errors.Is(err, io.EOF) {
			return "hung up"
		}
		if errors.Is(err, io.ErrClosedPipe) {
			panic("boom")
		}
		return ""
	}})
	for cause, want := range map[error]string{
		io.EOF: "hung up", resource.ErrReset: "reset", io.ErrClosedPipe: "other",
	} {
		if got := m.Label(cause); got != want {
			t.Errorf("%v is counted under %q, not %q", cause, got, want)
		}
	}
	if e := m.Snapshot(0).Events; len(e) != 1 || e[0].Kind != "panic" || e[0].Text != "boom" {
		t.Errorf("the events are %+v", e)
	}
}

func TestRefuser(t *testing.T) {
	inner := &resource.Rejection{Policy: "inner"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "other"},
		{errors.New("no"), "other"},
		{inner, "inner"},
		{&resource.AcquireError{Err: fmt.Errorf("x: %w", inner)}, "inner"},
		{&resource.Rejection{Err: inner}, "inner"},
		{&resource.Rejection{Policy: "outer", Err: inner}, "outer"},
		{&resource.Rejection{}, "other"},
		{&resource.Rejection{Err: &resource.Rejection{}}, "other"},
		{&resource.Rejection{Policy: "a\x00" + strings.Repeat("b", 100)}, "a " + strings.Repeat("b", 59) + "…"},
		{badError{}, "other"},
	} {
		if got := metrics.Refuser(c.err); got != c.want {
			t.Errorf("%v was refused by %q, not %q", c.want, got, c.want)
		}
	}
}

// Labels are bounded in number; what comes after goes under other, and nothing
// is lost.
func TestMeter_LabelsAreBounded(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	for i := range 1000 {
		trace.Destroyed(resource.DestroyEvent{Cause: named(fmt.Sprint("cause ", i))})
		trace.Refused(context.Background(), &resource.Rejection{Policy: fmt.Sprint("policy ", i)})
		trace.Rejected(context.Background(), &resource.Rejection{Policy: "policy 1"})
	}
	s := m.Snapshot(0)
	if n := len(s.Destroyed); n != 33 || s.Destroyed["other"] != 968 || s.Destroyed["cause 31"] != 1 {
		t.Errorf("%d causes: %v", n, s.Destroyed)
	}
	// Those of another source have labels all the same.
	for _, cause := range []error{resource.ErrReset, io.EOF, policy.ErrMaxAge, context.Canceled} {
		trace.Destroyed(resource.DestroyEvent{Cause: cause})
	}
	if d := m.Snapshot(0).Destroyed; len(d) != 37 || d["reset"] != 1 || d["end of file"] != 1 || d["too old"] != 1 || d["canceled"] != 1 || d["other"] != 968 {
		t.Errorf("%d causes: %v", len(d), d)
	}
	// The number of labels of all sources together is bounded as well.
	for source := range 10 {
		for i := range 100 {
			trace.Destroyed(resource.DestroyEvent{Cause: namedBy[source](fmt.Sprint("cause ", source, "-", i))})
		}
	}
	if d := m.Snapshot(0).Destroyed; len(d) > 256+10 || d["other"] < 968+1000-256 {
		t.Errorf("%d causes, %d under other", len(d), d["other"])
	}
	if n := len(s.Refused); n != 33 || s.Refused["other"] != 968 || s.Refused["policy 1"] != 1001 {
		t.Errorf("%d policies: %v", n, s.Refused)
	}
}
