package sim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// cell formats one cell of a table.
func cell(c any) string {
	switch c := c.(type) {
	case time.Duration:
		return short(c)
	case float64:
		return fmt.Sprintf("%.2f", c)
	case part:
		return fmt.Sprintf("%.1f %%", 100*float64(c))
	}
	return fmt.Sprint(c)
}

// part is a part of a whole, from 0 to 1, shown in percent.
type part float64

// percent formats a part for a sentence.
func percent(p float64) string {
	if p > 0 && p < 0.095 {
		return fmt.Sprintf("%.2g %%", 100*p)
	}
	return fmt.Sprintf("%.0f %%", 100*p)
}

// short formats a duration with three digits.
func short(d time.Duration) string {
	digit := time.Duration(1)
	for d >= 1000*digit {
		digit *= 10
	}
	d = d.Round(digit)
	unit, name := time.Nanosecond, "ns"
	switch {
	case d == 0:
		return "0"
	case d >= time.Second:
		unit, name = time.Second, "s"
	case d >= time.Millisecond:
		unit, name = time.Millisecond, "ms"
	case d >= time.Microsecond:
		unit, name = time.Microsecond, "µs"
	}
	return strconv.FormatFloat(float64(d)/float64(unit), 'f', -1, 64) + " " + name
}

// quantile returns the q-quantile of all; 0 if all is empty.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1))]
}

// jain is Jain's index of fairness of what several get: 1 if all get the same, 1/n if one of n
// gets everything, and 0 if none gets anything.
func jain(gets []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, x := range gets {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(gets)) * squares)
}

// timeline counts by intervals of time.
type timeline struct {
	every time.Duration
	n     []float64
	waits [][]time.Duration
}

// in returns the index of the interval that has at, and makes room for it.
func (l *timeline) in(at time.Duration) int {
	i := int(max(0, at) / l.every)
	for len(l.n) <= i {
		l.n, l.waits = append(l.n, 0), append(l.waits, nil)
	}
	return i
}

func (l *timeline) add(at time.Duration, n float64) { l.n[l.in(at)] += n }

func (l *timeline) wait(at, waited time.Duration) {
	i := l.in(at)
	l.waits[i] = append(l.waits[i], waited)
}

// sum returns what was counted from one instant until another, rounded to intervals.
func (l *timeline) sum(from, until time.Duration) (sum float64) {
	for i := int(from / l.every); i < min(len(l.n), int(until/l.every)); i++ {
		sum += l.n[i]
	}
	return sum
}

// line returns the counts, each multiplied by scale, up to an instant.
func (l *timeline) line(name string, scale float64, until time.Duration) Line {
	line := Line{Name: name}
	for i := range int(until / l.every) {
		n := 0.0
		if i < len(l.n) {
			n = l.n[i]
		}
		line.X = append(line.X, (float64(i)+0.5)*l.every.Seconds())
		line.Y = append(line.Y, n*scale)
	}
	return line
}

// p99 returns the 99th percentiles of the waits, in milliseconds, of intervals that have any.
func (l *timeline) p99(name string, until time.Duration) Line {
	line := Line{Name: name}
	for i := range min(len(l.waits), int(until/l.every)) {
		if len(l.waits[i]) > 0 {
			line.X = append(line.X, (float64(i)+0.5)*l.every.Seconds())
			line.Y = append(line.Y, float64(quantile(l.waits[i], 0.99))/float64(time.Millisecond))
		}
	}
	return line
}
