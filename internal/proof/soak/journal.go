package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// kept is how many events a journal keeps.
const kept = 60

// journal has the last events of a run, and its violations.
type journal struct {
	began time.Time
	end   func() // ends the run

	faults atomic.Int64 // events so far

	mu         sync.Mutex // guards what follows
	out        io.Writer
	ring       [kept]string
	next       int
	violations int
}

// event notes a fault, or what was done to a pool.
func (j *journal) event(subject, format string, args ...any) {
	j.faults.Add(1)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ring[j.next%kept] = fmt.Sprintf("%9.3f s  %-12s %s", time.Since(j.began).Seconds(), subject, fmt.Sprintf(format, args...))
	j.next++
}

// violation reports that a guarantee was broken, with the events before it, and ends the run.
func (j *journal) violation(subject, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.violations++
	if j.violations > 5 {
		return // the first ones tell the story
	}
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n    ")
	fmt.Fprintf(j.out, "VIOLATION after %.3f s, %s: %s\n", time.Since(j.began).Seconds(), subject, text)
	if j.violations == 1 {
		fmt.Fprintln(j.out, "  the last events before it:")
		for i := max(0, j.next-kept); i < j.next; i++ {
			fmt.Fprintf(j.out, "  %s\n", j.ring[i%kept])
		}
	}
	j.end()
}

// print writes a line.
func (j *journal) print(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(j.out, format+"\n", args...)
}

// broken returns the number of violations.
func (j *journal) broken() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.violations
}
