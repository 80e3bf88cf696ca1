package scene

import (
	"fmt"
	"io"
	"strings"
)

// row is one line of the table; an unknown figure is "-".
type row struct{ name, pool, dial, ratio string }

// print writes the table, the burst, how the figures were measured and what went wrong.
func (res *result) print(w io.Writer) {
	fmt.Fprintln(w)
	for _, r := range res.rows() {
		fmt.Fprintf(w, "%-30s %14s %20s %12s\n", r.name, r.pool, r.dial, r.ratio)
	}
	fmt.Fprintln(w)
	if b := res.Burst; b != nil {
		fmt.Fprintf(w, "Burst: %d callers at once, admission limit %d: %d accepted + %d refused = %d.\n",
			b.Callers, b.Limit, b.Accepted, b.Refused, b.Accepted+b.Refused)
	}
	res.printNotes(w)
	if res.Interrupted {
		fmt.Fprintln(w, "Interrupted: the figures are of the work done until then.")
	}
	for _, p := range res.Problems {
		fmt.Fprintf(w, "FAILED: %s\n", p)
	}
	if res.OK && res.Burst != nil {
		fmt.Fprintln(w, res.praise())
	}
}

// praise says how many replies were checked.
func (res *result) praise() string {
	n := res.Pool.Replies + res.Cold.Replies + res.Dial.Replies + res.Burst.Accepted
	unchecked := res.Pool.Unchecked + res.Cold.Unchecked + res.Dial.Unchecked
	if unchecked == 0 {
		return fmt.Sprintf("All %s replies were right: each names its client's utterance and audio.", thousands(n))
	}
	return fmt.Sprintf("%s replies came; %s of them name no utterance and could not be checked.",
		thousands(n), thousands(unchecked))
}

// printNotes says how the figures were measured.
func (res *result) printNotes(w io.Writer) {
	s := res.Setting
	about := fmt.Sprintf("%d clients at once, %d utterances each, %d chunks of %d bytes (seed %d). ",
		s.Clients, s.Utterances, s.Chunks, s.ChunkBytes, s.Seed)
	memory := "Memory is the growth of this process's whole heap"
	if s.Server == "embedded" {
		about += fmt.Sprintf("Simulated: the server is in this process, on loopback%s. "+
			"It sleeps %g ms in each handshake, for a real network, and %g ms before each reply, for a model. ",
			map[bool]string{true: " with TLS"}[s.TLS], s.HandshakeDelayMS, s.InferenceDelayMS)
		memory += ", the server's share included"
	} else {
		about += fmt.Sprintf("Server: %s. ", s.Server)
	}
	about += fmt.Sprintf("The pool is warm: its %d connections were dialed before the first utterance, as a "+
		"program does when it starts. The cold line is one utterance of each client through a pool that was not. "+
		"The dialers have one connection per client; the server counts each until it is closed on its side too. "+
		"Latency is from the wish for a connection to its release. ", s.Size)
	fmt.Fprintln(w, wrap(about+memory+".", 78))
}

// wrap breaks text into lines of at most width columns.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

func (res *result) rows() []row {
	figure := func(h *half, f func(*half) string) string {
		if h == nil {
			return "-"
		}
		return f(h)
	}
	line := func(name, key string, f func(*half) string) row {
		ratio := "-"
		if q, ok := res.Ratio[key]; ok {
			ratio = factor(q)
		}
		return row{name, figure(res.Pool, f), figure(res.Dial, f), ratio}
	}
	ms := func(v func(*half) float64) func(*half) string {
		return func(h *half) string {
			if h.Replies == 0 {
				return "-"
			}
			return fmt.Sprintf("%.1f ms", v(h))
		}
	}
	rows := []row{
		{"", "pool", "dial per utterance", "pool / dial"},
		line("utterances/s", "utterances_per_second", func(h *half) string { return thousands(int(h.PerSecond)) }),
		line("latency p50", "p50_ms", ms(func(h *half) float64 { return h.P50 })),
		line("latency p95", "p95_ms", ms(func(h *half) float64 { return h.P95 })),
		line("latency p99", "p99_ms", ms(func(h *half) float64 { return h.P99 })),
		{"latency p99, cold pool", figure(res.Cold, ms(func(h *half) float64 { return h.P99 })), "-", "-"},
		line("dials", "dials", func(h *half) string { return thousands(int(h.Dials)) }),
		line("peak connections at the server", "peak_connections", func(h *half) string {
			if h.PeakConnections == nil {
				return "-"
			}
			return thousands(int(*h.PeakConnections))
		}),
		{"waits for a connection", figure(res.Pool, func(h *half) string { return thousands(int(h.Waits)) }), "-", "-"},
		line("refusals", "", func(h *half) string { return thousands(h.Refused) }),
		line("heap in use at peak", "heap_peak_bytes", func(h *half) string { return size(float64(h.HeapPeak)) }),
		line("allocated per utterance", "allocated_per_utterance", func(h *half) string { return size(h.perUtterance()) }),
		line("right replies", "", func(h *half) string { return thousands(h.Replies) }),
		line("wrong or lost replies", "", func(h *half) string { return thousands(h.Wrong + h.Lost) }),
	}
	return rows
}

func factor(q float64) string {
	switch {
	case q >= 10:
		return fmt.Sprintf("%.0fx", q)
	case q >= 0.1:
		return fmt.Sprintf("%.2fx", q)
	}
	return fmt.Sprintf("%.2gx", q)
}

func size(bytes float64) string {
	if bytes >= 1<<20 {
		return fmt.Sprintf("%.1f MiB", bytes/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", bytes/(1<<10))
}

// thousands writes 4000 as 4,000.
func thousands(n int) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}
