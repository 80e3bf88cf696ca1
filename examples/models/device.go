package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	asDevice     = "RESPOOL_EXAMPLE_DEVICE" // if set in the environment, the program is the device
	deviceMemory = 24                       // GiB
	loaded       = "loaded"                 // the answer of a load that has room
	loadTime     = 5 * time.Millisecond     // for each GiB
	runTime      = 2 * time.Millisecond
)

// device is the process of the device, as the program sees it.
type device struct {
	addr string
	cmd  *exec.Cmd
	in   io.Closer // the device ends with its input, also if this program crashes
}

// startDevice starts the device, and returns when it listens.
func startDevice(ctx context.Context) (*device, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), asDevice+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	addr, err := bufio.NewReader(out).ReadString('\n')
	d := &device{addr: strings.TrimSpace(addr), cmd: cmd, in: in}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the device does not start: %w", err), d.stop())
	}
	return d, nil
}

// stop ends the device, and waits for its end.
func (d *device) stop() error {
	d.in.Close()
	return d.cmd.Wait()
}

// command sends the device a command that needs no context, and returns the answer.
func (d *device) command(ctx context.Context, line string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	c := &modelContext{conn: conn, lines: bufio.NewReader(conn)}
	return c.exchange(ctx, line)
}

// deviceState is what the device knows.
type deviceState struct {
	mu     sync.Mutex
	used   int // GiB in use by contexts
	others int // in use by other programs
	peak   int // the most that contexts ever had
}

// change adds to what is in use. It returns false, and changes nothing, if contexts would have more
// than there is.
func (s *deviceState) change(used, others int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used > 0 && s.used+used+s.others > deviceMemory {
		return false
	}
	s.used += used
	s.others += others
	s.peak = max(s.peak, s.used)
	return true
}

// serveDevice is the device: it prints its address and runs until its input ends.
func serveDevice(stdin io.Reader, stdout, stderr io.Writer) int {
	signal.Ignore(os.Interrupt) // a terminal sends it to all processes of the group; the parent decides
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, l.Addr())
	s := new(deviceState)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the process is about to end
			}
			go s.serve(c)
		}
	}()
	_, _ = io.Copy(io.Discard, stdin)
	return 0
}

// serve serves a connection, which has at most one model.
func (s *deviceState) serve(c net.Conn) {
	defer c.Close()
	model, size := "", 0
	defer func() { s.change(-size, 0) }()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		answer := ""
		switch word {
		case "load":
			name, text, _ := strings.Cut(rest, " ")
			n, _ := strconv.Atoi(text) // 0, if it is no number
			if !s.change(n, 0) {
				answer = errNoMemory.Error()
				break
			}
			model, size = name, n
			time.Sleep(time.Duration(n) * loadTime) // the time that loading takes
			answer = loaded
		case "unload":
			s.change(-size, 0)
			size = 0
		case "run":
			time.Sleep(runTime) // the time that the model takes
			answer = model + " answers " + rest
		case "take", "give": // another program
			n, _ := strconv.Atoi(rest)
			if word == "give" {
				n = -n
			}
			answer = fmt.Sprint(s.change(0, n))
		case "peak":
			s.mu.Lock()
			answer = fmt.Sprint(s.peak <= deviceMemory)
			s.mu.Unlock()
		}
		if _, err := fmt.Fprintln(c, answer); err != nil {
			return
		}
	}
}
