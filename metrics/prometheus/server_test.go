package prometheus

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// server is a Prometheus that scrapes one target.
type server struct {
	at     string
	client *http.Client
}

var listening = regexp.MustCompile(`msg="Listening on".* address=(\S+)`)

// startServer starts one, which ends with the test, and must end well.
func startServer(t testing.TB, target string, args ...string) *server {
	t.Helper()
	program := outside.Program(t, []string{"prometheus"}, "prometheus")
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global:\n  scrape_interval: 200ms\nscrape_configs:\n- job_name: app\n  static_configs:\n  - targets: [%q]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{
		"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0",
	}, args...)...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	at, gone := make(chan string, 1), make(chan error, 1)
	var said []string // the reader's, until gone
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			said = append(said, lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil && len(at) == 0 {
				at <- m[1]
			}
		}
		gone <- cmd.Wait()
	}()
	s := &server{client: &http.Client{Timeout: patience, Transport: &http.Transport{}}}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		cmd.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer timer.Stop()
		if err := <-gone; err != nil {
			t.Errorf("prometheus ended with %v\n%q", err, said[max(0, len(said)-5):])
		}
	})
	select {
	case s.at = <-at:
	case err := <-gone:
		gone <- err
		t.Fatalf("prometheus says %q", said)
	case <-time.After(patience):
		t.Fatal("prometheus does not listen")
	}
	return s
}

// ask returns what a query answers, or NaN if nothing yet.
func (s *server) ask(t testing.TB, query string) float64 {
	t.Helper()
	r, err := s.client.Get("http://" + s.at + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode == http.StatusServiceUnavailable { // it is starting
		return math.NaN()
	}
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %s %s %v", query, r.Status, answer.Error, err)
	}
	if len(answer.Data.Result) == 0 {
		return math.NaN()
	}
	if len(answer.Data.Result) > 1 {
		t.Fatalf("%s: %d answers", query, len(answer.Data.Result))
	}
	v, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// until asks until the answer is good.
func (s *server) until(t testing.TB, query string, good func(float64) bool) float64 {
	t.Helper()
	late := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		v := s.ask(t, query)
		if good(v) {
			return v
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s is still %v", query, v)
		}
	}
}

// program is a pool of one resource that four callers want, and the page that
// Prometheus scrapes.
func program(t testing.TB) (m *metrics.Meter, target string, stop func()) {
	t.Helper()
	m, err := metrics.New("db", metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := resource.New(resource.Config[int]{
		MaxSize: 1,
		Make:    func(context.Context) (int, error) { return 1, nil },
		Trace:   m.Trace(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(p); err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(Of())
	page := httptest.NewServer(promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for work := time.NewTicker(2 * time.Millisecond); ctx.Err() == nil; {
				l, err := p.Acquire(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				<-work.C
				l.Release()
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		callers.Wait()
	})
	t.Cleanup(func() {
		stop()
		page.Close()
		m.Close()
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m, page.Listener.Addr().String(), stop
}

// A Prometheus says how long one acquire in a hundred waits, as the doc of the
// dashboard asks it, and as the meter itself knows it.
func TestServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		count string  // how many waits it has
		p99   string  // of some range
		off   float64 // by which factor an answer may be off
	}{
		{
			"classic", nil, `resource_pool_wait_seconds_count{pool="db"}`,
			`histogram_quantile(0.99, sum by (pool, le) (%s))`, 1,
		},
		{
			"native", []string{"--enable-feature=native-histograms"}, `histogram_count(resource_pool_wait_seconds{pool="db"})`,
			`histogram_quantile(0.99, sum by (pool) (%s))`, math.Exp2(2. / 4),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, target, stop := program(t)
			s := startServer(t, target, c.flags...)
			series := `resource_pool_wait_seconds_bucket{pool="db"}`
			if c.name == "native" {
				series = `resource_pool_wait_seconds{pool="db"}`
			}
			positive := func(v float64) bool { return v > 0 }
			s.until(t, fmt.Sprintf(c.p99, "rate("+series+"[1m])"), positive)
			s.until(t, `rate(resource_pool_acquires_total{pool="db",result="ok"}[1m])`, positive)

			stop()
			know := m.Snapshot(0)
			s.until(t, c.count, func(v float64) bool { return v == float64(know.Wait.Count) })
			got := s.ask(t, fmt.Sprintf(c.p99, series))
			want := know.Wait.Quantile(0.99).Seconds()
			low, high := want/c.off, want*c.off
			if c.name == "classic" { // the bucket is all that it knows
				i, _ := slices.BinarySearch(defaultBuckets, want)
				if i == 0 || i == len(defaultBuckets) {
					t.Fatalf("p99 is %v, outside of the buckets", want)
				}
				low, high = defaultBuckets[max(0, i-2)], defaultBuckets[min(i+1, len(defaultBuckets)-1)]
			}
			if !(low <= got && got <= high) {
				t.Errorf("p99 is %v, want %v, from %v to %v", got, want, low, high)
			}
			t.Logf("p99 of %d waits: %v here, %v s there", know.Wait.Count, know.Wait.Quantile(0.99), got)
			if v := s.ask(t, `sum(resource_pool_resources{pool="db"}) <= on() resource_pool_limit`); v != 1 {
				t.Errorf("%v resources of 1", v)
			}
		})
	}
}
