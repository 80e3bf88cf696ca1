package endpoint

import (
	"fmt"
	"math"
	"slices"
)

// Record is what a [Set] has counted about an endpoint.
//
// These count as a failure: DialFailed without a Status or with one of 500 or more, Closed
// without a Code or with 1006, 1011, 1013 or 1014, and CallFailed. Silence counts as three.
//
// These count as a refusal: DialFailed with a smaller Status, such as 401, 403 or 429, and
// Closed with 1002, 1003, 1007 to 1010, 1015 or a code of 3000 or more. A refusal is often
// about the client, whose token has expired, and then every endpoint refuses. It counts as a
// failure only if at least half of the other endpoints, and at least one, have accepted the
// client since.
//
// Success and Connected count as successes. Everything else counts as nothing, also Closed with
// 1000, 1001 or 1012: the endpoint says that it leaves, or restarts.
type Record struct {
	Endpoint Endpoint
	// Failures is how many failures there were in a row, up to the last evidence.
	Failures int
	// Refusals is how many of them are refusals.
	Refusals int
	// Good and Bad are how many successes and failures there were in the present
	// [SetConfig.Interval]; for Sweep, in the one that ends.
	Good, Bad int64
}

// Ejector decides which endpoints fail. Its methods must be pure functions of their arguments
// and must not block; they are called by many goroutines at once. A panic in one counts as a
// decision for the endpoint.
//
// The [Set] decides when to ask, whether the limit permits the ejection, and when the endpoint
// is tried again.
type Ejector interface {
	// Failed is called after each failure of an endpoint that is not ejected. It returns why
	// the endpoint fails, or nil.
	Failed(r Record) error
	// Sweep is called at the end of each [SetConfig.Interval], with the records of all
	// endpoints that are not ejected. It sets the elements of causes, which has the same length
	// and is all nil, of those that fail.
	Sweep(r []Record, causes []error)
}

// ConsecutiveFailures returns an ejector for endpoints with n failures in a row. It panics if n
// is less than 1.
func ConsecutiveFailures(n int) Ejector {
	if n < 1 {
		panic(fmt.Sprintf("endpoint: n of ConsecutiveFailures must be at least 1, got %d", n))
	}
	return consecutive(n)
}

type consecutive int

func (n consecutive) Failed(r Record) error {
	if r.Failures < int(n) {
		return nil
	}
	return fmt.Errorf("endpoint: %d failures in a row", r.Failures)
}

func (n consecutive) Sweep([]Record, []error) {}

// SuccessRateConfig configures [SuccessRate].
type SuccessRateConfig struct {
	// MinVolume is how many successes and failures together an endpoint must have had in an
	// interval to be judged. Zero: 100.
	MinVolume int64
	// MinEndpoints is how many endpoints must have had that many for any to be judged. Zero: 5;
	// at least 2.
	MinEndpoints int
	// Sigmas is how many standard deviations below the mean a success rate must be. Among n
	// endpoints none is further below than the square root of n-1. Zero: 1.9.
	Sigmas float64
	// MinGap is how far below the mean it must be at least: of endpoints that are nearly alike
	// one is always many standard deviations away. Zero: 0.05; at most 1.
	MinGap float64
}

// SuccessRate returns an ejector for endpoints whose success rate in one interval is far below
// that of the others: below the mean minus Sigmas standard deviations, and by MinGap. It panics
// if a number is negative or not a number, MinGap is more than 1, or MinEndpoints is 1.
func SuccessRate(c SuccessRateConfig) Ejector {
	if c.MinVolume < 0 || c.MinEndpoints < 0 || c.MinEndpoints == 1 || !(c.Sigmas >= 0) || !(c.MinGap >= 0 && c.MinGap <= 1) {
		panic(fmt.Sprintf("endpoint: bad SuccessRateConfig %+v: MinVolume and Sigmas must be at least 0, MinEndpoints 0 or at least 2, MinGap between 0 and 1", c))
	}
	orDefault(&c.MinGap, 0.05)
	orDefault(&c.MinVolume, 100)
	orDefault(&c.MinEndpoints, 5)
	orDefault(&c.Sigmas, 1.9)
	return &successRate{c}
}

type successRate struct{ cfg SuccessRateConfig }

func (*successRate) Failed(Record) error { return nil }

func (s *successRate) Sweep(r []Record, causes []error) {
	judged := func(r *Record) (rate float64, ok bool) {
		n := r.Good + r.Bad
		return float64(r.Good) / float64(n), n > 0 && n >= s.cfg.MinVolume
	}
	n, sum, squares := 0, 0.0, 0.0
	for i := range r {
		if rate, ok := judged(&r[i]); ok {
			n++
			sum += rate
		}
	}
	if n < s.cfg.MinEndpoints {
		return
	}
	mean := sum / float64(n)
	for i := range r {
		if rate, ok := judged(&r[i]); ok {
			squares += (rate - mean) * (rate - mean)
		}
	}
	bound := mean - max(s.cfg.Sigmas*math.Sqrt(squares/float64(n)), s.cfg.MinGap)
	for i := range r {
		if rate, ok := judged(&r[i]); ok && rate < bound {
			causes[i] = fmt.Errorf("endpoint: success rate of %.3g is below %.3g", rate, bound)
		}
	}
}

// AnyOf returns an ejector that decides for an endpoint if any of the given ones does. It
// panics if one is nil.
func AnyOf(e ...Ejector) Ejector {
	for i := range e {
		if e[i] == nil {
			panic(fmt.Sprintf("endpoint: ejector %d of AnyOf is nil", i))
		}
	}
	return anyOf(slices.Clone(e))
}

type anyOf []Ejector

func (a anyOf) Failed(r Record) error {
	for _, e := range a {
		if cause := e.Failed(r); cause != nil {
			return cause
		}
	}
	return nil
}

func (a anyOf) Sweep(r []Record, causes []error) {
	for _, e := range a {
		some := make([]error, len(causes))
		e.Sweep(r, some)
		for i, cause := range some {
			if causes[i] == nil {
				causes[i] = cause
			}
		}
	}
}

// Never returns an ejector that ejects nothing.
func Never() Ejector { return never{} }

type never struct{}

func (never) Failed(Record) error     { return nil }
func (never) Sweep([]Record, []error) {}
