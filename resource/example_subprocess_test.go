package resource_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/respool/respool/resource"
)

// workerEnv, set, makes the test binary a worker: see TestMain.
const workerEnv = "RESPOOL_EXAMPLE_WORKER"

// work is what the subprocess does: for each line of numbers, their sum. To
// "hang" it answers nothing.
func work(in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == "hang" {
			time.Sleep(time.Hour) // a worker that hangs
		}
		sum, bad := 0, false
		for _, word := range strings.Fields(lines.Text()) {
			n, err := strconv.Atoi(word)
			sum, bad = sum+n, bad || err != nil
		}
		if bad {
			fmt.Fprintln(out, "error")
		} else {
			fmt.Fprintln(out, sum)
		}
	}
}

// Worker is a long-lived subprocess, spoken to over pipes.
type Worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File
	lines  *bufio.Reader // of out
	exited chan struct{} // closed when the process has exited
}

// StartWorker starts one. ctx lives as long as the resource, so it may be given
// to the process, which its end kills.
func StartWorker(ctx context.Context) (*Worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), workerEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, stdout, err := os.Pipe() // Wait would close a StdoutPipe beside the reads
	if err != nil {
		in.Close()
		return nil, err
	}
	cmd.Stdout = stdout
	err = cmd.Start()
	stdout.Close() // the process has its own copy
	if err != nil {
		out.Close()
		return nil, err
	}
	w := &Worker{cmd, in, out, bufio.NewReader(out), make(chan struct{})}
	go func() {
		defer close(w.exited)
		cmd.Wait()
	}()
	return w, nil
}

// Ask sends one line and reads the answer. If ctx ends first it kills the
// process: nothing else is sure to end the read, and the late answer must not
// reach the next caller.
func (w *Worker) Ask(ctx context.Context, line string) (string, error) {
	stop := context.AfterFunc(ctx, func() { w.cmd.Process.Kill() })
	_, err := fmt.Fprintln(w.in, line)
	var answer string
	if err == nil {
		answer, err = w.lines.ReadString('\n')
	}
	if !stop() {
		return "", context.Cause(ctx)
	}
	return strings.TrimSpace(answer), err
}

// Stop ends the input, at which the process exits, and kills a process that does
// not.
func (w *Worker) Stop() {
	defer w.out.Close()
	w.in.Close()
	kill := time.AfterFunc(time.Second, func() { w.cmd.Process.Kill() })
	defer kill.Stop()
	<-w.exited
}

// A pool of subprocesses: each is started once and lent many times. A process that
// hangs costs its caller no more than its deadline, and one that exits while idle
// is not lent again. The program examples/subprocess is a longer version.
func Example_subprocesses() {
	pool, err := resource.New(resource.Config[*Worker]{
		Make:    StartWorker,
		Destroy: func(w *Worker, cause error) { w.Stop() },
		Watch: func(w *Worker, invalidate func(cause error)) {
			go func() { <-w.exited; invalidate(errors.New("worker has exited")) }()
		},
		MaxSize: 2,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)
	ask := func(ctx context.Context, line string) (answer string, err error) {
		err = pool.Do(ctx, func(ctx context.Context, w *Worker) error {
			answer, err = w.Ask(ctx, line)
			return err
		})
		return answer, err
	}

	for _, line := range []string{"1 2 3", "20 22", "1000 -1"} {
		fmt.Print(line, " = ")
		fmt.Println(ask(ctx, line))
	}

	err = pool.Do(ctx, func(ctx context.Context, w *Worker) error {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := w.Ask(ctx, "hang")
		return err
	})
	fmt.Println("one that hangs:", err)
	fmt.Println(ask(ctx, "1 1"))
	fmt.Println(pool.Stats().Made, "made")

	// Output:
	// 1 2 3 = 6 <nil>
	// 20 22 = 42 <nil>
	// 1000 -1 = 999 <nil>
	// one that hangs: context deadline exceeded
	// 2 <nil>
	// 2 made
}
