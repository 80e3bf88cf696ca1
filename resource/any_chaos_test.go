package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// anyChaos is a Keyed under callers of AcquireAny while its policies fail in every way.
type anyChaos struct {
	t     *testing.T
	k     *resource.Keyed[int, *keyedToken]
	gates [5]*ledger
	calm  atomic.Bool
	hang  chan struct{} // closed when creations that hang are to return
}

// fault panics, or ends the goroutine, now and then.
func (c *anyChaos) fault() {
	if c.calm.Load() {
		return
	}
	switch rand.IntN(200) {
	case 0:
		panic(errFaulty)
	case 1:
		runtime.Goexit()
	case 2:
		runtime.Gosched()
	}
}

func (c *anyChaos) config(key int) (resource.Config[*keyedToken], error) {
	g := c.gates[key]
	cfg := resource.Config[*keyedToken]{
		MaxSize:     1 + key%3,
		MakeTimeout: 50 * time.Millisecond,
		Admission:   g,
		Make: func(ctx context.Context) (*keyedToken, error) {
			c.fault()
			switch n := rand.IntN(60); {
			case c.calm.Load():
			case n == 0:
				<-c.hang // whatever its context says
			case n < 3:
				<-ctx.Done()
				return nil, ctx.Err()
			case n < 8:
				return nil, errKeyedStress
			}
			return &keyedToken{key: key}, nil
		},
		Destroy: func(tok *keyedToken, _ error) {
			if tok.gone.Swap(true) {
				c.t.Error("I3: destroyed twice")
			}
		},
		EvictIf: func(*keyedToken, resource.Info) error {
			c.fault()
			if !c.calm.Load() && rand.IntN(100) == 0 {
				return errOld
			}
			return nil
		},
		Health: checkOf[*keyedToken](func(context.Context, *keyedToken, resource.Info) error {
			c.fault()
			if !c.calm.Load() && rand.IntN(20) == 0 {
				return errFaulty
			}
			return nil
		}),
		OnRelease: func(context.Context, *keyedToken) error { c.fault(); return nil },
	}
	if key == 3 {
		cfg.Queue = new(fifo)
	}
	if key == 4 {
		cfg.Admission = nil
	}
	return cfg, nil
}

// call is one AcquireAny, on a goroutine that a policy may end.
func (c *anyChaos) call(r *rand.Rand, patience time.Duration) (err error) {
	keys := make([]int, 1+r.IntN(5))
	for i := range keys {
		keys[i] = r.IntN(len(c.gates))
	}
	req := resource.Request{NoWait: r.IntN(20) == 0, Fresh: r.IntN(20) == 0}
	if r.IntN(5) == 0 {
		req.MaxWait = time.Duration(1+r.IntN(3000)) * time.Microsecond
	}
	if r.IntN(10) == 0 {
		req.MinRemaining = time.Millisecond
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	err = errFaulty // unless it returns
	var done sync.WaitGroup
	done.Go(func() {
		var key int
		var l resource.Lease[*keyedToken]
		key, l, err = c.k.AcquireAny(ctx, keys, req)
		if err != nil {
			return
		}
		tok := l.Value()
		if tok.holders.Add(1) != 1 || tok.gone.Load() || tok.key != key {
			c.t.Errorf("I2: got one of key %d that others have", tok.key)
		}
		if rand.IntN(4) == 0 {
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond) // the time of the work
		}
		tok.holders.Add(-1)
		if rand.IntN(20) == 0 {
			l.Discard(errKeyedStress)
		} else {
			l.Release()
		}
	})
	done.Wait()
	return err
}

// TestI9_AnyChaos: while policies panic and end goroutines, creations fail and hang, keys are
// drained and reset and callers give up, nothing is lent twice and nothing is lost; when the
// faults end every caller is served, and no permit, waiter or goroutine is left.
func TestI9_AnyChaos(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &anyChaos{t: t, hang: make(chan struct{})}
	for i := range c.gates {
		c.gates[i] = &ledger{before: func(context.Context, resource.Request) error {
			c.fault()
			if !c.calm.Load() && rand.IntN(50) == 0 {
				return errFaulty
			}
			return nil
		}}
	}
	k, err := resource.NewKeyed(resource.KeyedConfig[int, *keyedToken]{MaxTotal: 5, ForgetAfter: 20 * time.Millisecond, Config: c.config})
	if err != nil {
		t.Fatal(err)
	}
	c.k = k
	total := 4000
	if testing.Short() {
		total = 1000
	}
	var callers sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(total))
	served := atomic.Int64{}
	for i := range 16 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if c.call(r, time.Duration(r.IntN(20))*time.Millisecond) == nil {
					served.Add(1)
				}
			}
		})
	}
	trouble := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		r := rand.New(rand.NewPCG(seed, 99))
		for {
			select {
			case <-trouble:
				return
			case <-time.After(time.Millisecond): // the pace of the trouble
			}
			switch r.IntN(4) {
			case 0:
				k.Reset(nil)
			case 1:
				_ = k.Resize(1 + r.IntN(6))
			case 2:
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				_ = k.Drain(ctx, r.IntN(len(c.gates)))
				cancel()
			case 3:
				_ = k.Stats()
				_ = k.Inspect(4)
			}
		}
	})
	callers.Wait()
	close(trouble)
	others.Wait()
	c.calm.Store(true)
	close(c.hang)
	if err := k.Resize(5); err != nil {
		t.Fatal(err)
	}
	for i := range 64 { // nothing is lost: every caller that waits is served
		callers.Go(func() {
			for {
				_, l, err := k.AcquireAny(t.Context(), []int{i % 5, (i + 1) % 5, (i + 2) % 5}, resource.Request{})
				var failed *resource.AcquireError
				switch {
				case err == nil:
					l.Release()
					return
				case !errors.As(err, &failed) || failed.Wait(t.Context()) != nil && !errors.Is(err, resource.ErrDraining):
					t.Errorf("with faults over: %v; %v", err, k.Stats())
					return
				}
			}
		})
	}
	callers.Wait()
	if s := k.Stats(); s.Waiting != 0 || s.Leased != 0 {
		t.Errorf("at rest: %v", s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := k.Close(ctx); err != nil {
		t.Fatalf("Close: %v, %+v", err, err)
	}
	s := k.Stats()
	if s.Load != (resource.Load{Max: 5}) || s.Made != s.Destroyed {
		t.Errorf("after Close: %v", s)
	}
	for _, g := range c.gates {
		if err := g.check(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of %d served; %v", served.Load(), total, s)
	if served.Load() == 0 || s.Panics == 0 {
		t.Error("the faults left nothing to test")
	}
}
