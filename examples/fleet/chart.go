package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// history is which sessions existed when.
type history struct {
	changes []change
	length  time.Duration
	most    int
	mostAt  time.Duration // when that many existed first
}

func newHistory(changes []change, length time.Duration) *history {
	h := &history{changes: changes, length: length}
	for _, c := range changes {
		if c.count > h.most {
			h.most, h.mostAt = c.count, c.at
		}
	}
	return h
}

// utilisation returns the mean part of the limit that was in use from the first moment at
// which all of it was; ok is false if it never was.
func (h *history) utilisation() (from time.Duration, part float64, ok bool) {
	var sum float64
	last, count := time.Duration(0), 0
	for _, c := range h.changes {
		if c.at > h.length {
			break // the processes end
		}
		if ok {
			sum += float64(count) * (c.at - last).Seconds()
		}
		if !ok && c.count >= limit {
			from, ok = c.at, true
		}
		last, count = c.at, c.count
	}
	if !ok || h.length <= from {
		return 0, 0, false
	}
	sum += float64(count) * (h.length - last).Seconds()
	return from, sum / float64(limit) / (h.length - from).Seconds(), true
}

// stack is how many sessions each process had at one instant, in the order of names.
type stack [5]int

func (s stack) total() (n int) {
	for _, v := range s {
		n += v
	}
	return n
}

// columns cuts the run into n equal parts and returns, for each, the instant with the most
// sessions: a chart of them hides no excess.
func (h *history) columns(n int) []stack {
	all := make([]stack, n)
	var now stack
	next := 0 // index of the first change not yet applied
	for i := range all {
		end := h.length * time.Duration(i+1) / time.Duration(n)
		best := now
		for ; next < len(h.changes) && h.changes[next].at <= end; next++ {
			c := h.changes[next]
			now[slices.Index(names, c.process)] += c.delta
			if now.total() > best.total() {
				best = now
			}
		}
		all[i] = best
	}
	return all
}

const chartWidth = 90 // columns

// colorOf are the colors of the processes on a terminal.
var colorOf = [5]string{"34", "32", "35", "36", "33"}

// chart draws the sessions at the server over time: each letter is a session of that process.
func (t *timeline) chart(h *history, events []*event) {
	columns := h.columns(chartWidth)
	height := max(limit, h.most) + 1
	per := 1 + (height-1)/40 // sessions in a row
	fmt.Fprintf(t.w, "sessions at the server, by process; in each column the moment with the most\n")
	for top := (height + per - 1) / per * per; top > 0; top -= per {
		label := ""
		if top%5 == 0 || top == limit {
			label = fmt.Sprint(top)
		}
		fmt.Fprintf(t.w, "%4s |", label)
		for _, c := range columns {
			fmt.Fprint(t.w, t.mark(c, top, per))
		}
		if top-per < limit && limit <= top {
			fmt.Fprint(t.w, "  limit")
		}
		fmt.Fprintln(t.w)
	}
	axis, numbers := []byte(strings.Repeat("-", chartWidth)), []byte(strings.Repeat(" ", chartWidth+2))
	place := func(at time.Duration) int {
		return min(int(int64(at)*chartWidth/int64(h.length)), chartWidth-1)
	}
	for i, e := range events {
		x := place(e.at)
		axis[x] = '^'
		for x > 0 && numbers[x] != ' ' { // two events in one column
			x++
		}
		numbers[x] = byte('1' + i)
	}
	fmt.Fprintf(t.w, "     +%s  %s\n      %s\n", axis, clock(h.length), strings.TrimRight(string(numbers), " "))
}

// mark returns the character of a column in the row of the sessions top-per+1 to top.
func (t *timeline) mark(c stack, top, per int) string {
	need := top - per + 1
	sum := 0
	for i, n := range c {
		if sum += n; sum >= need {
			if need > limit {
				return t.styled(red, names[i])
			}
			return t.styled(colorOf[i], names[i])
		}
	}
	if need > limit && need-per <= limit {
		return t.styled(soft, ".")
	}
	return " "
}
