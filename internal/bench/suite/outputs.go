package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/respool/respool/internal/bench/museum"
)

// A record is a run as it is kept in JSON: what it found, and what was made of it.
type record struct {
	report
	Results  []result      `json:"results"`
	Profiles []profiled    `json:"profiles,omitempty"`
	Museum   *museum.Table `json:"museum,omitempty"`
}

// readRecord reads one that -json printed.
func readRecord(name string) (r record, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// with adds what old has of rows that r has not, in the order of names.
func (r *record) with(old record, names []string) {
	have := map[string]result{}
	for _, x := range append(old.Results, r.Results...) {
		have[x.Row] = x
	}
	r.Results = nil
	for _, name := range names {
		if x, ok := have[name]; ok {
			r.Results = append(r.Results, x)
		}
	}
	if r.Profiles == nil {
		r.Profiles = old.Profiles
	}
	if r.Museum == nil {
		r.Museum = old.Museum
	}
}

func (r record) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(r)
}

// unmeasured tells which entrants a row has no more figures of, and why.
func (r record) unmeasured() (out []string) {
	for _, x := range r.Results {
		for _, name := range x.Entrants {
			if why := x.Errs[name]; why != "" {
				out = append(out, fmt.Sprintf("%s of %s: %s", x.Row, name, why))
			}
		}
	}
	return out
}

// writeReport writes REPORT.md and its plots into dir.
func (r record) writeReport(dir string) error {
	plots, err := draw(dir, drawings(r.Results, r.Lines))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := (book{record: r, plots: plots}).writeMarkdown(&b); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "REPORT.md"), b.Bytes(), 0o644)
}

// home is where the report of a whole run goes.
const home = "internal/bench"

// reportDir is where o wants the report; "": nowhere. The report of a whole run goes
// to its home, which is there if the command is run at the root of the repository.
func reportDir(o options) (string, error) {
	if o.report != "" || !o.whole() {
		return o.report, nil
	}
	if _, err := os.Stat(filepath.Join(home, "go.mod")); err != nil {
		return "", errors.Join(errors.New("-report does not say where the report of a whole run goes, and "+home+" is not here"), err)
	}
	return home, nil
}
