package main

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each subscriber begins before the restart, gets a gap, and goes on behind it.
func TestRun(t *testing.T) {
	var got bytes.Buffer
	if err := run(&got); err != nil {
		t.Fatalf("%v, after\n%s", err, &got)
	}
	stamps := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{6} `)
	text := stamps.ReplaceAllString(got.String(), "")
	stops, starts := strings.Index(text, "server stops\n"), strings.Index(text, "server starts\n")
	if stops < 0 || starts < stops {
		t.Fatalf("the server was not restarted:\n%s", &got)
	}
	lines := 2
	for _, symbol := range []string{"BTC", "ETH", "SOL"} {
		at := regexp.MustCompile(symbol + ` begins with price (\d+)\n(?s:.*)` + symbol + ` gap of \S+ behind price (\d+): .*\n(?s:.*)` +
			symbol + ` goes on with price (\d+); prices missed: (\d+)\n(?s:.*)` + symbol + ` ends with price (\d+)\n`).FindStringSubmatchIndex(text)
		if at == nil {
			t.Fatalf("%s did not begin, get a gap, go on and end:\n%s", symbol, &got)
		}
		var n [6]int
		for i := 1; i < len(n); i++ {
			n[i], _ = strconv.Atoi(text[at[2*i]:at[2*i+1]])
		}
		begin, last, next, missed, end := n[1], n[2], n[3], n[4], n[5]
		if last < begin+19 || next-last-1 != missed || end != next+19 {
			t.Errorf("%s: prices %d to %d, then %d to %d, missed %d:\n%s", symbol, begin, last, next, end, missed, &got)
		}
		if at[2] > stops || at[6] < stops {
			t.Errorf("%s did not begin before the restart and go on after it:\n%s", symbol, &got)
		}
		lines += 4
	}
	if n := strings.Count(text, "\n"); n != lines {
		t.Errorf("%d lines, want %d: a gap or a subscriber more than expected:\n%s", n, lines, &got)
	}
}
