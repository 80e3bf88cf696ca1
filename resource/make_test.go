package resource_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// The context of Make lives as long as the resource: it outlives Make and the
// caller, and ends when Destroy has returned.
func TestMakeContext_LivesAsLongAsTheResource(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		ctx, cancel := context.WithCancel(context.Background())
		c := h.acquireCtx(ctx, resource.Request{})
		m := h.wantMake()
		it := m.finish()
		l := c.wantItem(it)
		cancel()
		time.Sleep(time.Hour) // far beyond MakeTimeout
		alive := func(when string) {
			t.Helper()
			if err := m.ctx.Err(); err != nil {
				t.Fatalf("%s: the context has ended: %v", when, err)
			}
		}
		alive("leased")
		l.Release()
		h.settle()
		alive("idle")
		l = h.acquire().wantItem(it)
		h.close(0)
		alive("leased from a closed pool")
		h.onDestroy = func(*item, error) { alive("in Destroy") }
		l.Release()
		h.wantDestroyed(it, resource.ErrClosed)
		h.settle()
		if !errors.Is(context.Cause(m.ctx), resource.ErrClosed) {
			t.Errorf("after Destroy the context's cause is %v", context.Cause(m.ctx))
		}
	})
}

// A hijacked resource is the caller's, and so is its context: it does not end.
func TestMakeContext_Hijacked(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		it := m.finish()
		l := c.wantItem(it)
		if _, ok := l.Hijack(); !ok {
			t.Fatal("not hijacked")
		}
		h.mu.Lock()
		h.hijacked[it] = true
		delete(h.living, it)
		h.mu.Unlock()
		h.close(time.Minute)
		if err := m.ctx.Err(); err != nil {
			t.Errorf("the context has ended: %v", err)
		}
	})
}

// The context of a make that failed ends.
func TestMakeContext_Failed(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.fail(errDown)
		c.wantErr(errDown)
		if m.ctx.Err() == nil {
			t.Error("the context has not ended")
		}
	})
}

// A subprocess that was started with the context of Make is alive when it is
// lent, and again, and ends with its resource (copilot-sdk#668).
func TestMakeContext_Subprocess(t *testing.T) {
	if os.Getenv("RESPOOL_ECHO") == "1" {
		_, _ = io.Copy(os.Stdout, os.Stdin)
		os.Exit(0)
	}
	type process struct {
		*exec.Cmd
		in  io.Writer
		out *bufio.Reader
	}
	exits := make(chan error, 1)
	pool := newPool(t, resource.Config[process]{
		MaxSize: 1,
		Make: func(ctx context.Context) (p process, err error) {
			p.Cmd = exec.CommandContext(ctx, os.Args[0], "-test.run=^TestMakeContext_Subprocess$")
			p.Env = append(os.Environ(), "RESPOOL_ECHO=1")
			p.in, _ = p.StdinPipe()
			out, _ := p.StdoutPipe()
			p.out = bufio.NewReader(out)
			if err := p.Start(); err != nil {
				return p, err
			}
			go func() { exits <- p.Wait() }()
			return p, nil
		},
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range 3 {
		err := pool.Do(ctx, func(_ context.Context, p process) error {
			if _, err := fmt.Fprintf(p.in, "%d\n", i); err != nil {
				return err
			}
			_, err := p.out.ReadString('\n')
			return err
		})
		if err != nil {
			t.Fatalf("use %d: %v", i, err)
		}
	}
	if s := pool.Stats(); s.Made != 1 {
		t.Errorf("%d were made, want 1", s.Made)
	}
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-exits; err == nil {
		t.Error("the process was not killed when its context ended")
	}
}

// Each make has the values of the caller, or of the call of Warm, that it is for.
func TestMakeContext_ValuesOfEachWarm(t *testing.T) {
	type key struct{}
	script(t, 10, nil, func(h *harness) {
		var dones []<-chan error
		for i, n := range []int{2, 5, 7} {
			dones = append(dones, h.warm(context.WithValue(context.Background(), key{}, i), n))
			h.settle()
		}
		var got []int
		for _, m := range h.wantMakes(7) {
			got = append(got, m.ctx.Value(key{}).(int))
			m.finish()
		}
		if want := []int{0, 0, 1, 1, 1, 2, 2}; !slices.Equal(got, want) {
			t.Errorf("the makes have the values %v, want %v", got, want)
		}
		for _, done := range dones {
			h.wantDone(done, nil)
		}
	})
}

// ErrMakeTimeout never matches the errors of contexts, as the caller's own has not
// ended, and keeps what Make returned.
func TestMakeTimeout_Error(t *testing.T) {
	for name, make := range map[string]func(ctx context.Context) (int, error){
		"context":  func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
		"cause":    func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, context.Cause(ctx) },
		"deadline": func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, context.DeadlineExceeded },
		"wrapped": func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, fmt.Errorf("%w: %w", errDown, context.DeadlineExceeded)
		},
		"deaf": func(ctx context.Context) (int, error) { time.Sleep(time.Hour); return 0, nil },
		"late": func(ctx context.Context) (int, error) { <-ctx.Done(); return 1, nil },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, resource.Config[int]{MaxSize: 1, MakeTimeout: time.Second, Make: make}, func(p *resource.Pool[int]) {
				_, err := p.Acquire(context.Background())
				if !errors.Is(err, resource.ErrMakeTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
				if name == "wrapped" && !errors.Is(err, errDown) {
					t.Errorf("%v has lost what Make returned", err)
				}
			})
		})
	}
}

