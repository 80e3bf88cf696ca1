package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/respool/respool/wspool/cluster"
)

// display shows the load of each server: bars that are redrawn on a terminal, plain lines
// elsewhere.
type display struct {
	w     io.Writer
	bars  bool
	every time.Duration // between two pictures
	lines int           // of the bars that are on the screen
	last  []string      // these lines
}

func newDisplay(w io.Writer) *display {
	if isTerminal(w) {
		return &display{w: w, bars: true, every: 200 * time.Millisecond}
	}
	return &display{w: w, every: time.Second}
}

// isTerminal reports whether w is a terminal on which lines can be drawn again.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

// barWidth is how many columns the bar of the most loaded server has.
const barWidth = 40

// title says what runs.
func (d *display) title(sh *show) {
	fmt.Fprintf(d.w, "%d callers share 5 servers, then 6; an exchange takes a server %v\n\n", sh.callers, sh.work)
	if d.bars {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%8s %6s", "time", "all")
	for _, c := range sh.columns {
		fmt.Fprintf(&b, "  %-9s", c.name)
	}
	fmt.Fprintln(d.w, strings.TrimRight(b.String(), " "))
}

// load shows the load now.
func (d *display) load(sh *show, s cluster.Stats) {
	if sh.window() == 0 {
		return
	}
	if d.bars {
		d.erase()
		d.last = pictures(sh, s)
		d.draw()
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%6.1f s %6.0f", time.Since(sh.began).Seconds(), sh.rate(""))
	for _, c := range sh.columns {
		state, rate, conns := c.look(sh, s)
		text := fmt.Sprintf("%d %d", rate, conns)
		if state != "" {
			text = state
		}
		fmt.Fprintf(&b, "  %-9s", text)
	}
	fmt.Fprintln(d.w, strings.TrimRight(b.String(), " "))
}

// look returns the replies of a server in the last second and its connections, or, in a word, why
// it has none.
func (c *column) look(sh *show, s cluster.Stats) (state string, rate, conns int) {
	p := c.server
	switch {
	case p == nil:
		return "-", 0, 0
	case p.killed:
		return "killed", 0, 0
	}
	if e := find(s, p); e != nil {
		conns = e.Pool.Idle + e.Pool.Leased
	}
	if p.stopped {
		return "stopped", 0, conns
	}
	return "", int(sh.rate(p.name) + 0.5), conns
}

// pictures returns a bar for each server, and a line for all.
func pictures(sh *show, s cluster.Stats) (lines []string) {
	most := 1
	for _, c := range sh.columns {
		_, rate, _ := c.look(sh, s)
		most = max(most, rate)
	}
	for _, c := range sh.columns {
		state, rate, conns := c.look(sh, s)
		name, status := c.name, ""
		if c.server != nil {
			name = c.server.name
			if e := find(s, c.server); e != nil {
				status = e.Status.String()
			}
		}
		bar := strings.Repeat("█", rate*barWidth/most)
		if state != "" {
			bar = state
		}
		lines = append(lines, fmt.Sprintf("  %-3s %-*s %5d/s %3d conns  %s", name, barWidth, bar, rate, conns, status))
	}
	c := sh.client.counts()
	return append(lines, fmt.Sprintf("  %6.1f s   %6.0f/s   %d replies, %d without a reply, %d failed",
		time.Since(sh.began).Seconds(), sh.rate(""), c.done, c.late, c.failed))
}

// erase removes the bars from the screen.
func (d *display) erase() {
	if d.lines > 0 {
		fmt.Fprintf(d.w, "\r\x1b[%dA\x1b[J", d.lines) // up, and clear to the end of the screen
		d.lines = 0
	}
}

// draw draws the bars.
func (d *display) draw() {
	for _, line := range d.last {
		fmt.Fprintln(d.w, line)
	}
	d.lines = len(d.last)
}

// event shows what happens, above the bars.
func (d *display) event(sh *show, what string) {
	d.erase()
	fmt.Fprintf(d.w, "%6.1f s %s\n", time.Since(sh.began).Seconds(), what)
	d.draw()
}

// summary shows the totals.
func (d *display) summary(sh *show) {
	c := sh.client.counts()
	s := sh.client.cluster.Stats()
	fmt.Fprintln(d.w)
	fmt.Fprintf(d.w, "replies              %d\n", c.done)
	fmt.Fprintf(d.w, "exchanges failed     %d\n", c.failed)
	fmt.Fprintf(d.w, "without a reply      %d, of these %d while a server was stopped\n", c.late, sh.excused)
	fmt.Fprintf(d.w, "connections dialled  %d, moved %d\n", s.Begun.Total(), s.Moved)
}
