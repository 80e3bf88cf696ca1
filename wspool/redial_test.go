package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"
	"testing"
	"time"
)

// The pauses for what the server said, at their edges.
func TestDefaultRedial(t *testing.T) {
	closed := func(code int) error { return fmt.Errorf("read: %w", &CloseError{Code: code}) }
	answered := func(status int, after time.Duration) error {
		return &DialError{Phase: "handshake", Status: status, RetryAfter: after, Err: errAnswer}
	}
	reset := fmt.Errorf("read: %w", syscall.ECONNRESET)
	const ms, s, m = time.Millisecond, time.Second, time.Minute
	for _, tc := range []struct {
		cause    error
		streak   int
		from, to time.Duration // both reached, nearly, unless equal
	}{
		{closed(1001), 1, 0, s},
		{closed(1012), 9, 0, s},
		{closed(1013), 1, 30 * s, m},
		{answered(429, 0), 5, 30 * s, m},
		{answered(503, 0), 1, 30 * s, m},
		{answered(503, 10*s), 1, 10 * s, 11 * s},
		{answered(429, 1), 1, 1, 1},
		{answered(429, math.MaxInt64), 1, 10 * m, 11 * m},
		{closed(1008), 1, 0, 0},
		{closed(3000), 2, 30 * s, m},
		{closed(4401), 3, m, 2 * m},
		{closed(4403), 1000, 5 * m, 10 * m},
		{answered(401, 0), 1, 0, 0},
		{answered(403, 0), 2, 30 * s, m},
		{answered(407, 0), math.MaxInt, 5 * m, 10 * m},
		{closed(1006), 1, 0, 100 * ms},
		{closed(1011), 2, 0, 200 * ms},
		{closed(1014), 1000, 0, 30 * s},
		{reset, 1, 0, 100 * ms},
		{io.ErrUnexpectedEOF, 3, 0, 400 * ms},
		{&DialError{Phase: "connect", Err: reset}, 3, 0, 0},
		{&DialError{Phase: "handshake", Err: &CloseError{Code: 1006}}, 3, 0, 0},
		{&DialError{Phase: "handshake", Err: &CloseError{Code: 1001}}, 3, 0, s},
		{&DialError{Phase: "set-up", Err: &CloseError{Code: 4401}}, 2, 30 * s, m},
		{answered(500, m), 3, 0, 0},
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
