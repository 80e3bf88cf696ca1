package museum

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// childEnv, when set, makes this program run one exhibit on one pool and nothing
// else: their names, with a slash between.
const childEnv = "RESPOOL_MUSEUM"

// childTime bounds a child. Exhibits bound themselves, well below it; it is for
// those whose processor is held.
const childTime = 40 * time.Second

// A reply is what a child prints.
type reply struct {
	Finding Finding `json:"finding"`
	Err     string  `json:"error,omitempty"`
}

// Child is the first thing that a program with a museum does: if it was started to
// run an exhibit, on one of kinds, it does so, and is to exit with status.
func Child(kinds []peer.Kind) (handled bool, status int) {
	names, ok := os.LookupEnv(childEnv)
	if !ok {
		return false, 0
	}
	if err := child(names, kinds); err != nil {
		fmt.Fprintln(os.Stderr, "museum:", err)
		return true, 1
	}
	return true, 0
}

func child(names string, kinds []peer.Kind) error {
	exhibit, kind, _ := strings.Cut(names, "/")
	e, ok := find(Exhibits(), func(e Exhibit) bool { return e.Name == exhibit })
	k, known := find(kinds, func(k peer.Kind) bool { return k.Name == kind })
	if !ok || !known {
		return fmt.Errorf("no such exhibit or pool: %s", names)
	}
	var r reply
	var err error
	r.Finding, err = e.Run(context.Background(), k)
	if errors.Is(err, errors.ErrUnsupported) {
		r.Finding.Verdict = Cannot
	} else if err != nil {
		r.Err = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func find[T any](all []T, is func(T) bool) (found T, ok bool) {
	for _, t := range all {
		if is(t) {
			return t, true
		}
	}
	return found, false
}

// run runs e on k in a process of its own. That it dies or hangs is a finding.
func (e Exhibit) run(ctx context.Context, k peer.Kind) (Finding, error) {
	self, err := os.Executable()
	if err != nil {
		return Finding{}, err
	}
	limit, cancel := context.WithTimeout(ctx, childTime)
	defer cancel()
	cmd := exec.CommandContext(limit, self)
	cmd.Env = append(os.Environ(), childEnv+"="+e.Name+"/"+k.Name)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Finding{}, ctx.Err()
	case limit.Err() != nil:
		f, _ := fails("the process hangs")
		return f, nil
	case errors.As(err, &exit):
		return obituary(stderr.String())
	case err != nil:
		return Finding{}, err
	}
	var r reply
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return Finding{}, fmt.Errorf("what the child said: %w: %q", err, stdout.String())
	}
	if r.Err != "" {
		return r.Finding, errors.New(r.Err)
	}
	return r.Finding, nil
}

// obituary reads why a child died: of a panic, a fatal error of the runtime or a race
// that a build with -race saw, or else of something that is not the pool's fault.
func obituary(stderr string) (Finding, error) {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || line == "WARNING: DATA RACE" {
			f, _ := fails("the process dies")
			f.Note = line
			return f, nil
		}
	}
	return Finding{}, fmt.Errorf("the child ended: %s", stderr)
}
