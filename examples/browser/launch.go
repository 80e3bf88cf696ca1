package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// programs are the names of the Chromium executable.
var programs = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"}

// browser is a running Chromium.
type browser struct {
	cmd  *exec.Cmd
	dir  string        // its profile
	url  string        // of its DevTools, ws://…
	gone chan struct{} // closed when the process has ended
}

// launch starts the program, or the first of programs that exists, and waits until DevTools
// listens.
func launch(ctx context.Context, program string) (*browser, error) {
	for i := 0; program == "" && i < len(programs); i++ {
		program, _ = exec.LookPath(programs[i])
	}
	if program == "" {
		return nil, errors.New("no Chromium found: install it, or say with -chrome where it is")
	}
	dir, err := os.MkdirTemp("", "chromium-profile-")
	if err != nil {
		return nil, err
	}
	args := []string{"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--remote-debugging-port=0", "--user-data-dir=" + dir, "about:blank"}
	if os.Geteuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...) // the sandbox does not work for root
	}
	b := &browser{cmd: exec.Command(program, args...), dir: dir, gone: make(chan struct{})}
	stderr, err := b.cmd.StderrPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	told := make(chan string, 1)
	go func() {
		defer close(b.gone)
		for lines := bufio.NewScanner(stderr); lines.Scan(); { // until the last of its processes ends
			if url, ok := strings.CutPrefix(lines.Text(), "DevTools listening on "); ok {
				told <- url
			}
		}
		b.cmd.Wait()
	}()
	select {
	case b.url = <-told:
		return b, nil
	case <-b.gone:
		err = errors.New("it ended")
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(time.Minute):
		err = errors.New("it took more than a minute")
	}
	b.close()
	return nil, fmt.Errorf("%s did not start: %w", program, err)
}

// close ends the browser and deletes its profile.
func (b *browser) close() {
	b.cmd.Process.Kill() // its other processes then end by themselves
	<-b.gone
	os.RemoveAll(b.dir)
}
