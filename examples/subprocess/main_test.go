package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/resource"
)

// asMain, if set in the environment, makes the test binary run the program.
const asMain = "RESPOOL_EXAMPLE_MAIN"

// TestMain runs a worker if the pool started the test binary as one.
func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" || os.Getenv(asMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const want = `1 + 2 + 3: 6; workers started so far: 1
a bad question: worker refused: "x" is not a number; workers started so far: 1
a good one: 42; workers started so far: 1
a worker hangs: worker did not answer: context deadline exceeded; workers started so far: 1
its caller returned within five seconds: true
the next caller: 2; workers started so far: 2
a worker crashes: worker has exited: exit status 3; workers started so far: 2
the next caller: 4; workers started so far: 3
a worker retires: retiring; workers started so far: 3
the next caller: 6; workers started so far: 4
closed: every worker that was started has exited: true
`

// The program prints what happened to each worker.
func TestRun(t *testing.T) {
	var got bytes.Buffer
	if err := run(&got, scenes); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("the program said\n%s\nwant\n%s", got.String(), want)
	}
}

// ended is a destroyed worker with the cause.
type ended struct {
	w     *worker
	cause error
}

// newPool creates a pool that reports destroyed workers; it is closed at the end of the test.
func newPool(t *testing.T, size int) (*resource.Pool[*worker], <-chan ended) {
	t.Helper()
	destroyed := make(chan ended, 100)
	cfg := config(size)
	destroy := cfg.Destroy
	cfg.Destroy = func(w *worker, cause error) {
		destroy(w, cause)
		destroyed <- ended{w, cause}
	}
	pool, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Error(err)
		}
		for len(destroyed) > 0 {
			wantExited(t, (<-destroyed).w)
		}
	})
	return pool, destroyed
}

// wantExited checks that the process of a destroyed worker has exited.
func wantExited(t *testing.T, w *worker) {
	t.Helper()
	select {
	case <-w.exited:
	default:
		t.Errorf("pid %d was destroyed and has not exited", w.cmd.Process.Pid)
	}
}

// wantAnswer asks a question and checks the answer.
func wantAnswer(t *testing.T, pool *resource.Pool[*worker], question, want string) {
	t.Helper()
	answer, err := ask(t.Context(), pool, question)
	if answer != want || err != nil {
		t.Errorf("%s: %q, %v; want %q", question, answer, err, want)
	}
}

// The deadline of a caller ends a question that the worker never answers, and the next
// caller gets another worker.
func TestDeadlineWhileWorkerHangs(t *testing.T) {
	pool, destroyed := newPool(t, 1)
	wantAnswer(t, pool, "1 1", "2") // start the worker outside the 300 ms
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := ask(ctx, pool, "hang")
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 5*time.Second {
		t.Errorf("after %v: %v, want the deadline after 300ms", took, err)
	}
	wantAnswer(t, pool, "1 2", "3")
	if errors.As(err, new(*resource.AcquireError)) {
		return // the machine paused so long that the question was not sent
	}
	if e := <-destroyed; !errors.Is(e.cause, context.DeadlineExceeded) {
		t.Errorf("the worker ended: %v", e.cause)
	}
	if n := pool.Stats().Made; n != 2 {
		t.Errorf("%d workers were started, want 2", n)
	}
}

// If a worker stops reading, the write blocks, and the deadline ends it.
func TestDeadlineWhileWorkerDoesNotRead(t *testing.T) {
	pool, _ := newPool(t, 1)
	err := pool.Do(t.Context(), func(ctx context.Context, w *worker) error {
		if _, err := w.in.Write([]byte("hang\n")); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := w.Ask(ctx, string(bytes.Repeat([]byte("1 "), 1<<20))) // larger than the buffer of a pipe
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	wantAnswer(t, pool, "1 2", "3")
}

// With a context that has ended, Ask kills the worker and returns immediately.
func TestCanceledBefore(t *testing.T) {
	pool, _ := newPool(t, 1)
	err := pool.Do(t.Context(), func(ctx context.Context, w *worker) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_, err := w.Ask(ctx, "hang")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the cancellation", err)
	}
	wantAnswer(t, pool, "1 2", "3")
}

// If a worker crashes in use, one question fails, with the exit status.
func TestCrashInUse(t *testing.T) {
	pool, destroyed := newPool(t, 1)
	_, err := ask(t.Context(), pool, "crash")
	if !errors.Is(err, errExited) {
		t.Errorf("%v, want %v", err, errExited)
	}
	if e := <-destroyed; !errors.Is(e.cause, errExited) || e.w.cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("the worker ended: %v, %v", e.cause, e.w.cmd.ProcessState)
	}
	wantAnswer(t, pool, "1 2", "3")
}

// A worker that exits, or is killed, while it is idle is not lent again.
func TestExitWhileIdle(t *testing.T) {
	pool, destroyed := newPool(t, 1)
	wantAnswer(t, pool, "retire", "retiring")
	if e := <-destroyed; !errors.Is(e.cause, errExited) || e.w.cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("the worker ended: %v, %v", e.cause, e.w.cmd.ProcessState)
	}
	wantAnswer(t, pool, "1 2", "3")

	var w *worker
	err := pool.Do(t.Context(), func(_ context.Context, v *worker) error { w = v; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := <-destroyed; e.w != w || !errors.Is(e.cause, errExited) {
		t.Errorf("the worker ended: %v", e.cause)
	}
	wantAnswer(t, pool, "3 4", "7")
}

// Close ends a worker that ignores the end of its input.
func TestCloseWhileWorkerHangs(t *testing.T) {
	pool, destroyed := newPool(t, 1)
	err := pool.Do(t.Context(), func(_ context.Context, w *worker) error {
		_, err := w.in.Write([]byte("hang\n"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
	e := <-destroyed
	wantExited(t, e.w)
	if e.w.cmd.ProcessState.Success() {
		t.Error("the worker exited by itself")
	}
}

// Many callers, some with short deadlines and some whose workers crash: each gets the answer
// to its own question or an error.
func TestManyCallers(t *testing.T) {
	pool, _ := newPool(t, 4)
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			for i := range 30 {
				question, want := "1 2 3", "6"
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				switch (n + i) % 10 {
				case 0:
					question = "crash"
				case 1:
					time.AfterFunc(time.Duration(i)*100*time.Microsecond, cancel)
				}
				answer, err := ask(ctx, pool, question)
				cancel()
				if err == nil && (answer != want || question == "crash") {
					t.Errorf("%s: %q", question, answer)
				}
				if err != nil && !errors.Is(err, errExited) && !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", question, err)
				}
			}
		})
	}
	callers.Wait()
}
