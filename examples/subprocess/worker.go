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

// stopGrace is how long a worker may take to exit after the end of its input, and again
// after it was killed.
const stopGrace = time.Second

// errExited is the cause if the process of a worker exited by itself.
var errExited = errors.New("worker has exited")

// refusal is the answer to a question that the worker refuses. The worker remains usable.
type refusal struct{ text string }

func (r *refusal) Error() string { return "worker refused: " + r.text }

// worker is a subprocess that answers each line with a line. Only the holder of its lease
// uses it.
type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File
	lines  *bufio.Reader // of out
	exited chan struct{} // closed when the process has exited
}

// config returns the configuration of the pool.
func config(size int) resource.Config[*worker] {
	return resource.Config[*worker]{
		Make:  startWorker,
		Watch: watchWorker,
		// The result of ending a process is of no use.
		Destroy:  func(w *worker, _ error) { w.Stop() },
		Broken:   func(err error) bool { return !errors.As(err, new(*refusal)) },
		Describe: func(w *worker) string { return fmt.Sprintf("pid %d", w.cmd.Process.Pid) },
		MaxSize:  size,
	}
}

// startWorker is Config.Make: it starts a process and returns when that is ready. The context
// of a Make lasts as long as the resource, so it can be passed to exec.CommandContext: it
// ends, which kills the process, if the start takes too long, and after Stop.
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
	// Not cmd.StdoutPipe: Wait, which runs concurrently with the reads, would close it
	// before the last line was read.
	out, theirs, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	cmd.Stdout = theirs
	err = cmd.Start()
	theirs.Close() // the process has its own copy if it was started
	if err != nil {
		out.Close()
		return nil, err
	}
	w := &worker{cmd: cmd, in: in, out: out, lines: bufio.NewReader(out), exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the result is in cmd.ProcessState
		close(w.exited)
	}()
	if line, err := w.lines.ReadString('\n'); err != nil || line != ready+"\n" {
		w.Stop()
		return nil, fmt.Errorf("worker is not ready, its first line is %q: %w", line, w.why(err))
	}
	return w, nil
}

// watchWorker is Config.Watch: it informs the pool when the process exits, even while the
// worker is idle, so that no caller gets a dead one.
func watchWorker(w *worker, invalidate func(cause error)) {
	go func() {
		<-w.exited // at the latest after Stop has killed the process
		invalidate(w.why(nil))
	}()
}

// Ask sends a question and returns the answer. It blocks until the answer arrives, the
// process exits or ctx ends. The end of ctx kills the process: a worker that does not
// answer cannot be told to stop, and its late answer must not be taken for that to the
// next question. After any error but a refusal the worker must not be used again.
func (w *worker) Ask(ctx context.Context, question string) (string, error) {
	stop := context.AfterFunc(ctx, w.kill) // interrupts the write and the read
	answer, err := w.exchange(question)
	if !stop() { // killed, or about to be
		return "", fmt.Errorf("worker did not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		w.kill() // it may only have closed its output
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

// Stop closes the input of the process, kills it if it does not exit within stopGrace, and
// returns when it has exited, after twice stopGrace at the latest. A process that starts
// others needs more, to end them together: a process group on Unix, a job object on
// Windows.
func (w *worker) Stop() {
	defer w.out.Close()
	w.in.Close()
	if !w.exits(stopGrace) {
		w.kill()
		w.exits(stopGrace)
	}
}

// exits waits for the process to exit, at most for d, and reports whether it has.
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

// kill kills the process. It does nothing if the process has exited.
func (w *worker) kill() { _ = w.cmd.Process.Kill() }

// why returns how the process exited, or err if it has not. It waits for the exit, which
// follows the end of the output.
func (w *worker) why(err error) error {
	if !w.exits(stopGrace) {
		return err
	}
	return fmt.Errorf("%w: %v", errExited, w.cmd.ProcessState)
}
