package suite

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/respool/respool/internal/bench/conformance"
)

// A sample is the figures of one measurement, by metric.
type sample map[string]float64

// A point is how many of something had happened by then.
type point struct {
	AtMs  float64 `json:"at_ms"`
	Count int     `json:"count"`
}

// A result is what one row measured: one sample a round, by entrant.
type result struct {
	Row      string              `json:"row"`
	Main     string              `json:"main"`     // the first entrant
	Entrants []string            `json:"entrants"` // all, in order
	Samples  map[string][]sample `json:"samples"`
	Curves   map[string][]point  `json:"curves,omitempty"` // by entrant, of its last round
	Errs     map[string]string   `json:"errors,omitempty"` // by entrant: why it has no more samples
}

// values are those of one metric, of every sample of the entrant that has it.
func (r result) values(entrant, metric string) (out []float64) {
	for _, s := range r.Samples[entrant] {
		if v, ok := s[metric]; ok {
			out = append(out, v)
		}
	}
	return out
}

// A record is a run as -json prints it.
type record struct {
	Machine     machine            `json:"machine"`
	Versions    []string           `json:"versions,omitempty"` // of the compared modules
	Rounds      int                `json:"rounds"`
	Seed        uint64             `json:"seed"`
	Lines       []line             `json:"lines"`
	Results     []result           `json:"results"`
	Profiles    []profiled         `json:"profiles,omitempty"`
	Conformance *conformance.Table `json:"conformance,omitempty"`
}

func readRecord(name string) (r record, err error) {
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return r, err
}

// result is that of a row; the zero value: it was not run.
func (r record) result(row string) result {
	i := slices.IndexFunc(r.Results, func(x result) bool { return x.Row == row })
	if i < 0 {
		return result{}
	}
	return r.Results[i]
}

// complete adds what old has and r does not; the results get the order of names.
func (r *record) complete(old record, names []string) {
	all := record{Results: append(r.Results, old.Results...)} // the first of a row counts
	r.Results = nil
	for _, name := range names {
		if x := all.result(name); x.Row != "" {
			r.Results = append(r.Results, x)
		}
	}
	if r.Profiles == nil {
		r.Profiles = old.Profiles
	}
	r.Conformance = cmp.Or(r.Conformance, old.Conformance)
}

// Unmeasured says which entrants a row has no more samples of, and why.
func (r record) Unmeasured() (out []string) {
	for _, x := range r.Results {
		for _, name := range x.Entrants {
			if why := x.Errs[name]; why != "" {
				out = append(out, fmt.Sprintf("%s of %s: %s", x.Row, name, why))
			}
		}
	}
	return out
}

// benchfmt has every sample in the format of Go benchmarks, for benchstat.
func (r record) benchfmt() []byte {
	var w bytes.Buffer
	goos, goarch, _ := strings.Cut(r.Machine.System, "/")
	fmt.Fprintf(&w, "goos: %s\ngoarch: %s\npkg: github.com/respool/respool/internal/bench\ncpu: %s\n", goos, goarch, r.Machine.CPU)
	word := strings.NewReplacer(" ", "-", "/", "-", ",", "", "\t", "-").Replace
	for _, x := range r.Results {
		for _, name := range slices.Sorted(maps.Keys(x.Samples)) {
			for _, s := range x.Samples[name] {
				at := map[string]string{} // the figures, by step of a sweep; "" is for those of no sweep
				for _, metric := range slices.Sorted(maps.Keys(s)) {
					unit, step, sweep := strings.Cut(metric, " at ")
					if sweep {
						step = "/at=" + word(step)
					}
					at[step] += fmt.Sprintf(" %v %s", s[metric], strings.ReplaceAll(unit, " ", "-"))
				}
				for _, step := range slices.Sorted(maps.Keys(at)) {
					fmt.Fprintf(&w, "BenchmarkRow/row=%s/pool=%s%s-%d 1%s\n", word(x.Row), word(name), step, r.Machine.GOMAXPROCS, at[step])
				}
			}
		}
	}
	return w.Bytes()
}

// A machine is where the figures were measured.
type machine struct {
	CPU        string `json:"cpu"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Go         string `json:"go"`
	System     string `json:"system"`
	Load       string `json:"load,omitempty"` // load averages at the start; only Linux has them
}

func describeMachine() machine {
	info, _ := os.ReadFile("/proc/cpuinfo") // only on Linux
	load, _ := os.ReadFile("/proc/loadavg")
	m := machine{
		CPU: cpuModel(string(info)), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if f := strings.Fields(string(load)); len(f) >= 3 {
		m.Load = strings.Join(f[:3], " ")
	}
	return m
}

// cpuModel finds the name of the processor in /proc/cpuinfo.
func cpuModel(info string) string {
	for line := range strings.Lines(info) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// busyShare is the share of the processors that other programs may use, as a load
// average, in a run whose figures are worth a report.
const busyShare = 0.75

// busy says whether the load average of the last minute is too high to measure.
func (m machine) busy() bool {
	var last float64
	_, err := fmt.Sscan(m.Load, &last)
	return err == nil && last > busyShare*float64(m.GOMAXPROCS)
}

// like says whether figures of both can stand in one table.
func (m machine) like(o machine) bool {
	m.Load, o.Load = "", ""
	return m == o
}

func (m machine) String() string {
	s := fmt.Sprintf("%s, GOMAXPROCS %d, %s %s", m.CPU, m.GOMAXPROCS, m.Go, m.System)
	if m.Load != "" {
		s += ", load averages " + m.Load
	}
	return s
}

var compared = regexp.MustCompile(`^vitess.io/vitess$|/(websocket|pgx/v5|puddle/v2|go-commons-pool/v2|go-redis/v9|go-ethereum|jsonrpc2)$`)

// versions are those of the compared modules and of puddle below respool.
func versions() (out []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, m := range info.Deps {
		if compared.MatchString(m.Path) {
			out = append(out, m.Path+" "+m.Version)
		}
	}
	return out
}
