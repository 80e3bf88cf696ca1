package scene

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How often progress is shown, and how wide the bar is. The whole line stays
// under 70 columns, so that it does not wrap.
const (
	barTick  = 100 * time.Millisecond
	lineTick = time.Second
	barWidth = 24
)

// progress shows how far the scene is: a bar that is redrawn on a terminal, a plain line
// each second elsewhere.
type progress struct {
	mu   sync.Mutex
	w    io.Writer
	bar  bool
	wide int // columns of the current line that are drawn
}

func newProgress(w io.Writer) *progress { return &progress{w: w, bar: isTerminal(w)} }

// isTerminal reports whether a line can be drawn again with a carriage return.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

// note writes one line of its own.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(fmt.Sprintf(format, args...), "\n")
}

// line draws over the current line, and over the ^C that a terminal may have echoed
// after it. The caller holds mu.
func (p *progress) line(s, end string) {
	if p.wide > 0 {
		fmt.Fprint(p.w, "\r", s, strings.Repeat(" ", max(p.wide+len("^C")-len(s), 0)), end)
	} else {
		fmt.Fprint(p.w, s, end)
	}
	p.wide = 0
	if end == "" {
		p.wide = len(s)
	}
}

// watch shows how done approaches total until the returned function is called,
// which writes the last line.
func (p *progress) watch(label string, total int, done *atomic.Int64) (stop func()) {
	begun := time.Now()
	quit, ended := make(chan struct{}), make(chan struct{})
	show := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.bar {
			p.line(drawBar(label, done.Load(), total, time.Since(begun)), "")
			return
		}
		p.line(drawLine(label, done.Load(), total, time.Since(begun)), "\n")
	}
	tick := lineTick
	if p.bar {
		tick = barTick
		show()
	}
	go func() {
		defer close(ended)
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				show()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
		show()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.bar {
			fmt.Fprintln(p.w)
			p.wide = 0
		}
	}
}

func drawBar(label string, done int64, total int, took time.Duration) string {
	full := int(done) * barWidth / total
	return fmt.Sprintf("%-5s [%s%s] %3d %%  %d/%d  %.1f s", label,
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), int(done)*100/total, done, total, took.Seconds())
}

func drawLine(label string, done int64, total int, took time.Duration) string {
	return fmt.Sprintf("%s: %d of %d utterances (%d %%) after %.1f s",
		label, done, total, int(done)*100/total, took.Seconds())
}
