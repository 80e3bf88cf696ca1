package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/proof/sim"
)

// asProgram is set in a child process that is to be the program.
const asProgram = "RESPOOL_SIMULATE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// simulate runs the program.
func simulate(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// The program plays the scene that was asked for, prints its table and the summary, shows the
// progress, and writes the diagrams.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr, status := simulate(t, "-scene", "^cold-start$", "-seed", "3", "-out", filepath.Join(dir, "new"))
	if status != 0 {
		t.Fatalf("status %d:\n%s\n%s", status, stdout, stderr)
	}
	for _, part := range []string{"cold-start, 1000 clients: ", sim.SummaryHead + "| `cold-start`: ", "resource, 20 ready"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("it does not print %q:\n%s", part, stdout)
		}
	}
	if n := strings.Count(stdout, "| `"); n != 1 {
		t.Errorf("the summary has %d scenes:\n%s", n, stdout)
	}
	if !strings.Contains(stderr, "1/1 cold-start: puddle") {
		t.Errorf("it does not show the progress:\n%q", stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "new", "*.svg"))
	if err != nil || len(files) != 1 {
		t.Fatalf("diagrams: %q, %v", files, err)
	}
	svg, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", files[0], err)
		}
	}
	if n := bytes.Count(svg, []byte("<path")); n < 10 || !bytes.Contains(svg, []byte(">puddle<")) {
		t.Errorf("%s has %d paths", files[0], n)
	}
}

func TestProgram_Markdown(t *testing.T) {
	stdout, stderr, status := simulate(t, "-scene", "^cold-start$", "-markdown")
	if status != 0 || !strings.HasPrefix(stdout, sim.SummaryHead) || strings.Count(stdout, "\n") != 3 {
		t.Errorf("status %d:\n%s\n%s", status, stdout, stderr)
	}
}

func TestProgram_List(t *testing.T) {
	stdout, _, status := simulate(t, "-list", "-scene", "size")
	if status != 0 || strings.Count(stdout, "\n") != 3 || !strings.Contains(stdout, "size-steady ") {
		t.Errorf("status %d:\n%s", status, stdout)
	}
}

func TestProgram_BadFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"-scene", "("}, []string{"regular expression"}},
		{[]string{"-scene", "none such"}, []string{"no scene matches"}},
		{[]string{"-clients", "7", "-for", "1ms", "more"}, []string{"clients must be 0 or between 1000 and 100000, got 7", "for must be", `"more"`}},
		{[]string{"-load", "main.go"}, []string{"bad record of arrivals", "line 1"}},
		{[]string{"-load", "no such file"}, []string{"no such file"}},
		{[]string{"-speed"}, []string{"-speed"}},
	} {
		stdout, stderr, status := simulate(t, c.args...)
		if status != 2 || stdout != "" {
			t.Errorf("%q: status %d, %q", c.args, status, stdout)
		}
		for _, part := range c.want {
			if !strings.Contains(stderr, part) {
				t.Errorf("%q: %q does not have %q", c.args, stderr, part)
			}
		}
	}
}

// A scene that does not keep its promise is an error, and so is a directory that cannot be made.
func TestProgram_Failure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := simulate(t, "-scene", "^cold-start$", "-out", file)
	if status != 1 || !strings.Contains(stderr, "not a directory") {
		t.Errorf("status %d:\n%s\n%s", status, stdout, stderr)
	}
}

// What is recorded is a real pool's, and can be read again.
func TestRecord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "burst.txt")
	if err := recordTo(file, time.Second); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := sim.ReadArrivals(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Hold < 15*time.Millisecond { // for which the server waits at least
			t.Errorf("%+v", a)
		}
	}
}
