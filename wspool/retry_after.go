package wspool

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Why a Retry-After field is ignored. None of them shows its value, which is the
// server's to choose and may repeat a secret.
var (
	errRetryForm      = errors.New("Retry-After ignored: it is neither seconds nor a date")
	errRetryNegative  = errors.New("Retry-After ignored: it is negative")
	errRetryTimestamp = errors.New("Retry-After ignored: it is a Unix time, not seconds to wait")
)

// firstTimestamp is the least number of seconds that is taken for a Unix time:
// some servers send the time at which to come back. As a delay it is 31 years.
const firstTimestamp = 1_000_000_000

// retryAfter reads the Retry-After field of an answer, by RFC 9110, section
// 10.2.3: a whole number of seconds, or a date in one of the three forms of its
// section 5.6.7, the current one and the two obsolete ones. A date that has
// passed is a delay of 0. set is false if there is no such field or it was
// ignored, for the reason bad.
func retryAfter(h http.Header, now time.Time, most time.Duration) (d time.Duration, set bool, bad error) {
	fields := h.Values("Retry-After")
	if len(fields) == 0 {
		return 0, false, nil
	}
	s := strings.Trim(fields[0], " \t")
	digits, negative := strings.CutPrefix(s, "-")
	if isNumber(digits) {
		n, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case negative:
			return 0, false, errRetryNegative
		case err != nil || n >= firstTimestamp:
			return 0, false, errRetryTimestamp
		}
		return min(time.Duration(n)*time.Second, most), true, nil
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), most), true, nil
	}
	return 0, false, errRetryForm
}

// isNumber reports whether s has digits and nothing else.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
