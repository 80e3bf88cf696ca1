package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// state is what the script has done to a process.
type state uint8

const (
	running state = iota
	stopped
	killed
	ended // by itself, or at the end of the run
)

// process is one process of the fleet, as the parent sees it.
type process struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	said   *tail         // on its standard error
	exited chan struct{} // closed when it has exited and its output was read

	mu    sync.Mutex // guards the rest
	state state
	last  *report // nil: none has arrived
}

// launch starts a process with these orders.
func launch(o order) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	p := &process{name: o.Name, cmd: exec.Command(exe), said: &tail{}, exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asChild+"=1")
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
	go p.follow(out)
	if _, err := p.in.Write(append(line, '\n')); err != nil { // fits into the buffer of a pipe
		p.kill()
		<-p.exited
		return nil, fmt.Errorf("process %s takes no orders: %w", o.Name, err)
	}
	return p, nil
}

// follow reads the reports until the process exits.
func (p *process) follow(out io.Reader) {
	defer close(p.exited)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		r := new(report)
		if json.Unmarshal(lines.Bytes(), r) == nil {
			p.mu.Lock()
			p.last = r
			p.mu.Unlock()
		}
	}
	_ = p.cmd.Wait() // after the last read; the result is in cmd.ProcessState
}

// look returns the state of the process and its last report, nil if there is none.
func (p *process) look() (state, *report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.last
}

func (p *process) set(s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
}

// kill ends the process as kill -9 does, and the kernel closes its connections.
func (p *process) kill() {
	p.set(killed)
	_ = p.cmd.Process.Kill() // it may have exited
}

// stop stops the process as a debugger or a frozen virtual machine does: its connections
// stay open.
func (p *process) stop() error {
	p.set(stopped)
	return suspend(p.cmd.Process)
}

// resume continues the process after stop.
func (p *process) resume() error {
	p.set(running)
	return wake(p.cmd.Process)
}

// crashed returns an error if the process has exited by itself, once.
func (p *process) crashed() error {
	select {
	case <-p.exited:
	default:
		return nil
	}
	if s, _ := p.look(); s == killed || s == ended {
		return nil
	}
	p.set(ended)
	return fmt.Errorf("process %s ended by itself: %v: %s", p.name, p.cmd.ProcessState, p.said)
}

// end asks the process to end, and kills it if it has not done so within grace. It returns
// when the process has exited, with an error if that was not well.
func (p *process) end(grace time.Duration) error {
	was, _ := p.look()
	if was == killed || was == ended {
		<-p.exited
		return nil
	}
	if was == stopped {
		_ = wake(p.cmd.Process) // a stopped process cannot exit
	}
	p.set(ended)
	_ = p.in.Close() // the end of its input is the order to end
	timer := time.AfterFunc(grace, func() { _ = p.cmd.Process.Kill() })
	<-p.exited
	if !timer.Stop() {
		return fmt.Errorf("process %s did not end within %v and was killed: %s", p.name, grace, p.said)
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("process %s: %v: %s", p.name, p.cmd.ProcessState, p.said)
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
