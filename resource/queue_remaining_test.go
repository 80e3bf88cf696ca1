package resource_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A waiter for which every resource is too near its end is not passed over for ever, with a Queue or without.
func TestMinRemaining_PassedOver(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"no Queue": nil, "Queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, resource.Config[int]{Make: makeOne, MaxSize: 1, Eviction: olderThan(time.Hour), SweepInterval: 24 * time.Hour, Queue: queue})
				l := lendOne(t, p)
				time.Sleep(5 * time.Minute)
				var served atomic.Int64
				var over atomic.Bool
				done := make(chan time.Duration)
				go func() {
					began := time.Now()
					l, err := p.AcquireWith(t.Context(), resource.Request{MinRemaining: 58 * time.Minute})
					if err != nil {
						t.Error(err)
					}
					l.Release()
					done <- time.Since(began)
				}()
				synctest.Wait()
				for range 3 {
					go func() {
						for !over.Load() {
							l, err := p.Acquire(t.Context())
							if err != nil {
								t.Error(err)
								return
							}
							time.Sleep(100 * ms)
							served.Add(1)
							l.Release()
						}
					}()
				}
				synctest.Wait()
				l.Release()
				if took := <-done; took > 5*time.Second || served.Load() > 30 {
					t.Errorf("waited for %v, in which %d others were served", took, served.Load())
				}
				over.Store(true)
				synctest.Wait()
				time.Sleep(time.Second)
				closeAll(t, p)
			})
		})
	}
}
