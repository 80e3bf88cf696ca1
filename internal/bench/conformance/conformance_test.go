package conformance

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/bench/peer"
)

func testKinds() []peer.Kind {
	return []peer.Kind{peer.Respool, peer.Puddle, peer.Channel, peer.SQL, peer.Commons, peer.Transport, peer.Pgxpool, flawed, other, greedy}
}

func TestMain(m *testing.M) {
	if handled, status := Child(testKinds()); handled {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

// known is which pools reliably fail each case, and what is seen then, in the finding
// or its note: the published defect, and not another one.
var known = map[string]map[string]string{
	"stale-release":     {"puddle": "two holders", "commons": "two holders"},
	"release-twice":     {"puddle": ""},
	"release-race":      {"channel": ""},
	"release-destroyed": {"puddle": ""},
	"destroy-twice":     {"puddle": "the process dies"},
	"use-released":      {"puddle": ""},
	"use-destroyed":     {"puddle": ""},
	"make-panics":       {"puddle": "the process dies", "database/sql": "the slot is lost", "net/http": ""},
	"make-exits":        {"puddle": "", "commons": ""},
	"destroy-panics":    {"puddle": "", "database/sql": "", "pgxpool": "the process dies"},
	"max-destroying":    {"flawed": ""},
	"max-reset":         {"puddle": "16 alive of 4"},
	"resize-grow":       {"database/sql": ""},
	"resize-shrink":     {"flawed": ""},
	"close-waiters":     {"puddle": "not told", "pgxpool": ""},
	"close-leaked":      {"puddle": "", "pgxpool": ""},
	"close-release":     {"puddle": ""},
	"ended-context":     {"commons": ""},
	"expired-waiter":    {"commons": ""},
	"leaving-waiter":    {"flawed": ""},
	"late-timeout":      {"flawed": ""},
	"lost-wakeup":       {"flawed otherwise": ""},
	"starvation":        {"commons": ""},
	"random-order":      {"database/sql": ""},
	"slow-handoff":      {"puddle": ""},
	"dial-storm":        {"puddle": " makes", "database/sql": ""},
	"own-dial":          {"puddle": ""},
	"dial-blocks":       {"flawed": ""},
	"outage":            {"puddle": "", "commons": ""},
	"release-dials":     {"commons": ""},
	"hung-make":         {"puddle": ""},
	"deaf-make":         {"database/sql": ""},
	"caller-kills-dial": {"database/sql": ""},
	"try-kills-dial":    {"puddle": ""},
	"checks-dial":       {"greedy": ""},
	"checks-reorder":    {"pgxpool": "", "greedy": ""},
	"dead-idle":         {"flawed": ""},
	"lifetime-busy":     {"flawed": ""},
	"min-idle":          {"flawed": ""},
	"jitter-cut":        {"pgxpool": ""},
	"reset-leased":      {"flawed otherwise": ""},
	"reset-making":      {"puddle": ""},
	"reset-waiters":     {"flawed": ""},
	"stats-scan":        {"puddle": ""},
	"stats-closed":      {"commons": "", "puddle": ""},
}

// TestCases: respool passes every case, and every case can be failed.
func TestCases(t *testing.T) {
	slots := make(chan struct{}, parallel)
	for _, alone := range []bool{false, true} {
		var all sync.WaitGroup
		for _, c := range Cases() {
			if c.alone != alone {
				continue
			}
			if len(known[c.Name]) == 0 {
				t.Errorf("%s: no pool is known to fail it", c.Name)
			}
			for _, k := range testKinds() {
				seen, fails := known[c.Name][k.Name]
				switch want := Passes; {
				case fails:
					want = Fails
					fallthrough
				case k.Name == peer.Respool.Name:
					if alone {
						verify(t, c, k, want, seen)
						continue
					}
					slots <- struct{}{}
					all.Go(func() {
						defer func() { <-slots }()
						verify(t, c, k, want, seen)
					})
				}
			}
		}
		all.Wait()
	}
}

func verify(t *testing.T, c Case, k peer.Kind, want Verdict, seen string) {
	f, err := c.inChild(t.Context(), k)
	if err != nil {
		t.Errorf("%s on %s: %v", c.Name, k.Name, err)
	} else if f.Verdict != want || !strings.Contains(f.Seen+f.Note, seen) {
		t.Errorf("%s on %s %s, want %s with %q: %s %s", c.Name, k.Name, f.Verdict, want, seen, f.Seen, f.Note)
	}
}

// TestMost: one of three attempts that differs does not decide, whichever it is.
func TestMost(t *testing.T) {
	for _, tt := range []struct {
		runs []Verdict
		want Verdict
	}{
		{[]Verdict{Passes, Passes}, Passes},
		{[]Verdict{Fails, Passes, Passes}, Passes},
		{[]Verdict{Fails, Passes, Fails}, Fails},
		{[]Verdict{Passes, Fails, Fails}, Fails},
	} {
		n := 0
		f, err := decide(most(3, func(p *probe) {
			n++
			p.judge(tt.runs[n-1] == Passes, "seen")
		}), peer.Respool)
		if err != nil || f.Verdict != tt.want || n != len(tt.runs) {
			t.Errorf("%v: %s after %d, %v", tt.runs, f.Verdict, n, err)
		}
	}
}

// TestCaseNames: names are unique and have no slash, which separates them from the
// pool's; sentences end.
func TestCaseNames(t *testing.T) {
	var names []string
	for _, c := range Cases() {
		if slices.Contains(names, c.Name) || strings.ContainsAny(c.Name, "/|` ") || !strings.HasSuffix(c.What, ".") {
			t.Errorf("%q: %q", c.Name, c.What)
		}
		names = append(names, c.Name)
	}
	for name := range known {
		if !slices.Contains(names, name) {
			t.Errorf("known: no case %s", name)
		}
	}
}

// TestChild: an error of the child itself is no finding.
func TestChild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := Case{Name: "none"}
	if _, err := c.inChild(ctx, peer.Respool); err == nil || !strings.Contains(err.Error(), "no such case") {
		t.Errorf("an unknown case: %v", err)
	}
	cancel()
	if _, err := c.inChild(ctx, peer.Respool); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	for _, tt := range []struct{ stderr, note string }{
		{"panic: oh [recovered]\n\tpanic: oh\ngoroutine 1", "panic: oh [recovered]"},
		{"noise\nfatal error: all goroutines are asleep - deadlock!\n", "fatal error: all goroutines are asleep - deadlock!"},
	} {
		if f, err := causeOfDeath(tt.stderr); err != nil || f.Verdict != Fails || f.Note != tt.note {
			t.Errorf("%q: %+v, %v", tt.stderr, f, err)
		}
	}
	if f, err := causeOfDeath("conformance: no such case"); err == nil {
		t.Errorf("an error of the child itself is a finding: %+v", f)
	}
}

// TestTable tables two cases on a pool that passes, one that fails and one without the
// operation, and a row without a verdict.
func TestTable(t *testing.T) {
	var some []Case
	for _, c := range Cases() {
		if c.Name == "destroy-twice" || c.Name == "release-twice" {
			some = append(some, c)
		}
	}
	table, err := runCases(t.Context(), some, []peer.Kind{peer.Respool, peer.Puddle, peer.Channel}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	var again Table
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	again.Rows = append(again.Rows, Row{Name: "x", What: "No verdict."})
	var cells []string
	for _, r := range again.Rows {
		for _, pool := range again.Pools {
			cell, _, _ := strings.Cut(r.Cells[pool].String(), " (panic: ") // several of its checks race to find it
			cells = append(cells, cell)
		}
	}
	want := []string{"pass", "**fails**: the second panics", "**fails**: the second hangs", "pass", "**fails**: the process dies", "-", "?", "?", "?"}
	if !slices.Equal(cells, want) || again.Count("puddle", Fails) != 2 || again.Count("channel", Cannot) != 1 || again.Count("respool", Passes) != 2 {
		t.Errorf("cells %q, want %q; %+v", cells, want, again)
	}
	if f := again.Failed("puddle"); len(f) != 2 || !strings.Contains(f[0], "release-twice: A second Release") || again.Failed("respool") != nil {
		t.Errorf("failed: %q", f)
	}
}
