package servers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// muxCallers is the number of concurrent callers of a shared connection.
const muxCallers = 32

// newMux returns a client of a new pool. Both are closed at the end of the test at the latest,
// and nothing may be left then.
func newMux(t testing.TB, pool wspool.Config, cfg mux.Config) *mux.Client {
	t.Helper()
	p := newPool(t, pool)
	c, err := mux.New(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeMux(t, c) })
	return c
}

// closeMux closes the client and checks that nothing is left. It may be called again.
func closeMux(t testing.TB, c *mux.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if s := c.Stats(); s.InFlight+s.Waiting+s.Streams+s.Orphans != 0 || s.Panics != 0 {
		t.Errorf("after Close: %+v", s)
	}
}

// storm calls ask from n goroutines, each as often as times says, with the number of the
// question. It returns when all have returned.
func storm(t testing.TB, n, times int, ask func(ctx context.Context, id int64) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	var ids atomic.Int64
	for range n {
		all.Go(func() {
			for range times {
				id := ids.Add(1)
				if err := ask(ctx, id); err != nil {
					t.Errorf("question %d: %v", id, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// matches checks that an answer is the one to the question.
func matches(question, answer string, err error) error {
	if err == nil && answer != question {
		err = fmt.Errorf("%w: asked %.40q, got %.40q", errCrossed, question, answer)
	}
	return err
}

// fated checks that a call has failed as calls may, with an error that matches cause.
func fated(t testing.TB, err, fate, cause error) {
	t.Helper()
	var failed *mux.CallError
	if !errors.As(err, &failed) || failed.Fate != fate || !errors.Is(err, cause) {
		t.Errorf("got %v, want %v and %v", err, fate, cause)
	}
}

// giveUp makes a call that the server holds, and gives it up when held says that the server
// has it.
func giveUp(t *testing.T, hold func(context.Context) error, held func(context.Context) (int, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- hold(ctx) }()
	until(t, "the server does not have the call", func() bool {
		n := 0
		succeed(t, func(ctx context.Context) (err error) { n, err = held(ctx); return err })
		return n == 1
	})
	cancel()
	select {
	case err := <-ended:
		fated(t, err, mux.ErrMayHaveRun, context.Canceled)
	case <-time.After(patience):
		t.Fatal("a call that is canceled does not return")
	}
}

// shared is a kind of server whose connections callers share.
type shared struct {
	start func(t testing.TB, addr string) running
	reach func(cfg *wspool.Config)
	codec mux.Config
	conns int // MaxConns
	// caller returns a function that asks a question and checks the answer. One goroutine
	// calls it. refused says that the server answered with an error that only a restart
	// explains.
	caller func(c *mux.Client) func(ctx context.Context, id int64) (refused bool, err error)
}

// endureShared ends a server under the load of callers that share connections, and restarts it.
// Every call must end with its own reply or a [mux.CallError] that says its fate, callers must
// be served again, and nothing may be in flight at the end.
func endureShared(t *testing.T, s shared, f fault) {
	const (
		enough = 20                   // replies of each caller before the fault, and again after it
		pace   = 5 * time.Millisecond // between calls that cannot be sent
	)
	server := s.start(t, "127.0.0.1:0")
	addr := server.address()
	cfg := wspool.Config{URL: "ws://" + addr + "/", MaxSize: 8}
	s.reach(&cfg)
	s.codec.MaxConns, s.codec.GrowAt = s.conns, 8
	c := newMux(t, cfg, s.codec)

	var phase atomic.Int32
	var warm, again, all sync.WaitGroup
	var ids, notSent, mayHaveRun, refusals atomic.Int64
	failed, quit := make(chan struct{}), make(chan struct{})
	var once sync.Once
	for range muxCallers {
		warm.Add(1)
		again.Add(1)
		all.Go(func() {
			ask := s.caller(c)
			early, late := 0, 0
			defer func() { // a caller that gives up holds up none
				if early < enough {
					warm.Done()
				}
				if late < enough {
					again.Done()
				}
			}()
			for late < enough {
				select {
				case <-quit:
					return
				default:
				}
				now := phase.Load()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				refused, err := ask(ctx, ids.Add(1))
				cancel()
				var fate *mux.CallError
				switch {
				case err == nil && now == healthy:
					if early++; early == enough {
						warm.Done()
					}
				case err == nil && now == back: // asked after the restart
					if late++; late == enough {
						again.Done()
					}
				case err == nil: // asked meanwhile
				case now == healthy && phase.Load() == healthy:
					t.Errorf("before the fault: %v", err)
					return
				case refused:
					refusals.Add(1)
				case !errors.As(err, &fate) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
					t.Errorf("a call ends with neither a reply nor a fate: %v", err)
					return
				case fate.Fate == mux.ErrNotSent:
					notSent.Add(1)
					once.Do(func() { close(failed) })
					select {
					case <-time.After(pace): // the server starts faster if callers do not take its processor
					case <-quit:
					}
				case fate.Fate == mux.ErrMayHaveRun:
					mayHaveRun.Add(1)
					once.Do(func() { close(failed) })
				default:
					t.Errorf("a call has an unknown fate: %v", err)
					return
				}
			}
		})
	}
	t.Cleanup(all.Wait)
	t.Cleanup(sync.OnceFunc(func() { close(quit) }))

	awaitGroup(t, "callers are not served", &warm)
	phase.Store(failing)
	server.end(t, f)
	select {
	case <-failed:
	case <-time.After(patience):
		t.Fatalf("no call fails: %+v", c.Stats())
	}
	s.start(t, addr)
	up := time.Now()
	phase.Store(back)
	awaitGroup(t, "callers are not served again", &again)
	all.Wait()
	st := c.Stats()
	t.Logf("all served %v after the restart; %d questions: %d not sent, %d may have run, %d refused; %.1f messages per write",
		time.Since(up).Round(time.Millisecond), ids.Load(), notSent.Load(), mayHaveRun.Load(), refusals.Load(),
		float64(st.Messages)/float64(max(st.Batches, 1)))
	if st.InFlight+st.Waiting != 0 {
		t.Errorf("calls are left: %+v", st)
	}
	if st.Unknown+st.Bad+st.Late != 0 {
		t.Errorf("messages that belong to no call: %+v", st)
	}
}

func awaitGroup(t testing.TB, otherwise string, g *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); g.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal(otherwise)
	}
}