// A negative MakeTimeout is none.
func TestMakeTimeout_None(t *testing.T) {
	script(t, 1, func(h *harness) { h.cfg.MakeTimeout = -1 }, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(1000 * time.Hour)
		h.wantWaiting(c)
		if _, ok := m.ctx.Deadline(); ok || m.ctx.Err() != nil {
			t.Error("the context has a bound")
		}
		c.wantItem(m.finish())
	})
}

// The server allows fewer than MaxSize, and leases are about to end: a failed make
// fails no caller that those leases will serve (node-postgres#557).
func TestMakeFailed_WithLeasesOut(t *testing.T) {
	var mu sync.Mutex
	open, failed := 0, 0
	cfg := resource.Config[int]{
		MaxSize: 30,
		Make: func(context.Context) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if open == 20 {
				return 0, errDown
			}
			open++
			return open, nil
		},
		Destroy: func(int, error) { mu.Lock(); open--; mu.Unlock() },
	}
	inBubble(t, cfg, func(p *resource.Pool[int]) {
		// Without it the first creations fail while no lease has begun, and so fail their callers.
		if err := p.Warm(context.Background(), 20); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 25 {
			wg.Go(func() {
				for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
					l, err := p.Acquire(context.Background())
					if err != nil {
						mu.Lock()
						failed++
						mu.Unlock()
						continue
					}
					time.Sleep(5 * time.Millisecond)
					l.Release()
				}
			})
		}
		wg.Wait()
		if failed > 0 {
			t.Errorf("%d callers failed", failed)
		}
		if s := p.Stats(); s.Failed > 100 {
			t.Errorf("%d makes failed in 20 s", s.Failed)
		}
	})
}

// A waiter that continues to wait learns the cause when its context ends.
func TestMakeFailed_CauseIsKept(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		h.lend()
		c := h.acquireFor(time.Second)
		h.wantMake().fail(errDown)
		h.wantWaiting(c)
		time.Sleep(time.Second)
		if e := c.wantErr(context.DeadlineExceeded); !errors.Is(e.LastMake, errDown) {
			t.Errorf("LastMake is %v", e.LastMake)
		}
	})
}

// A make that follows a failed one for the same waiter has that caller's values
// too.
func TestMakeContext_ValuesOfARetry(t *testing.T) {
	type key struct{}
	script(t, 2, nil, func(h *harness) {
		h.lend()
		c := h.acquireCtx(context.WithValue(context.Background(), key{}, 7), resource.Request{})
		h.wantMake().fail(errDown)
		h.wantWaiting(c)
		m := h.wantMakeWithin(time.Second)
		if m.ctx.Value(key{}) != 7 {
			t.Error("the second make does not see its caller's values")
		}
		c.wantItem(m.finish())
	})
}

// A nil context value in the caller's context, a make without any: what the
// make sees of its caller are the values only.
func TestMakeContext(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), classKey{}, 7), time.Second)
		defer cancel()
		c := h.acquireCtx(ctx, resource.Request{})
		m := h.wantMake()
		if m.ctx.Value(classKey{}) != 7 {
			t.Error("the make does not see its caller's values")
		}
		if d, ok := m.ctx.Deadline(); ok {
			t.Errorf("the make's context, which lives as long as the resource, has a deadline in %v", time.Until(d))
		}
		time.Sleep(time.Second)
		c.wantErr(context.DeadlineExceeded)
		if m.ctx.Err() != nil {
			t.Error("the make ended with its caller")
		}
		m.finish()
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// MakingID is the ID that the resource will have, and of no resource where Make
// fails; elsewhere it is 0.
func TestMakingID(t *testing.T) {
	calls, seen := 0, uint64(0)
	p := newPool(t, resource.Config[int]{MaxSize: 4, Make: func(ctx context.Context) (int, error) {
		calls++
		id := resource.MakingID(ctx)
		if id == 0 || id == seen || id != resource.MakingID(ctx) {
			t.Errorf("made as %d, after %d", id, seen)
		}
		seen = id
		if calls == 1 {
			return 0, errors.New("not yet")
		}
		return calls, nil
	}})
	defer p.Close(context.Background())
	_ = p.Warm(t.Context(), 1) // the first make fails; Warm may try once more
	l := lendOne(t, p)
	defer l.Release()
	if i := l.Info(); i.ID != seen {
		t.Errorf("%d was made as %d", i.ID, seen)
	}
	if id := resource.MakingID(t.Context()); id != 0 {
		t.Errorf("%d outside of a make", id)
	}
}

// How many makes there are and when: extreme times, gates that refuse, and maxima
// that change. All of these but those that shrink the pool once failed.

// The longest MakeTimeout there is overflowed, and every make was abandoned at
// once.
func TestMakeTimeout_Longest(t *testing.T) {
	edit := func(h *harness) { h.cfg.MakeTimeout = math.MaxInt64 }
	script(t, 1, edit, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(time.Second)
		h.wantWaiting(c)
		c.wantItem(m.finish())
		if s := h.p.Stats(); s.Abandoned != 0 || s.Failed != 0 {
			t.Errorf("%d abandoned, %d failed", s.Abandoned, s.Failed)
		}
	})
}
