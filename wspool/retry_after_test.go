package wspool

import (
	"errors"
	"math"
	"net/http"
	"testing"
	"time"
)

// Retry-After by RFC 9110, section 10.2.3, and what is no such thing.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	const most = 10 * time.Minute
	for _, tc := range []struct {
		field string
		want  time.Duration
		bad   error
	}{
		{"0", 0, nil},
		{"7", 7 * time.Second, nil},
		{" 7\t", 7 * time.Second, nil},
		{"007", 7 * time.Second, nil},
		{"600", most, nil},
		{"601", most, nil},
		{"315360000", most, nil}, // ten years
		{"999999999", most, nil},
		{"Sat, 28 Nov 2026 12:01:30 GMT", 90 * time.Second, nil},
		{"Saturday, 28-Nov-26 12:01:30 GMT", 90 * time.Second, nil},
		{"Sat Nov 28 12:01:30 2026", 90 * time.Second, nil},
		{"Sat, 28 Nov 2026 11:59:59 GMT", 0, nil},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0, nil},
		{"Sat, 28 Nov 2036 12:00:00 GMT", most, nil},
		{"1000000000", 0, errRetryTimestamp},
		{"1795867200", 0, errRetryTimestamp},
		{"1795867200000", 0, errRetryTimestamp},
		{"99999999999999999999999", 0, errRetryTimestamp},
		{"-1", 0, errRetryNegative},
		{"-99999999999999999999999", 0, errRetryNegative},
		{"", 0, errRetryForm},
		{"-", 0, errRetryForm},
		{"+5", 0, errRetryForm},
		{"1.5", 0, errRetryForm},
		{"5s", 0, errRetryForm},
		{"0x10", 0, errRetryForm},
		{"soon", 0, errRetryForm},
		{"2026-11-28T12:01:30Z", 0, errRetryForm},
	} {
		d, set, bad := retryAfter(http.Header{"Retry-After": {tc.field}}, now, most)
		if d != tc.want || set != (tc.bad == nil) || !errors.Is(bad, tc.bad) {
			t.Errorf("%q: %v, set %v, %v; want %v, %v", tc.field, d, set, bad, tc.want, tc.bad)
		}
	}
	if d, set, bad := retryAfter(http.Header{}, now, most); d != 0 || set || bad != nil {
		t.Errorf("no field: %v, set %v, %v", d, set, bad)
	}
	if d, _, _ := retryAfter(http.Header{"Retry-After": {"999999999"}}, now, math.MaxInt64); d != 999999999*time.Second {
		t.Errorf("the longest: %v", d)
	}
}
