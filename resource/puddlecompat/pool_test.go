package puddlecompat_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/resource"
	puddle "github.com/respool/respool/resource/puddlecompat"
)

// What puddle's own tests check is checked by them: see internal/proof/puddle.
// Here are the deviations that the documentation names, and what they leave open.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg puddle.Config[int]) *puddle.Pool[int] {
	t.Helper()
	p, err := puddle.NewPool(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func one(context.Context) (int, error) { return 1, nil }

func TestClose_EndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, puddle.Config[int]{Constructor: one, MaxSize: 1})
		res, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waiter, closed := make(chan error, 1), make(chan struct{})
		go func() {
			_, err := p.Acquire(t.Context())
			waiter <- err
		}()
		synctest.Wait()
		go func() { p.Close(); close(closed) }()
		synctest.Wait()
		select {
		case err := <-waiter:
			if err != puddle.ErrClosedPool {
				t.Errorf("the waiter gets %v", err)
			}
		default:
			t.Error("the waiter waits on")
		}
		select {
		case <-closed:
			t.Error("Close does not wait for the holder")
		default:
		}
		res.Release()
		<-closed
	})
}

// While the constructor fails everybody gets its own error, as it is.
func TestAcquire_ConstructorFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		calls := 0
		p := open(t, puddle.Config[int]{
			Constructor: func(context.Context) (int, error) { calls++; return 0, down },
			MaxSize:     1,
		})
		defer p.Close()
		for range 10 {
			if _, err := p.Acquire(t.Context()); err != down {
				t.Fatalf("got %v, want %v", err, down)
			}
		}
		if calls >= 10 {
			t.Errorf("%d calls for 10 acquires", calls)
		}
		if err := p.CreateResource(t.Context()); err != down {
			t.Errorf("CreateResource: %v, want %v", err, down)
		}
	})
}

func TestAcquire_ConstructorPanics(t *testing.T) {
	p := open(t, puddle.Config[int]{
		Constructor: func(context.Context) (int, error) { panic("bad") },
		Destructor:  func(int) { panic("worse") },
		MaxSize:     1,
	})
	defer p.Close()
	var panicked *resource.PanicError
	if _, err := p.Acquire(t.Context()); !errors.As(err, &panicked) || panicked.Value != "bad" {
		t.Errorf("got %v", err)
	}
}

func TestNewPool_NilConstructor(t *testing.T) {
	if p, err := puddle.NewPool(&puddle.Config[int]{MaxSize: 1}); err == nil || p != nil {
		t.Errorf("a pool without a constructor: %v, %v", p, err)
	}
}

// CreateResource has the constructor see its own context, and waits for it.
func TestCreateResource_Context(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, puddle.Config[int]{
			Constructor: func(ctx context.Context) (int, error) {
				<-ctx.Done()
				time.Sleep(time.Second)
				return 0, context.Cause(ctx)
			},
			MaxSize: 1,
		})
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		err := p.CreateResource(ctx)
		if took := time.Since(began); err != context.DeadlineExceeded || took != time.Minute+time.Second {
			t.Errorf("%v after %v, want the deadline's error after 61 s", err, took)
		}
	})
}

// The end of use is noticed, also where puddle would go on.
func TestResource_AfterDestroy(t *testing.T) {
	p := open(t, puddle.Config[int]{Constructor: one, MaxSize: 1})
	defer p.Close()
	res, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	res.Destroy()
	defer func() {
		if recover() == nil {
			t.Error("Value after Destroy returned")
		}
	}()
	res.Value()
}
