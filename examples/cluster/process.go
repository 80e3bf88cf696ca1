package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// startWait is how long a server may take to print its address.
const startWait = 30 * time.Second

// process is a server in a process of its own.
type process struct {
	name   string
	addr   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	said   *tail         // on its standard error
	exited chan struct{} // closed when it has exited

	stopped, killed, ended bool // used by the goroutine of the script only
}

// launch starts a server, and returns when it listens.
func launch(name string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(exe), said: &tail{}, exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asServer+"="+name)
	p.cmd.Stderr = p.said
	detach(p.cmd)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	addr := make(chan string, 1)
	go func() {
		defer close(p.exited)
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		addr <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, r)
		_ = p.cmd.Wait() // after the last read; the result is in cmd.ProcessState
	}()
	timer := time.NewTimer(startWait)
	defer timer.Stop()
	select {
	case p.addr = <-addr:
	case <-timer.C:
	}
	if _, _, err := net.SplitHostPort(p.addr); err != nil {
		_ = p.cmd.Process.Kill()
		<-p.exited
		return nil, fmt.Errorf("server %s has not printed its address: %s", name, p.said)
	}
	return p, nil
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.killed = true
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stop stops the process as a frozen virtual machine does: the kernel still accepts
// connections for it.
func (p *process) stop() error {
	p.stopped = true
	return suspend(p.cmd.Process)
}

// resume continues the process after stop.
func (p *process) resume() error {
	p.stopped = false
	return wake(p.cmd.Process)
}

// crashed returns an error if the process has exited by itself.
func (p *process) crashed() error {
	select {
	case <-p.exited:
		if !p.killed && !p.ended {
			return fmt.Errorf("server %s ended by itself: %v: %s", p.name, p.cmd.ProcessState, p.said)
		}
	default:
	}
	return nil
}

// quit asks the process to end. It sends its clients close frames first.
func (p *process) quit() {
	p.ended = true
	if p.stopped {
		_ = p.resume() // a stopped process cannot exit
	}
	_ = p.in.Close() // the end of its input is the order to end
}

// wait waits until the process has exited, after quit or kill, and kills it if that takes
// too long. Its error says that it has not ended well.
func (p *process) wait() error {
	if p.killed {
		return nil
	}
	timer := time.NewTimer(2 * closeWait)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("server %s did not end and was killed: %s", p.name, p.said)
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("server %s: %v: %s", p.name, p.cmd.ProcessState, p.said)
	}
	return nil
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// unsupported reports whether err says that the system has no such signal.
func unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
