package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/bench/museum"
)

func TestMain(m *testing.M) {
	if handled, status := museum.Child(kinds()); handled {
		os.Exit(status)
	}
	if os.Getenv(peerEnv) != "" { // the rows of WebSockets run this program again
		if err := servePeer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// TestRows does every row once with little work: each must end without an
// error, and measure what its goals are about, from every entrant.
func TestRows(t *testing.T) {
	o, err := parse([]string{"-rounds=1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows(kinds()) {
		t.Run(r.name, func(t *testing.T) {
			var progress bytes.Buffer
			got := runRows(t.Context(), []row{r}, smallSize(), o, &progress)
			if len(got) != 1 || len(got[0].Errs) > 0 {
				t.Fatalf("%+v\n%s", got, &progress)
			}
			asked := 0
			for _, g := range goals(smallSize()) {
				if g.row != r.name {
					continue
				}
				asked++
				for _, e := range r.entrants {
					n := len(metricOf(got[0].Samples[e.name], g.metric))
					if sweep := strings.Contains(g.metric, " at "); n != 1 && (!sweep || e.name == got[0].Main || e.name == g.than) {
						t.Errorf("%s: %d values of %q, not 1", e.name, n, g.metric)
					}
				}
				if l := judge(g, got[0]); l.Ours == nil || len(r.entrants) > 1 && l.Ratio == nil {
					t.Errorf("%q is not judged: %+v", g.metric, l)
				}
			}
			if asked == 0 {
				t.Error("the row has no goal")
			}
			if !strings.Contains(progress.String(), "round 1/1 "+r.entrants[0].name) {
				t.Errorf("no progress:\n%s", &progress)
			}
		})
	}
}

func TestGoalsHaveRows(t *testing.T) {
	names := map[string][]entrant{}
	for _, r := range rows(kinds()) {
		if names[r.name] != nil {
			t.Errorf("two rows are %q", r.name)
		}
		names[r.name] = r.entrants
	}
	for _, g := range goals(smallSize()) {
		found := g.than == ""
		for _, e := range names[g.row] {
			found = found || e.name == g.than
		}
		if names[g.row] == nil || !found {
			t.Errorf("no row %q with %q", g.row, g.than)
		}
	}
}

// fakeRow is a row of two entrants with fixed figures, that notes the turns.
func fakeRow(turns *[]string, closed *int, fail string) row {
	one := func(name string, v float64) entrant {
		return entrant{name, func(context.Context, size) (session, error) {
			return session{
				measure: func(context.Context) (sample, error) {
					*turns = append(*turns, name)
					if name == fail && len(*turns) > 2 {
						return nil, errors.New("broke")
					}
					return sample{"ns/op": v}, nil
				},
				close: func() error { *closed++; return nil },
			}, nil
		}}
	}
	return row{"fake", []entrant{one("ours", 10), one("theirs", 40)}}
}

func TestTurns(t *testing.T) {
	var turns []string
	var closed int
	o, _ := parse([]string{"-rounds=2"}, io.Discard)
	got := runRows(t.Context(), []row{fakeRow(&turns, &closed, "")}, smallSize(), o, io.Discard)
	if s := strings.Join(turns, " "); s != "ours theirs theirs ours" {
		t.Errorf("turns: %s", s)
	}
	if closed != 2 || got[0].Main != "ours" || len(got[0].Samples["theirs"]) != 2 {
		t.Errorf("closed %d; %+v", closed, got)
	}
}

func TestRowError(t *testing.T) {
	var turns []string
	var closed int
	o, _ := parse([]string{"-rounds=2"}, io.Discard)
	got := runRows(t.Context(), []row{fakeRow(&turns, &closed, "theirs")}, smallSize(), o, io.Discard)
	if got[0].Errs["theirs"] != "round 2: broke" || len(got[0].Samples["ours"]) != 2 {
		t.Errorf("%+v", got[0])
	}
	if closed != 2 {
		t.Errorf("%d of 2 were closed", closed)
	}
	l := judge(goal{row: "fake", metric: "ns/op", rule: ratioAtMost, bound: 0.5, than: "theirs"}, got[0])
	if l.Reached {
		t.Error("a row with an error reached its goal")
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-rounds=0"}, {"-only=("}, {"-pools=("}, {"extra"}, {"-nonsense"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	if _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	if err := run(t.Context(), kinds(), []string{"-only=^no such row$"}, io.Discard, io.Discard); err == nil {
		t.Error("no row is no error")
	}
}

// TestProgram runs the program itself on one quick row, both ways of printing.
func TestProgram(t *testing.T) {
	var table, js bytes.Buffer
	if err := run(t.Context(), kinds(), []string{"-only=^spike-short$", "-rounds=1"}, &table, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GOMAXPROCS", "spike-short", "total ms", "puddle"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	if err := run(t.Context(), kinds(), []string{"-only=^spike-short$", "-rounds=1", "-json"}, &js, io.Discard); err != nil {
		t.Fatal(err)
	}
	var rep struct {
		report
		Results []result `json:"results"`
	}
	if err := json.Unmarshal(js.Bytes(), &rep); err != nil {
		t.Fatalf("%v in\n%s", err, &js)
	}
	if len(rep.Lines) != 2 || len(rep.Results) != 1 || rep.Machine.GOMAXPROCS < 1 {
		t.Errorf("JSON lacks something:\n%s", &js)
	}
}
