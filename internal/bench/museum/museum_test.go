package museum

import (
	"bytes"
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

// peers are those whose defects are asserted, and ours.
func peers() []peer.Kind {
	return []peer.Kind{peer.Respool, peer.Puddle, peer.Channel, peer.SQL, peer.Commons, peer.Transport, peer.Pgxpool, flawed, other, greedy}
}

func TestMain(m *testing.M) {
	if handled, status := Child(peers()); handled {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

// known is who fails each exhibit, and can be relied on to.
var known = map[string][]peer.Kind{
	"stale-release":     {peer.Puddle, peer.Commons},
	"release-twice":     {peer.Puddle},
	"release-race":      {peer.Channel},
	"release-destroyed": {peer.Puddle},
	"destroy-twice":     {peer.Puddle},
	"use-released":      {peer.Puddle},
	"use-destroyed":     {peer.Puddle},
	"make-panics":       {peer.Puddle, peer.SQL, peer.Transport},
	"make-exits":        {peer.Puddle, peer.Commons},
	"destroy-panics":    {peer.Puddle, peer.SQL, peer.Pgxpool},
	"max-destroying":    {flawed},
	"max-reset":         {peer.Puddle},
	"resize-grow":       {peer.SQL},
	"resize-shrink":     {flawed},
	"close-waiters":     {peer.Puddle, peer.Pgxpool},
	"close-leaked":      {peer.Puddle, peer.Pgxpool},
	"close-release":     {peer.Puddle},
	"ended-context":     {peer.Commons},
	"expired-waiter":    {peer.Commons},
	"leaving-waiter":    {flawed},
	"late-timeout":      {flawed},
	"lost-wakeup":       {other},
	"starvation":        {peer.Commons},
	"random-order":      {peer.SQL},
	"slow-handoff":      {peer.Puddle},
	"dial-storm":        {peer.Puddle, peer.SQL},
	"own-dial":          {peer.Puddle},
	"dial-blocks":       {flawed},
	"outage":            {peer.Puddle, peer.Commons},
	"release-dials":     {peer.Commons},
	"hung-make":         {peer.Puddle},
	"deaf-make":         {peer.SQL},
	"caller-kills-dial": {peer.SQL},
	"try-kills-dial":    {peer.Puddle},
	"checks-dial":       {greedy},
	"checks-reorder":    {peer.Pgxpool, greedy},
	"dead-idle":         {flawed},
	"lifetime-busy":     {flawed},
	"min-idle":          {flawed},
	"jitter-cut":        {peer.Pgxpool},
	"reset-leased":      {other},
	"reset-making":      {peer.Puddle},
	"reset-waiters":     {flawed},
	"stats-scan":        {peer.Puddle},
	"stats-closed":      {peer.Commons, peer.Puddle},
}

// TestExhibits: ours passes every exhibit, and every exhibit can be failed.
func TestExhibits(t *testing.T) {
	places := make(chan struct{}, abreast)
	for _, alone := range []bool{false, true} {
		var all sync.WaitGroup
		for _, e := range Exhibits() {
			if e.alone != alone {
				continue
			}
			bad := known[e.Name]
			if len(bad) == 0 {
				t.Errorf("%s: nobody is known to fail it", e.Name)
			}
			for _, k := range append([]peer.Kind{peer.Respool}, bad...) {
				want := Fails
				if k.Name == peer.Respool.Name {
					want = Passes
				}
				if alone {
					verify(t, e, k, want)
					continue
				}
				places <- struct{}{}
				all.Go(func() {
					defer func() { <-places }()
					verify(t, e, k, want)
				})
			}
		}
		all.Wait()
	}
}

func verify(t *testing.T, e Exhibit, k peer.Kind, want Verdict) {
	f, err := e.run(t.Context(), k)
	if err != nil {
		t.Errorf("%s on %s: %v", e.Name, k.Name, err)
	} else if f.Verdict != want {
		t.Errorf("%s on %s %s: %s %s", e.Name, k.Name, f.Verdict, f.Seen, f.Note)
	} else {
		t.Logf("%s on %s %s: %s %s", e.Name, k.Name, f.Verdict, f.Seen, f.Note)
	}
}

// TestSeen: what is seen is the published defect, and not some other.
func TestSeen(t *testing.T) {
	for _, tt := range []struct {
		exhibit string
		kind    peer.Kind
		seen    string // or in the note
	}{
		{"stale-release", peer.Puddle, "two holders"},
		{"stale-release", peer.Commons, "two holders"},
		{"destroy-twice", peer.Puddle, "the process dies"},
		{"make-panics", peer.Puddle, "the process dies"},
		{"make-panics", peer.SQL, "the slot is lost"},
		{"dial-storm", peer.Puddle, " makes"},
		{"close-waiters", peer.Puddle, "not told"},
		{"destroy-panics", peer.Pgxpool, "the process dies"},
		{"max-reset", peer.Puddle, "16 alive of 4"},
	} {
		t.Run(tt.exhibit+"/"+tt.kind.Name, func(t *testing.T) {
			e, ok := find(Exhibits(), func(e Exhibit) bool { return e.Name == tt.exhibit })
			if !ok {
				t.Fatal("no such exhibit")
			}
			f, err := e.run(t.Context(), tt.kind)
			if err != nil || f.Verdict != Fails || !strings.Contains(f.Seen, tt.seen) {
				t.Errorf("%+v, %v; not %q", f, err, tt.seen)
			}
		})
	}
}

// TestMost: one run of three that differs does not decide, whichever it is.
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
		f, err := most(3, func(context.Context, peer.Kind) (Finding, error) {
			n++
			return Finding{Verdict: tt.runs[n-1]}, nil
		})(t.Context(), peer.Respool)
		if err != nil || f.Verdict != tt.want || n != len(tt.runs) {
			t.Errorf("%v: %s after %d, %v", tt.runs, f.Verdict, n, err)
		}
	}
}

// TestExhibitsAreToldApart: names are unique and have no slash, which separates
// them from the pool's; sentences end.
func TestExhibitsAreToldApart(t *testing.T) {
	var names []string
	for _, e := range Exhibits() {
		if slices.Contains(names, e.Name) || strings.ContainsAny(e.Name, "/|` ") || !strings.HasSuffix(e.What, ".") {
			t.Errorf("%q: %q", e.Name, e.What)
		}
		names = append(names, e.Name)
	}
	for name := range known {
		if !slices.Contains(names, name) {
			t.Errorf("known: no exhibit %s", name)
		}
	}
}

// TestChildEnds: what goes wrong with the child itself is no finding.
func TestChildEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := Exhibit{Name: "none"}
	if _, err := e.run(ctx, peer.Respool); err == nil || !strings.Contains(err.Error(), "no such exhibit") {
		t.Errorf("an unknown exhibit: %v", err)
	}
	cancel()
	if _, err := e.run(ctx, peer.Respool); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestObituary(t *testing.T) {
	for _, tt := range []struct{ stderr, note string }{
		{"panic: oh [recovered]\n\tpanic: oh\ngoroutine 1", "panic: oh [recovered]"},
		{"noise\nfatal error: all goroutines are asleep - deadlock!\n", "fatal error: all goroutines are asleep - deadlock!"},
	} {
		if f, err := obituary(tt.stderr); err != nil || f.Verdict != Fails || f.Note != tt.note {
			t.Errorf("%q: %+v, %v", tt.stderr, f, err)
		}
	}
	if f, err := obituary("museum: no such exhibit"); err == nil {
		t.Errorf("an error of our own is a finding: %+v", f)
	}
}

// TestTour tables two exhibits of a passing, a failing and a pool that cannot.
func TestTour(t *testing.T) {
	var some []Exhibit
	for _, e := range Exhibits() {
		if e.Name == "destroy-twice" || e.Name == "release-twice" {
			some = append(some, e)
		}
	}
	table, err := tour(t.Context(), some, []peer.Kind{peer.Respool, peer.Puddle, peer.Channel}, io.Discard)
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
	var b bytes.Buffer
	if err := again.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	const want = "| what must hold | respool | puddle | channel |\n" +
		"|---|---|---|---|\n" +
		"| `release-twice` A second Release of one lease does nothing. (found in the code) | pass | **fails**: the second panics <sup>1</sup> | **fails**: the second hangs |\n" +
		"| `destroy-twice` A second Destroy of one lease does nothing. (found in the code) | pass | **fails**: the process dies <sup>2</sup> | - |\n\n" +
		"1. puddle, `release-twice`: panic: tried to release resource that is not acquired\n" +
		"2. puddle, `destroy-twice`: panic: …\n"
	got := b.String()
	if i := strings.LastIndex(got, "panic: "); i >= 0 { // of which of its parts finds out first
		got = got[:i] + "panic: …\n"
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestMarkdown: what was not found out is a question mark, and a bar no column.
func TestMarkdown(t *testing.T) {
	table := Table{Pools: []string{"a", "b"}, Rows: []Row{{
		Name: "x", What: "Holds.", Issues: []string{"p#1", "q#2"},
		Cells: map[string]Finding{"a": {Verdict: Fails, Seen: "1|2"}},
	}, {
		Name: "y", What: "Holds as well.", Cells: map[string]Finding{"a": {Verdict: Passes}, "b": {Verdict: Cannot}},
	}}}
	if n := table.Published(); n != 1 {
		t.Errorf("%d of the rows were published", n)
	}
	var b bytes.Buffer
	if err := table.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	const want = "| what must hold | a | b |\n|---|---|---|\n| `x` Holds. (p#1, q#2) | **fails**: 1\\|2 | ? |\n" +
		"| `y` Holds as well. (found in the code) | pass | - |\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
