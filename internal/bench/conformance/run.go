package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

const (
	// childEnv makes this program run one case on one pool: "case/pool".
	childEnv = "RESPOOL_CONFORMANCE"
	// childTime bounds a child. Cases bound themselves well below it; it is for those
	// whose processor is blocked.
	childTime = 40 * time.Second
	// parallel is how many cases that mostly wait run at a time.
	parallel = 6
)

// A Table is the findings of all cases on all pools.
type Table struct {
	Pools []string `json:"pools"`
	Rows  []Row    `json:"rows"`
}

// A Row is one case.
type Row struct {
	Name   string             `json:"name"`
	What   string             `json:"what"`
	Issues []string           `json:"issues,omitempty"`
	Cells  map[string]Finding `json:"cells"` // by pool; none: no verdict
}

// Run runs every case on every one of kinds and reports its progress to w. The
// program must begin with [Child] and include kinds there. The error names the cases
// without a verdict; the Table has the rest.
func Run(ctx context.Context, kinds []peer.Kind, w io.Writer) (Table, error) {
	return runCases(ctx, Cases(), kinds, w)
}

func runCases(ctx context.Context, cases []Case, kinds []peer.Kind, w io.Writer) (Table, error) {
	t := Table{Rows: make([]Row, len(cases))}
	for _, k := range kinds {
		t.Pools = append(t.Pools, k.Name)
	}
	var mu sync.Mutex // guards errs, the rows and w
	var errs []error
	one := func(c Case, k peer.Kind, row *Row) {
		f, err := c.inChild(ctx, k)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, fmt.Errorf("conformance: %s on %s: %w", c.Name, k.Name, err))
			fmt.Fprintln(w, errs[len(errs)-1])
			return
		}
		row.Cells[k.Name] = f
		fmt.Fprintf(w, "conformance: %s on %s %s: %s\n", c.Name, k.Name, f.Verdict, f.Seen)
	}
	for _, alone := range []bool{false, true} {
		slots := make(chan struct{}, parallel)
		if alone {
			slots = make(chan struct{}, 1)
		}
		var all sync.WaitGroup
		for i, c := range cases {
			if c.alone != alone {
				continue
			}
			t.Rows[i] = Row{Name: c.Name, What: c.What, Issues: c.Issues, Cells: map[string]Finding{}}
			for _, k := range kinds {
				slots <- struct{}{}
				all.Go(func() {
					defer func() { <-slots }()
					one(c, k, &t.Rows[i])
				})
			}
		}
		all.Wait()
	}
	return t, errors.Join(errs...)
}

// Child comes first in a program that calls [Run]. If the process was started to run a
// case, on one of kinds, Child does so, and the program is to exit with status.
func Child(kinds []peer.Kind) (handled bool, status int) {
	names, ok := os.LookupEnv(childEnv)
	if !ok {
		return false, 0
	}
	if err := child(names, kinds); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return true, 1
	}
	return true, 0
}

func child(names string, kinds []peer.Kind) error {
	name, pool, _ := strings.Cut(names, "/")
	cases := Cases()
	c := slices.IndexFunc(cases, func(c Case) bool { return c.Name == name })
	k := slices.IndexFunc(kinds, func(k peer.Kind) bool { return k.Name == pool })
	if c < 0 || k < 0 {
		return fmt.Errorf("no such case or pool: %s", names)
	}
	f, err := decide(cases[c].run, kinds[k])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// inChild runs c on k in a process of its own. Its death or hang is a finding.
func (c Case) inChild(ctx context.Context, k peer.Kind) (Finding, error) {
	self, err := os.Executable()
	if err != nil {
		return Finding{}, err
	}
	limit, cancel := context.WithTimeout(ctx, childTime)
	defer cancel()
	cmd := exec.CommandContext(limit, self)
	cmd.Env = append(os.Environ(), childEnv+"="+c.Name+"/"+k.Name)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Finding{}, ctx.Err()
	case limit.Err() != nil:
		return Finding{Verdict: Fails, Seen: "the process hangs"}, nil
	case errors.As(err, &exit):
		return causeOfDeath(stderr.String())
	case err != nil:
		return Finding{}, err
	}
	var f Finding
	if err := json.Unmarshal(stdout.Bytes(), &f); err != nil {
		return f, fmt.Errorf("child printed %q: %w", stdout.String(), err)
	}
	return f, nil
}

// causeOfDeath reads why a child died: a panic, a fatal error of the runtime or, in a
// build with -race, a data race are findings. Anything else is not the pool's fault.
func causeOfDeath(stderr string) (Finding, error) {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || line == "WARNING: DATA RACE" {
			return Finding{Verdict: Fails, Seen: "the process dies", Note: line}, nil
		}
	}
	return Finding{}, fmt.Errorf("child failed: %s", stderr)
}

// Count returns how many cases have that verdict on pool.
func (t Table) Count(pool string, v Verdict) (n int) {
	for _, r := range t.Rows {
		if r.Cells[pool].Verdict == v {
			n++
		}
	}
	return n
}

// Failed returns what pool fails, a sentence for each case.
func (t Table) Failed(pool string) (out []string) {
	for _, r := range t.Rows {
		if f := r.Cells[pool]; f.Verdict == Fails {
			out = append(out, fmt.Sprintf("conformance, %s: %s (%s)", r.Name, r.What, f.Seen))
		}
	}
	return out
}

// String is f in a few words.
func (f Finding) String() string {
	text := map[Verdict]string{"": "?", Cannot: "-", Passes: "pass", Fails: "**fails**"}[f.Verdict]
	if f.Seen != "" {
		text += ": " + f.Seen
	}
	if f.Note != "" {
		text += " (" + f.Note + ")"
	}
	return text
}
