package resource_test

import (
	"bufio"
	"context"
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

// work is what the subprocess does: for each line of numbers, their sum.
func work(in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
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
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// StartWorker starts one. The process must outlive the making, so ctx is not
// given to it.
func StartWorker(ctx context.Context) (*Worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), workerEnv+"=1")
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
	return &Worker{cmd, in, bufio.NewReader(out)}, nil
}

// Ask sends one line and reads the answer.
func (w *Worker) Ask(line string) (string, error) {
	if _, err := fmt.Fprintln(w.in, line); err != nil {
		return "", err
	}
	answer, err := w.out.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// Stop ends the input, at which the process exits, and waits for it.
func (w *Worker) Stop() error {
	w.in.Close()
	return w.cmd.Wait()
}

// A pool of subprocesses: started once, lent many times. One that dies in
// use is replaced, because the error that Do sees destroys it.
func Example_subprocesses() {
	pool, err := resource.New(resource.Config[*Worker]{
		Make:    StartWorker,
		Destroy: func(w *Worker, cause error) { w.Stop() },
		MaxSize: 2,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for _, line := range []string{"1 2 3", "20 22", "1000 -1"} {
		err := pool.Do(ctx, func(ctx context.Context, w *Worker) error {
			answer, err := w.Ask(line)
			fmt.Println(line, "=", answer)
			return err
		})
		if err != nil {
			fmt.Println(err)
		}
	}

	err = pool.Do(ctx, func(ctx context.Context, w *Worker) error {
		w.cmd.Process.Kill()
		_, err := w.Ask("1 1")
		return err
	})
	fmt.Println("killed:", err != nil)

	err = pool.Do(ctx, func(ctx context.Context, w *Worker) error {
		answer, err := w.Ask("1 1")
		fmt.Println("its successor says", answer)
		return err
	})
	fmt.Println(err, pool.Stats().Made, "made")

	// Output:
	// 1 2 3 = 6
	// 20 22 = 42
	// 1000 -1 = 999
	// killed: true
	// its successor says 2
	// <nil> 2 made
}
