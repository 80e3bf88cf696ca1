package prometheus

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ RefID, Expr, LegendFormat string }
}

func dashboard(t testing.TB) (d struct {
	UID        string
	Panels     []panel
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}) {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	ownName  = regexp.MustCompile(DefaultPrefix + `_[a-z_]+`)
	anyLabel = regexp.MustCompile(`\b(?:by|without|ignoring|on) ?\(([^)]*)\)|\{([^}]*)\}`)
	ident    = regexp.MustCompile(`[a-z_]+`)
	template = regexp.MustCompile(`{{[^}]*}}`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
)

// unknown are the names and labels in text that no metric of the collector has,
// and seen are those that one has.
func unknown(text string) (bad []string, seen map[string]bool) {
	names, labels := make(map[string]bool), map[string]bool{"pool": true, "le": true, "job": true, "instance": true}
	for _, f := range families {
		names[DefaultPrefix+"_"+f.name] = true
		labels[f.label] = true
	}
	for _, h := range histograms {
		for _, end := range []string{"", "_bucket", "_count", "_sum"} {
			names[DefaultPrefix+"_"+h.name+end] = true
		}
		labels[h.label] = true
	}
	seen = make(map[string]bool)
	for _, name := range ownName.FindAllString(text, -1) {
		if seen[name] = true; !names[name] {
			bad = append(bad, name)
		}
	}
	for _, m := range anyLabel.FindAllStringSubmatch(template.ReplaceAllString(text, ""), -1) {
		for _, label := range ident.FindAllString(quoted.ReplaceAllString(m[1]+" "+m[2], ""), -1) {
			if !labels[label] {
				bad = append(bad, "label "+label)
			}
		}
	}
	return bad, seen
}

func TestUnknown(t *testing.T) {
	bad, _ := unknown(`sum by (pool, stat) (rate(resource_pool_resource{pol=~"state", pool="x"}[5m])) / resource_pool_wait_seconds_bucket / resource_pool_limit_bucket`)
	if want := []string{"resource_pool_resource", "resource_pool_limit_bucket", "label stat", "label pol"}; !slices.Equal(bad, want) {
		t.Errorf("found %q, want %q", bad, want)
	}
}

// The dashboard asks for every metric that there is, and for no other.
func TestDashboardNames(t *testing.T) {
	all := make(map[string]bool)
	d := dashboard(t)
	for _, p := range d.Panels {
		if (len(p.Targets) == 0) != (p.Type == "row") {
			t.Errorf("panel %q has %d queries", p.Title, len(p.Targets))
		}
		for _, q := range p.Targets {
			bad, seen := unknown(q.Expr)
			if len(bad) > 0 || len(seen) == 0 {
				t.Errorf("panel %q: the collector has not %q in %s", p.Title, bad, q.Expr)
			}
			for name := range seen {
				all[name] = true
				if n := strings.Count(q.Expr, name+`{job=~"$job", pool=~"$pool"`); n == 0 {
					t.Errorf("panel %q: %s is not of the pools chosen in %s", p.Title, name, q.Expr)
				}
			}
			for _, label := range regexp.MustCompile(`{{([^}]*)}}`).FindAllStringSubmatch(q.LegendFormat, -1) {
				if !regexp.MustCompile(`by \([^)]*\b` + label[1] + `\b`).MatchString(q.Expr) {
					t.Errorf("panel %q: the legend wants %s, which goes away in %s", p.Title, label[1], q.Expr)
				}
			}
		}
	}
	for _, f := range families {
		if !all[DefaultPrefix+"_"+f.name] {
			t.Errorf("%s is on no panel", f.name)
		}
	}
	for _, h := range histograms {
		if !all[DefaultPrefix+"_"+h.name] || !all[DefaultPrefix+"_"+h.name+"_bucket"] {
			t.Errorf("%s is on no panel, native and classic", h.name)
		}
	}
	for _, v := range d.Templating.List {
		text, err := json.Marshal(v.Query)
		if err != nil {
			t.Fatal(err)
		}
		if bad, _ := unknown(string(text)); len(bad) > 0 {
			t.Errorf("variable %s: the collector has not %q", v.Name, bad)
		}
	}
}

// No panel lies on another, and each has a number of its own.
func TestDashboardLayout(t *testing.T) {
	ids := make(map[int]bool)
	at := make(map[[2]int]string)
	for _, p := range dashboard(t).Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %q has the number %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("panel %q is at %v", p.Title, g)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				where := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := at[where]; other != "" {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				at[where] = p.Title
			}
		}
	}
}

func TestAlertNames(t *testing.T) {
	for name, asks := range map[string]string{"alerts.yml": `(?s).*`, "testdata/alerts_test.yml": `- series: .*`} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		bad, seen := unknown(strings.Join(regexp.MustCompile(asks).FindAllString(string(text), -1), "\n"))
		if len(bad) > 0 || len(seen) < 8 {
			t.Errorf("%s: the collector has not %q; it names %d metrics", name, bad, len(seen))
		}
	}
}

// Each alert has a test that it fires, in the file for promtool.
func TestAlertsTested(t *testing.T) {
	alerts, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("testdata/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(alerts), -1)
	if len(names) == 0 {
		t.Fatal("no alert")
	}
	for _, name := range names {
		if !regexp.MustCompile(`alertname: ` + name[1] + `\n +eval_time: \w+\n +exp_alerts:`).Match(tests) {
			t.Errorf("nothing says when %s is told", name[1])
		}
	}
}

// The doc of the package lists the names.
func TestDocNames(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	bad, seen := unknown(string(text))
	if len(bad) > 0 {
		t.Errorf("the doc has %q, the collector has not", bad)
	}
	if want := len(families) + len(histograms); len(seen) != want {
		t.Errorf("the doc has %d names of %d", len(seen), want)
	}
	for _, f := range families {
		if f.label != "" && !strings.Contains(string(text), DefaultPrefix+"_"+f.name+"{"+f.label+"}") {
			t.Errorf("the doc has not %s{%s}", f.name, f.label)
		}
	}
	for _, h := range histograms {
		if h.label != "" && !strings.Contains(string(text), DefaultPrefix+"_"+h.name+"{"+h.label+"}") {
			t.Errorf("the doc has not %s{%s}", h.name, h.label)
		}
	}
}
