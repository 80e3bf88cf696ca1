package live

import (
	"fmt"
	"strconv"
	"time"
)

// Figures as text, written as page/format.js writes them.

// number writes n with a comma before each group of three digits.
func number[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counted writes n with the noun for so many.
func counted[N int | int64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}

// formatDuration writes a duration with three digits, or in two units.
func formatDuration(d time.Duration) string {
	s := d.Seconds()
	switch {
	case d == 0:
		return "0"
	case s < 0.9995e-3:
		return threeDigits(s*1e6) + " µs"
	case s < 0.9995:
		return threeDigits(s*1e3) + " ms"
	case s < 59.95:
		return threeDigits(s) + " s"
	}
	return formatAge(d)
}

// threeDigits writes f, which is not negative, with three digits.
func threeDigits(f float64) string {
	switch {
	case f >= 99.5:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 9.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// formatAge writes a duration in whole units, as an age.
func formatAge(d time.Duration) string {
	s := int64(d / time.Second)
	days, h, m := s/86400, s/3600%24, s/60%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, h)
	case h > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case m > 0:
		return fmt.Sprintf("%d min %d s", m, s%60)
	}
	return fmt.Sprintf("%d s", s)
}
