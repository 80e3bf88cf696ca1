package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// timeline writes what happens, one line each: plain text, with colors on a terminal.
type timeline struct {
	w      io.Writer
	colors bool
}

func newTimeline(w io.Writer) *timeline { return &timeline{w, isTerminal(w)} }

// isTerminal reports whether w is a terminal that shows colors.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("NO_COLOR") != "" {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

// Codes of colors and styles, for terminals.
const (
	bold = "1"
	red  = "1;31"
	soft = "2"
)

// styled returns text in a style, on a terminal.
func (t *timeline) styled(style, text string) string {
	if !t.colors || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// title says what runs, and what the columns are.
func (t *timeline) title(sh *show) {
	fmt.Fprintf(t.w, "%d processes share %d sessions through %s; lease %s, seed %d\n",
		len(names)-1, limit, sh.engine.what, clock(sh.lease), sh.seed)
	fmt.Fprintf(t.w, "the server ends a session after %s of silence; while the engine does not answer: %s\n", clock(sh.server.silence), sh.lost)
	fmt.Fprintf(t.w, "a process: sessions granted, held, and its fair share; L: the engine is learning, !: it does not answer\n\n")
	var b strings.Builder
	fmt.Fprintf(&b, "%8s %6s", "time", "server")
	for _, name := range names {
		fmt.Fprintf(&b, "  %-9s", name)
	}
	fmt.Fprintln(t.w, t.styled(bold, strings.TrimRight(b.String(), " ")))
}

// row writes the present state, and what just happened.
func (t *timeline) row(sh *show, what string) {
	at, n := time.Since(sh.server.began), sh.server.now()
	count := fmt.Sprintf("%3d/%d", n, limit)
	if n > limit {
		count = t.styled(red, count)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%6.1f s %s", at.Seconds(), count)
	for i := range names {
		b.WriteString("  ")
		b.WriteString(cell(sh, i))
	}
	if what != "" {
		b.WriteString("  ")
		b.WriteString(t.styled(bold, what))
	}
	fmt.Fprintln(t.w, strings.TrimRight(b.String(), " "))
}

// cell returns the column of the process with that index, nine characters wide.
func cell(sh *show, i int) string {
	if i >= len(sh.processes) {
		return fmt.Sprintf("%-9s", "-")
	}
	s, r := sh.processes[i].look()
	text := ""
	switch {
	case s == killed:
		text = "killed"
	case s == stopped:
		text = "stopped"
	case r == nil:
		text = "starting"
	default:
		text = fmt.Sprintf("%2d %2d %2d", r.Granted, r.Held, r.Target)
		switch {
		case r.Lost > 0:
			text += "!"
		case r.Learning:
			text += "L"
		}
	}
	return fmt.Sprintf("%-9s", text)
}

// close writes the chart and the figures of the run.
func (t *timeline) close(sh *show, h *history) {
	fmt.Fprintln(t.w)
	t.chart(h, sh.events)
	fmt.Fprintln(t.w)
	for i, e := range sh.events {
		after := ""
		if e.after != "" {
			after = "; " + e.after
		}
		fmt.Fprintf(t.w, "%3d. %6.1f s  %s%s\n", i+1, e.at.Seconds(), e.what, after)
	}
	fmt.Fprintln(t.w)
	served, operations, over := int64(0), int64(0), int64(0)
	for _, p := range sh.ended {
		if _, r := p.look(); r != nil {
			served, operations, over = served+r.Served, operations+r.Operations, over+r.Over
		}
	}
	fmt.Fprintf(t.w, "leases served            %d, by %d processes\n", served, len(sh.ended))
	fmt.Fprintf(t.w, "operations of the engine %.1f a second\n", float64(operations)/h.length.Seconds())
	fmt.Fprintf(t.w, "outlived their grant     %d sessions, as the processes know it\n", over)
	if from, part, ok := h.utilisation(); ok {
		fmt.Fprintf(t.w, "sessions in use          %.1f %% of %d, from %s on\n", 100*part, limit, clock(from))
	}
	most := fmt.Sprintf("%d of %d", h.most, limit)
	if h.most > limit {
		most = t.styled(red, most)
	}
	fmt.Fprintf(t.w, "most sessions at once    %s, first at %s\n", most, clock(h.mostAt))
}
