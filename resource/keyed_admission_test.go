package resource_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// turns is an Admission that admits a caller for each value of the channel, in the order in which they ask.
type turns chan struct{}

func (a turns) Admit(ctx context.Context, _ resource.Request) (resource.Done, error) {
	select {
	case <-a:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A key that has nothing but a caller that waits in its Admission is not forgotten: the caller would lose its
// turn.
func TestForget_CallerInAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		admission := make(turns)
		k := newKeyed(t, resource.KeyedConfig[string, int]{
			MaxTotal: 1, ForgetAfter: time.Minute,
			Config: func(string) (resource.Config[int], error) {
				return resource.Config[int]{Make: makeOne, MaxSize: 1, Admission: admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
					asked.Add(1)
					return admission.Admit(ctx, r)
				})}, nil
			},
		})
		for _, acquire := range []func() (resource.Lease[int], error){
			func() (resource.Lease[int], error) { return k.Acquire(t.Context(), "quiet") },
			func() (resource.Lease[int], error) {
				return k.AcquireWith(t.Context(), "quiet", resource.Request{MaxWait: 10 * time.Minute})
			},
		} {
			asked.Store(0)
			go func() {
				time.Sleep(5 * time.Minute)
				admission <- struct{}{}
			}()
			l, err := acquire()
			if err != nil || asked.Load() != 1 {
				t.Errorf("%v, asked %d times, want once", err, asked.Load())
			}
			l.Discard(nil)
			time.Sleep(3 * time.Minute)
			if n := k.Len(); n != 0 {
				t.Errorf("%d keys are in use minutes after the lease", n)
			}
		}
		closeAll(t, k)
	})
}

// MaxWait counts from the call, also if the key is drained while the caller waits in its Admission.
func TestMaxWait_DrainedInAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		admission := make(turns)
		k := newKeyed(t, resource.KeyedConfig[string, int]{
			MaxTotal: 1,
			Config: func(string) (resource.Config[int], error) {
				return resource.Config[int]{Make: makeOne, MaxSize: 1, Admission: admission}, nil
			},
		})
		go func() {
			time.Sleep(3 * time.Minute)
			if err := k.Drain(t.Context(), "a"); err != nil {
				t.Errorf("Drain: %v", err)
			}
			admission <- struct{}{}
		}()
		began := time.Now()
		_, err := k.AcquireWith(t.Context(), "a", resource.Request{MaxWait: 4 * time.Minute})
		if took := time.Since(began); !errors.Is(err, resource.ErrMaxWait) || took != 4*time.Minute {
			t.Errorf("%v after %v, want ErrMaxWait after 4m", err, took)
		}
		closeAll(t, k)
	})
}

// Pool of a Keyed that is closed fails, also for a key that is in use.
func TestKeyedPool_Closed(t *testing.T) {
	k := newKeyed(t, resource.KeyedConfig[string, int]{
		MaxTotal: 2,
		Config: func(string) (resource.Config[int], error) {
			return resource.Config[int]{Make: makeOne, MaxSize: 1}, nil
		},
	})
	l, err := k.Acquire(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = k.Close(ended)
	for _, key := range []string{"a", "b"} {
		if p, err := k.Pool(key); p != nil || !errors.Is(err, resource.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", key, err)
		}
	}
	l.Release()
	closeAll(t, k)
}

// A Warm that the new total allows no more than there is returns.
func TestWarm_TotalLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, resource.KeyedConfig[string, int]{
			MaxTotal: 6,
			Config: func(string) (resource.Config[int], error) {
				return resource.Config[int]{Make: makeOne, MaxSize: 6}, nil
			},
		})
		var leases []resource.Lease[int]
		for _, key := range []string{"a", "a", "a", "b", "b", "b"} {
			l, err := k.Acquire(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			leases = append(leases, l)
		}
		p, err := k.Pool("b")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- p.Warm(ctx, 5) }()
		synctest.Wait()
		if err := k.Resize(3); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Warm: %v", err)
		}
		for _, l := range leases {
			l.Release()
		}
		closeAll(t, k)
	})
}

// A Warm gives way to callers of other keys, also after a caller of its own key has left.
func TestWarm_PatientAgain(t *testing.T) {
	for name, came := range map[string]bool{"no caller": false, "a caller that left": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKeyed(t, resource.KeyedConfig[string, int]{
					MaxTotal: 4,
					Config: func(string) (resource.Config[int], error) {
						return resource.Config[int]{MaxSize: 4, Make: func(context.Context) (int, error) {
							time.Sleep(100 * ms)
							return 1, nil
						}}, nil
					},
				})
				var leases []resource.Lease[int]
				for range 4 {
					l, err := k.Acquire(t.Context(), "a")
					if err != nil {
						t.Fatal(err)
					}
					leases = append(leases, l)
				}
				p, err := k.Pool("b")
				if err != nil {
					t.Fatal(err)
				}
				warm, cancel := context.WithCancel(t.Context())
				defer cancel()
				over := make(chan struct{})
				go func() {
					defer close(over)
					_ = p.Warm(warm, 3)
				}()
				synctest.Wait()
				if came {
					_, err := p.AcquireWith(t.Context(), resource.Request{MaxWait: time.Second})
					if !errors.Is(err, resource.ErrMaxWait) {
						t.Errorf("Acquire: %v", err)
					}
				}
				time.Sleep(time.Minute)
				for range 4 {
					go func() {
						if l, err := k.Acquire(t.Context(), "a"); err == nil {
							time.Sleep(time.Hour)
							l.Release()
						}
					}()
				}
				synctest.Wait()
				for _, l := range leases {
					l.Release()
				}
				time.Sleep(time.Second)
				if n := k.Stats().Preempted; n != 0 {
					t.Errorf("%d resources of a gave way to a Warm", n)
				}
				cancel()
				<-over
				time.Sleep(2 * time.Hour)
				closeAll(t, k)
			})
		})
	}
}
