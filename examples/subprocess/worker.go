package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/respool/respool/resource"
)

// stopGrace is how long a worker has to exit after its input has ended, and
// again after it was killed.
const stopGrace = time.Second

// errExited is the cause of the end of a worker whose process has exited by itself.
var errExited = errors.New("worker has exited")

// refusal is an answer with which the worker refuses a question. The worker is
// still good.
type refusal struct{ text string }

func (r *refusal) Error() string { return "worker refused: " + r.text }

// worker is a subprocess that answers each line with a line. One goroutine at a
// time uses it, the holder of its lease.
type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File
	lines  *bufio.Reader // of out
	exited chan struct{} // closed when the process has exited
}

// config is the pool's configuration.
func config(size int) resource.Config[*worker] {
	return resource.Config[*worker]{
		Make:  startWorker,
		Watch: watchWorker,
		// The end of a process has no result that anybody could use.
		Destroy:  func(w *worker, _ error) { w.Stop() },
		Broken:   func(err error) bool { return !errors.As(err, new(*refusal)) },
		Describe: func(w *worker) string { return fmt.Sprintf("pid %d", w.cmd.Process.Pid) },
		MaxSize:  size,
	}
}

// startWorker starts a process and returns when it is ready: it is the Make of
// the pool. The context of a Make lives as long as the resource, so it may be
// given to exec.CommandContext: it ends, and kills the process, if the start
// takes too long, and after Stop.
func startWorker(ctx context.Context) (*worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), asWorker+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: Wait, which runs beside the reads, would close a StdoutPipe
	// before the last line was read.
	out, theirs, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	cmd.Stdout = theirs
	err = cmd.Start()
	theirs.Close() // the process has its own copy, if it has started
	if err != nil {
		out.Close()
		return nil, err
	}
	w := &worker{cmd: cmd, in: in, out: out, lines: bufio.NewReader(out), exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // cmd.ProcessState has what it says
		close(w.exited)
	}()
	if line, err := w.lines.ReadString('\n'); err != nil || line != ready+"\n" {
		w.Stop()
		return nil, fmt.Errorf("worker is not ready but says %q: %w", line, w.why(err))
	}
	return w, nil
}

// watchWorker tells the pool when the process exits, also while the worker is
// idle: so no caller gets a dead one. It is the Watch of the pool.
func watchWorker(w *worker, invalidate func(cause error)) {
	go func() {
		<-w.exited // at the latest when Stop has killed the process
		invalidate(w.why(nil))
	}()
}

// Ask sends a question and returns the answer. It blocks until the answer is
// there, the process exits or ctx ends. A worker that does not answer cannot be
// asked to stop, and its late answer must not be taken for that to the next
// question: so the end of ctx kills the process. After any error but a refusal
// the worker must not be used again.
func (w *worker) Ask(ctx context.Context, question string) (string, error) {
	stop := context.AfterFunc(ctx, w.kill) // interrupts the write and the read
	answer, err := w.exchange(question)
	if !stop() { // killed, or about to be
		return "", fmt.Errorf("worker did not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		w.kill() // it may have closed its output only
		return "", w.why(err)
	}
	if text, refused := strings.CutPrefix(answer, errorPrefix); refused {
		return "", &refusal{text}
	}
	return answer, nil
}

func (w *worker) exchange(question string) (answer string, err error) {
	if _, err := fmt.Fprintln(w.in, question); err != nil {
		return "", err
	}
	answer, err = w.lines.ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

// Stop ends the process and returns when it has exited: at once if it was killed
// before, else when it has seen the end of its input, and if it does not exit
// then, by force. It returns after two times stopGrace at the latest, whatever
// the process does. A process that starts others needs more: a process group on
// Unix, a job object on Windows, to end them together.
func (w *worker) Stop() {
	defer w.out.Close()
	w.in.Close()
	if !w.exits(stopGrace) {
		w.kill()
		w.exits(stopGrace)
	}
}

// exits waits until the process has exited, for d at most, and reports whether
// it has.
func (w *worker) exits(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.exited:
		return true
	case <-timer.C:
		return false
	}
}

// kill ends the process by force. It does nothing if the process has exited.
func (w *worker) kill() { _ = w.cmd.Process.Kill() }

// why says how the process exited, if it has, and else returns err. It waits for
// the exit, which follows the end of the output.
func (w *worker) why(err error) error {
	if !w.exits(stopGrace) {
		return err
	}
	return fmt.Errorf("%w: %v", errExited, w.cmd.ProcessState)
}
