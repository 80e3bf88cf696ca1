package sim

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/respool/respool/internal/random"
)

// Config says how a scene is played.
type Config struct {
	Seed     uint64
	Clients  int                  // how many clients; 0: the scene's own number
	Curves   bool                 // also play what only curves need
	Recorded []Arrival            // what the scene size-recorded plays; nil: the record of this package
	Progress func(variant string) // called before each variant; nil: not called
}

// MinClients and MaxClients bound Config.Clients.
const (
	MinClients = 1_000
	MaxClients = 100_000
)

// Check returns an error if a field is out of range.
func (c *Config) Check() error {
	if c.Clients != 0 && (c.Clients < MinClients || c.Clients > MaxClients) {
		return fmt.Errorf("clients must be 0 or between %d and %d, got %d", MinClients, MaxClients, c.Clients)
	}
	return nil
}

// Scene is one promise and how it is tested.
type Scene struct {
	Name    string
	Promise string // what the figures show
	Clients int    // callers that wait and come again, or arrivals, as the scene says
	play    func(s *Stage)
}

// Scenes returns all scenes, in the order of the documents.
func Scenes() []Scene {
	return []Scene{
		overload, retries, priority, ageing, tenants, hotKey, holdTime,
		outage, fleetStorm, shrink, cold, rolling, blackHole, quota, steadySize, burstSize, recordedSize,
	}
}

// Matching returns the scenes whose names match the expression.
func Matching(expr string) ([]Scene, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("bad regular expression: %w", err)
	}
	var some []Scene
	for _, s := range Scenes() {
		if re.MatchString(s.Name) {
			some = append(some, s)
		}
	}
	if some == nil {
		return nil, fmt.Errorf("no scene matches %q", expr)
	}
	return some, nil
}

// Result is what a scene has shown.
type Result struct {
	Scene   Scene
	Clients int
	Table   [][]string // a row of headings, and one for each variant
	Without string     // the figure of the obvious alternative
	With    string     // the figure that is promised
	Goals   []Goal
	Curves  []Curve
}

// Failed returns the goals that were not met.
func (r *Result) Failed() (texts []string) {
	for _, g := range r.Goals {
		if !g.Met {
			texts = append(texts, g.Text)
		}
	}
	return texts
}

// Goal is a bound on a figure.
type Goal struct {
	Text string // the bound and the figure
	Met  bool
}

// Curve is a diagram of several lines.
type Curve struct {
	Name, Title, X, Y string
	Log               bool // Y is logarithmic; values below 1 count as 1
	Lines             []Line
}

// Line is one line of a diagram.
type Line struct {
	Name string
	X, Y []float64
}

// Play plays a scene. The goals of a Result say whether it kept its promise; t fails only if
// the scene could not be played. It changes GOMAXPROCS and the random numbers of the process
// meanwhile, so scenes must not be played at the same time.
func Play(t *testing.T, sc Scene, cfg Config) *Result {
	t.Helper()
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	s := &Stage{t: t, cfg: cfg, res: &Result{Scene: sc, Clients: sc.Clients}}
	if cfg.Clients > 0 {
		s.res.Clients = cfg.Clients
	}
	sc.play(s)
	if len(s.res.Goals) == 0 {
		t.Errorf("%s has no goal", sc.Name)
	}
	return s.res
}

// Stage is where one scene is played.
type Stage struct {
	t   *testing.T
	cfg Config
	res *Result
}

// scaled returns n where the scene has its own number of clients, and more or less in
// proportion, but at least 1.
func (s *Stage) scaled(n int) int {
	return max(1, n*s.res.Clients/s.res.Scene.Clients)
}

// rand returns the source of one kind of decision. Variants that use the same kind meet the
// same clients.
func (s *Stage) rand(kind uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.cfg.Seed, kind))
}

// bubble plays one variant, in virtual time.
func (s *Stage) bubble(variant string, f func(t *testing.T)) {
	s.t.Helper()
	if s.cfg.Progress != nil {
		s.cfg.Progress(variant)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer random.Seed(s.cfg.Seed)()
	synctest.Test(s.t, f)
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// goal adds a goal.
func (s *Stage) goal(met bool, format string, args ...any) {
	s.res.Goals = append(s.res.Goals, Goal{fmt.Sprintf(format, args...), met})
}

// figures sets the two figures of the summary.
func (s *Stage) figures(without, with string) { s.res.Without, s.res.With = without, with }

// row adds a row to the table.
func (s *Stage) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = cell(c)
	}
	s.res.Table = append(s.res.Table, row)
}

// curve adds a curve.
func (s *Stage) curve(c Curve) { s.res.Curves = append(s.res.Curves, c) }
