package prometheus

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// operating is the document that explains the metrics and the alerts.
const operating = "../../docs/operating.md"

// documented matches a row of a table of metrics: its name, its label, its type and what it
// says.
var documented = regexp.MustCompile("(?m)^\\| `" + DefaultPrefix + `_([a-z_]+)(?:\{([a-z_]+)\})?` + "` \\| ([a-z]+) \\| ([^|]+?) \\|")

// exported are the rows that the tables must have.
func exported() map[string]string {
	rows := make(map[string]string)
	for _, f := range families {
		kind := "gauge"
		if f.kind == prometheus.CounterValue {
			kind = "counter"
		}
		rows[f.name] = fmt.Sprintf("{%s} %s: %s", f.label, kind, f.help)
	}
	for _, h := range histograms {
		rows[h.name] = fmt.Sprintf("{%s} histogram: %s", h.label, h.help)
	}
	return rows
}

// undocumented compares the tables of a text with the metrics.
func undocumented(text string) (bad []string) {
	want := exported()
	for _, m := range documented.FindAllStringSubmatch(text, -1) {
		name, got := m[1], fmt.Sprintf("{%s} %s: %s", m[2], m[3], m[4])
		switch row, ok := want[name]; {
		case !ok:
			bad = append(bad, name+": there is no such metric, or it has two rows")
		case row != got:
			bad = append(bad, fmt.Sprintf("%s: the row says %q, the metric %q", name, got, row))
		}
		delete(want, name)
	}
	for name := range want {
		bad = append(bad, name+": no row")
	}
	return bad
}

func TestOperating_Metrics(t *testing.T) {
	text, err := os.ReadFile(operating)
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range undocumented(string(text)) {
		t.Error(complaint)
	}
	if without := strings.Replace(string(text), "| `resource_pool_outage` |", "| `resource_pool_outages` |", 1); len(undocumented(without)) != 2 {
		t.Errorf("a row with a wrong name leads to %q, want two complaints", undocumented(without))
	}
}

// Each alert is explained, in bold, in operating or in the page of its group.
func TestOperating_Alerts(t *testing.T) {
	rules, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^      - alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1)
	if len(names) < 20 {
		t.Fatalf("%d alerts", len(names))
	}
	var pages strings.Builder
	overview := ""
	for _, page := range []string{"operating", "fleet", "shared", "endpoints"} {
		text, err := os.ReadFile("../../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		pages.Write(text)
		if page == "operating" {
			overview = string(text)
		}
	}
	for _, m := range names {
		if !strings.Contains(pages.String(), "\n**`"+m[1]+"`**") {
			t.Errorf("no page explains the alert %s", m[1])
		}
		if !strings.Contains(overview, "`"+m[1]+"`") {
			t.Errorf("%s does not name the alert %s", operating, m[1])
		}
	}
}
