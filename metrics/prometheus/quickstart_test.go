package prometheus

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/respool/respool/internal/outside"
)

var shows, goesOn = regexp.MustCompile(`live: http://([^/ ]+)/\S* shows the pools`), regexp.MustCompile(`still shows them`)

// quickstart runs the example of that name, and returns where it tells its metrics.
// When the test ends it waits for the run to be over, and interrupts what is left.
func quickstart(t testing.TB) (target string) {
	t.Helper()
	outside.Wanted(t, "the quickstart as a program")
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "..", "examples", "quickstart")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	run := exec.Command(program, "-live", "127.0.0.1:0", "-utterances", "10")
	log, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	at, over, gone := make(chan string, 1), make(chan bool, 1), make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if m := shows.FindStringSubmatch(lines.Text()); m != nil && len(at) == 0 {
				at <- m[1]
			}
			if goesOn.MatchString(lines.Text()) {
				over <- true
			}
		}
		io.Copy(io.Discard, log) // behind a line that was too long
		gone <- run.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-over:
		case <-time.After(patience):
			t.Error("the quickstart does not come to its end")
		}
		run.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(patience, func() { run.Process.Kill() })
		defer timer.Stop()
		if err := <-gone; err != nil {
			t.Errorf("the quickstart ended with %v", err)
		}
	})
	select {
	case target = <-at:
	case <-time.After(patience):
		t.Fatal("the quickstart does not say where it is")
	}
	return target
}

// A Prometheus scrapes the quickstart, and says how long its callers wait.
func TestServer_Quickstart(t *testing.T) {
	s := startServer(t, quickstart(t))
	p99 := s.until(t, `histogram_quantile(0.99, sum by (le) (resource_pool_wait_seconds_bucket))`,
		func(v float64) bool { return v > 0 })
	t.Logf("p99 of the waits: %v s", p99)
	if dials := s.ask(t, `sum(resource_pool_create_seconds_count)`); !(dials > 0) {
		t.Errorf("%v dials", dials)
	}
}
