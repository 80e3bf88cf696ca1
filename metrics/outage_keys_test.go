package metrics_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// A Keyed has an outage for as long as one key has one: Since is not zero while Outage is
// true, and an outage that ended because its key was forgotten does not leave its Since to
// the next one.
func TestSnapshot_OutageOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		var mu sync.Mutex
		down := map[string]bool{"a": true, "b": true}
		set := func(key string, to bool) { mu.Lock(); defer mu.Unlock(); down[key] = to }
		k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{
			MaxTotal: 4,
			Config: func(key string) (resource.Config[int], error) {
				return resource.Config[int]{
					MaxSize: 2, Trace: m.Trace(nil),
					Make: func(context.Context) (int, error) {
						mu.Lock()
						defer mu.Unlock()
						if down[key] {
							return 0, errors.New("down")
						}
						return 1, nil
					},
				}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Watch(k); err != nil {
			t.Fatal(err)
		}
		fail := func(key string) {
			t.Helper()
			for range 4 {
				if l, err := k.Acquire(t.Context(), key); err == nil {
					t.Fatal(l)
				}
			}
			synctest.Wait()
		}
		want := func(when string, outage bool, since time.Time) {
			t.Helper()
			if s := m.Snapshot(0); s.Outage != outage || !s.Since.Equal(since) {
				t.Errorf("%s: outage %v since %v, want %v since %v", when, s.Outage, s.Since, outage, since)
			}
		}
		heal := func(key string) {
			set(key, false)
			for {
				l, err := k.Acquire(t.Context(), key)
				if err == nil {
					l.Release()
					return
				}
				var failed *resource.AcquireError
				if !errors.As(err, &failed) {
					t.Fatal(err)
				}
				_ = failed.Wait(t.Context())
			}
		}
		began := time.Now()
		fail("a")
		time.Sleep(time.Second)
		fail("b")
		want("two keys", true, began)
		heal("a")
		want("one has recovered", true, began)
		heal("b")
		want("both have", false, time.Time{})

		set("a", true)
		k.Reset(nil)
		time.Sleep(time.Second)
		began = time.Now()
		fail("a")
		want("again", true, began)
		time.Sleep(2 * resource.DefaultForgetAfter)
		synctest.Wait()
		if _, ok := k.Find("a"); ok {
			t.Fatal("the key is still in use")
		}
		want("the key is forgotten", false, time.Time{})
		began = time.Now()
		fail("a")
		want("after that", true, began)
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
