package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"syscall"
	"testing"
	"time"
)

// The pauses for what the server said, at their edges.
func TestDefaultRedial(t *testing.T) {
	closed := func(code int) error { return fmt.Errorf("read: %w", &CloseError{Code: code}) }
	answered := func(status int) error {
		return &DialError{Phase: "handshake", Status: status, Err: errAnswer}
	}
	told := func(status int, after time.Duration) error {
		return &DialError{Phase: "handshake", Status: status, RetryAfter: after, RetryAfterSet: true, Err: errAnswer}
	}
	served := func(code int) error { return &EndError{Served: true, Err: closed(code)} }
	inLease := func(code int) error { return &EndError{Asked: true, Err: closed(code)} }
	unused := func(code int) error { return &EndError{Err: closed(code)} }
	reset := fmt.Errorf("read: %w", syscall.ECONNRESET)
	const ms, s, m = time.Millisecond, time.Second, time.Minute
	for _, tc := range []struct {
		cause    error
		streak   int
		from, to time.Duration // both reached, nearly, unless equal
	}{
		{closed(1001), 1, 0, s},
		{closed(1012), 9, 0, s},
		{closed(1013), 1, 2 * s / 3, s},
		{closed(1013), 3, 8 * s / 3, 4 * s},
		{closed(1013), 7, 40 * s, m},
		{served(1013), 2, 4 * s / 3, 2 * s},
		{answered(429), 1, 2 * s / 3, s},
		{answered(429), 5, 32 * s / 3, 16 * s},
		{answered(429), math.MaxInt, 40 * s, m},
		{answered(503), 1, 400 * ms / 3, 200 * ms},
		{answered(503), 2, 200 * ms, 300 * ms},
		{answered(503), 15, 38923 * ms, 58388 * ms},
		{answered(503), 16, 40 * s, m},
		{answered(503), math.MaxInt, 40 * s, m},
		{told(503, 10*s), 1, 10 * s, 11 * s},
		{told(429, 1), 1, 1, 1},
		{told(429, math.MaxInt64), 1, forever, forever + forever/10},
		{told(429, -5), 1, 0, 0},
		{told(429, 0), 9, 0, 0},
		{told(503, 0), 9, 0, 0},
		{told(418, 2*m), 1, 2 * m, 132 * s},
		{told(403, 0), 9, 0, 0},
		{told(401, m), 1, m, 66 * s},
		{told(500, m), 3, m, 66 * s},
		{closed(1008), 1, 0, 0},
		{closed(3000), 2, 700 * ms / 3, 350 * ms},
		{unused(4401), 3, 350 * ms, 525 * ms},
		{unused(4403), 1000, 400 * s, 10 * m},
		{answered(401), 1, 0, 0},
		{answered(403), 2, 700 * ms / 3, 350 * ms},
		{answered(407), math.MaxInt, 400 * s, 10 * m},
		{served(1008), 1, 0, 0},
		{served(1008), 3, 0, 200 * ms},
		{served(1008), 1000, 0, 30 * s},
		{inLease(1008), 1, 0, 0},
		{inLease(4401), 2, 0, 100 * ms},
		{inLease(4403), 1000, 0, 5 * s},
		{inLease(4000), 1000, 0, 5 * s},
		{inLease(1011), 1000, 0, 5 * s},
		{inLease(1001), 1000, 0, s},
		{unused(1011), 1000, 0, 30 * s},
		{closed(1006), 1, 0, 100 * ms},
		{closed(1011), 2, 0, 200 * ms},
		{closed(1014), 1000, 0, 30 * s},
		{reset, 1, 0, 100 * ms},
		{io.ErrUnexpectedEOF, 3, 0, 400 * ms},
		{&DialError{Phase: "connect", Err: reset}, 3, 0, 0},
		{&DialError{Phase: "handshake", Err: &CloseError{Code: 1006}}, 3, 0, 0},
		{&DialError{Phase: "handshake", Err: &CloseError{Code: 1001}}, 3, 0, s},
		{&DialError{Phase: "set-up", Err: &CloseError{Code: 4401}}, 2, 700 * ms / 3, 350 * ms},
		{answered(500), 3, 0, 0},
		{fmt.Errorf("%w for 10s", ErrSilent), 1, 0, 100 * ms},
		{ErrSilent, 3, 0, 400 * ms},
		{closed(1000), 1, 0, 0},
		{closed(1000), 2, 0, 100 * ms},
		{closed(1005), 4, 0, 400 * ms},
		{closed(4000), 1000, 0, 30 * s},
		{ErrUnsolicited, 1, 0, 0},
		{ErrUnsolicited, 3, 0, 200 * ms},
		{errors.New("x"), 2, 0, 100 * ms},
		{&DialError{Phase: "set-up", Err: ErrUnsolicited}, 9, 0, 0},
		{&DialError{Phase: "prepare", Err: context.Canceled}, 9, 0, 0},
	} {
		low, high := time.Duration(math.MaxInt64), time.Duration(-1)
		for range 2000 {
			d := DefaultRedial(tc.cause, tc.streak)
			low, high = min(low, d), max(high, d)
		}
		near := (tc.to - tc.from) / 20 // missed by 2000 draws once in 10^44
		if low < tc.from || low > tc.from+near || high > tc.to || high < tc.to-near {
			t.Errorf("%v, streak %d: %v to %v, want %v to %v", tc.cause, tc.streak, low, high, tc.from, tc.to)
		}
	}
}

// Two of the longest durations of a Config can be added to the clock, and a deadline after the
// longest has a UnixNano.
func TestConfig_Forever(t *testing.T) {
	var c Config
	v := reflect.ValueOf(&c).Elem()
	set := func(v reflect.Value) (n int) {
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && f.Type() == reflect.TypeFor[time.Duration]() {
				f.SetInt(math.MaxInt64)
				n++
			}
		}
		return n
	}
	if n := set(v) + set(v.FieldByName("Heartbeat")); n < 9 {
		t.Fatalf("only %d durations were found", n)
	}
	c = c.withDefaults()
	for name, d := range map[string]time.Duration{
		"DialTimeout": c.DialTimeout, "WriteTimeout": c.WriteTimeout, "CloseTimeout": c.CloseTimeout, "KeepAlive": c.KeepAlive,
		"PongWait": c.PongWait, "WatchAfter": c.WatchAfter, "Quiet": c.Quiet, "Heartbeat.Every": c.Heartbeat.Every,
	} {
		now := time.Now()
		if d < 50*365*24*time.Hour || now.Add(d).UnixNano() < now.UnixNano() || int64(time.Hour)+2*int64(d) < 0 {
			t.Errorf("%s is %v", name, d)
		}
	}
	h := &hub{cfg: c}
	if got := h.config().ReleaseTimeout; got < c.Quiet {
		t.Errorf("ReleaseTimeout is %v", got)
	}
}
