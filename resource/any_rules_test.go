package resource_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A caller moves on to the next key also if the total was used up when the delay was over, and the
// slot of the first key then went to an earlier caller.
func TestAny_DelayAfterTotal(t *testing.T) {
	var hang chan struct{}
	keyed(t, 2, 1, func(h *keyedHarness) {
		hang = make(chan struct{})
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "x" {
				cfg.MaxSize = 2
			}
		}
		h.fails = func(key string) error {
			if key == "a" {
				<-hang
				return errors.New("dead")
			}
			return nil
		}
	}, func(h *keyedHarness) {
		h.perKey = 2
		x1, x2 := h.acquire("x"), h.acquire("x")
		h.perKey = 1
		go func() {
			if l, err := h.k.Acquire(h.t.Context(), "a"); err == nil {
				l.Release()
			}
		}()
		synctest.Wait()
		c := h.goAny(resource.Request{}, "a", "b")
		time.Sleep(time.Second)
		c.waits()
		x1.Discard(nil) // a's earlier caller gets that slot: a is full
		synctest.Wait()
		x2.Discard(nil) // and this one is free
		time.Sleep(20 * time.Second)
		synctest.Wait()
		select {
		case <-c.ended:
			t.Logf("%q, %v after %v", c.key, c.err, c.after)
			c.lease.Release()
		default:
			t.Errorf("20 s after a slot became free: begun %v; %v", h.begun, h.k.Stats())
			c.cancel()
			<-c.ended
		}
		close(hang)
		synctest.Wait()
	})
}

// sharedPermit admits one caller of all keys. Key a admits first.
type sharedPermit struct {
	out   chan struct{} // capacity 1
	first chan struct{} // closed when a has been admitted
	key   string
	once  *sync.Once
}

func (g sharedPermit) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if r.NoWait {
		select {
		case g.out <- struct{}{}:
			return func(resource.Outcome) { <-g.out }, nil
		default:
			return nil, errors.New("full")
		}
	}
	if g.key != "a" {
		<-g.first
	}
	select {
	case g.out <- struct{}{}:
		g.once.Do(func() { close(g.first) })
		return func(resource.Outcome) { <-g.out }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A key that has dropped out gives its permit back: another key may need it.
func TestAny_PermitOfDropped(t *testing.T) {
	keyed(t, 9, 1, func(h *keyedHarness) {
		out, first, once := make(chan struct{}, 1), make(chan struct{}), new(sync.Once)
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			cfg.Admission = sharedPermit{out, first, key, once}
		}
		h.fails = func(key string) error {
			if key == "a" {
				return errors.New("dead")
			}
			return nil
		}
	}, func(h *keyedHarness) {
		c := h.goAny(resource.Request{}, "a", "b")
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case <-c.ended:
			t.Logf("%q, %v after %v", c.key, c.err, c.after)
			c.lease.Release()
		default:
			t.Errorf("waits for its own permit: %v", h.k.Stats())
			c.cancel()
			<-c.ended
		}
	})
}

// countedAdmission admits all, and counts them.
type countedAdmission struct{ n *atomic.Int64 }

func (g countedAdmission) Admit(context.Context, resource.Request) (resource.Done, error) {
	g.n.Add(1)
	return nil, nil
}

// The Admission of a key that has nothing idle is asked once.
func TestAny_AdmittedOnce(t *testing.T) {
	var n atomic.Int64
	keyed(t, 9, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) { cfg.Admission = countedAdmission{&n} }
	}, func(h *keyedHarness) {
		h.acquire("a").Release()
		l := h.acquire("a") // leased from its local slot
		n.Store(0)
		c := h.goAny(resource.Request{}, "a")
		c.waits()
		if n.Load() != 1 {
			t.Errorf("asked %d times", n.Load())
		}
		l.Release()
		c.got("a").Release()
	})
}

// No sum of a Keyed falls or is negative while callers come and go.
func TestAny_StatsNeverFall(t *testing.T) {
	k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{MaxTotal: 4, Config: func(string) (resource.Config[int], error) {
		return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 1, nil }}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"a", "b", "c"}
	var held []resource.Lease[int]
	for _, key := range keys {
		l, err := k.Acquire(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, _, _ = k.AcquireAny(context.Background(), keys, resource.Request{MaxWait: 20 * time.Microsecond})
			}
		}()
	}
	var last resource.KeyedStats
	negative, fell, failedFell := 0, 0, 0
	for began := time.Now(); time.Since(began) < 200*time.Millisecond; {
		s := k.Stats()
		if s.Waiting < 0 {
			negative++
		}
		if s.Waited < last.Waited {
			fell++
		}
		if s.WaitsFailed < last.WaitsFailed {
			failedFell++
		}
		last = s
	}
	close(stop)
	wg.Wait()
	if negative+fell+failedFell > 0 {
		t.Errorf("Waiting was negative %d times; Waited fell %d times, WaitsFailed %d times", negative, fell, failedFell)
	}
	for _, l := range held {
		l.Release()
	}
	_ = k.Close(context.Background())
}
