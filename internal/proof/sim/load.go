package sim

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Arrival is one client of an open load: clients that arrive whatever becomes of the others.
type Arrival struct {
	At   time.Duration // since the beginning
	Hold time.Duration // how long it holds its lease
}

func byArrival(a, b Arrival) int { return cmp.Compare(a.At, b.At) }

// Rate is how many clients arrive in a second, at each time of the load.
type Rate struct {
	Peak float64 // the largest that At returns
	At   func(t time.Duration) float64
}

// Steady is a constant rate.
func Steady(perSecond float64) Rate {
	return Rate{perSecond, func(time.Duration) float64 { return perSecond }}
}

// Bursts is a low rate that is high for the first part of each period.
func Bursts(low, high float64, period, lasts time.Duration) Rate {
	return Rate{max(low, high), func(t time.Duration) float64 {
		if t%period < lasts {
			return high
		}
		return low
	}}
}

// Diurnal is a rate that swings around its mean, as a sine, once in each period: it rises
// first. swing is from 0 to 1.
func Diurnal(mean, swing float64, period time.Duration) Rate {
	return Rate{mean * (1 + swing), func(t time.Duration) float64 {
		return mean * (1 + swing*math.Sin(2*math.Pi*float64(t)/float64(period)))
	}}
}

// Hold draws how long a client holds its lease, at least a nanosecond.
type Hold func(r *rand.Rand) time.Duration

// Exponential holds have no memory, as in M/M/c.
func Exponential(mean time.Duration) Hold {
	return func(r *rand.Rand) time.Duration { return max(1, time.Duration(r.ExpFloat64()*float64(mean))) }
}

// Uniform holds lie between half of the mean and one and a half times of it.
func Uniform(mean time.Duration) Hold {
	return func(r *rand.Rand) time.Duration { return max(1, time.Duration((0.5+r.Float64())*float64(mean))) }
}

// LogNormal holds have a long tail: 16 % are longer than the median times e^sigma.
func LogNormal(median time.Duration, sigma float64) Hold {
	return func(r *rand.Rand) time.Duration {
		return max(1, time.Duration(math.Exp(sigma*r.NormFloat64())*float64(median)))
	}
}

// Arrivals draws the clients of a Poisson process with that rate, in order of arrival. No two
// arrive at the same instant.
func Arrivals(r *rand.Rand, rate Rate, hold Hold, lasts time.Duration) (all []Arrival) {
	for at := time.Duration(0); ; {
		at += 1 + time.Duration(r.ExpFloat64()/rate.Peak*float64(time.Second))
		if at >= lasts {
			return all
		}
		if holds := hold(r); r.Float64()*rate.Peak < rate.At(at) {
			all = append(all, Arrival{at, holds})
		}
	}
}

// WriteArrivals writes arrivals so that [ReadArrivals] reads them: one line for each, with the
// time of its arrival since the beginning and its hold time, both in microseconds. Fractions of
// a microsecond are rounded. The comment, of any number of lines, comes first.
func WriteArrivals(w io.Writer, comment string, all []Arrival) error {
	b := bufio.NewWriter(w)
	for line := range strings.Lines(comment) {
		fmt.Fprintf(b, "# %s\n", strings.TrimSuffix(line, "\n"))
	}
	for _, a := range all {
		fmt.Fprintf(b, "%d %d\n", a.At.Round(time.Microsecond).Microseconds(), a.Hold.Round(time.Microsecond).Microseconds())
	}
	return b.Flush()
}

// maxBadLines is how many bad lines an error of [ReadArrivals] names.
const maxBadLines = 10

// ErrRecord is the error of [ReadArrivals] for a text that it does not understand.
var ErrRecord = errors.New("sim: bad record of arrivals")

// ReadArrivals reads recorded arrivals: one line for each client, with the time of its arrival
// since the beginning and its hold time, both in whole microseconds, in any order. Empty lines
// and lines that begin with # are ignored. It returns them in order of arrival, each at an
// instant of its own: one that arrives with another arrives a nanosecond later. The error
// matches [ErrRecord] and names the first bad lines.
func ReadArrivals(r io.Reader) ([]Arrival, error) {
	var all []Arrival
	var bad []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		a, err := readArrival(text)
		if err != nil {
			if bad = append(bad, fmt.Errorf("line %d: %w", n, err)); len(bad) == maxBadLines {
				break
			}
			continue
		}
		all = append(all, a)
	}
	if err := lines.Err(); err != nil {
		bad = append(bad, err)
	}
	if len(all) == 0 && bad == nil {
		bad = append(bad, errors.New("no arrival"))
	}
	if bad != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, errors.Join(bad...))
	}
	slices.SortStableFunc(all, byArrival)
	for i := 1; i < len(all); i++ {
		all[i].At = max(all[i].At, all[i-1].At+1)
	}
	return all, nil
}

// maxRecorded bounds the times of a record, so that sums of them do not overflow.
const maxRecorded = 365 * 24 * time.Hour

func readArrival(text string) (a Arrival, err error) {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return a, fmt.Errorf("want 2 numbers, got %d fields", len(fields))
	}
	for i, to := range []*time.Duration{&a.At, &a.Hold} {
		us, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil || us < 0 || us > int64(maxRecorded/time.Microsecond) {
			return a, fmt.Errorf("field %d must be a number from 0 to %d, got %.40q", i+1, int64(maxRecorded/time.Microsecond), fields[i])
		}
		*to = time.Duration(us) * time.Microsecond
	}
	a.Hold = max(1, a.Hold)
	return a, nil
}
