package prometheus

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/respool/respool/internal/outside"
)

// patience bounds what must happen; nothing waits for it to pass.
const patience = 20 * time.Second

// promtool runs it, and fails the test unless it is content.
func promtool(t testing.TB, input []byte, args ...string) {
	t.Helper()
	program := outside.Program(t, []string{"promtool"}, "prometheus")
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolRules(t *testing.T) {
	promtool(t, nil, "check", "rules", "--lint-fatal", "alerts.yml")
	promtool(t, nil, "test", "rules", "testdata/alerts_test.yml")
}

// Its own advice on names, types and helps.
func TestPromtoolMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(Of(meter(busy("db")), meter(busy("\xff\"\n\\"))))
	page := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	if page.Code != http.StatusOK || page.Body.Len() < 1000 {
		t.Fatalf("scraped %d\n%s", page.Code, page.Body)
	}
	promtool(t, page.Body.Bytes(), "check", "metrics")
}

// Each query of the dashboard is one that Prometheus understands.
func TestPromtoolDashboard(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	fill := strings.NewReplacer("$job", ".*", "$pool", ".*", "$__rate_interval", "1m", "$__range", "1h")
	n := 0
	for _, p := range dashboard(t).Panels {
		for _, q := range p.Targets {
			expr := fill.Replace(q.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("panel %q has a variable that is not known: %s", p.Title, expr)
			}
			n++
			fmt.Fprintf(&rules, "  - record: query:%d\n    expr: %q\n", n, expr)
		}
	}
	if n == 0 {
		t.Fatal("no query")
	}
	name := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(name, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", name)
}
