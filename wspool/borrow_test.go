package wspool_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// The server ends all connections at once, among them more than a caller may see
// die that were dialled ahead and never used: the caller gets one that is dialled
// afterwards, whether it comes before the pool has heard of the deaths or when it
// has.
func TestAcquire_ManyUnusedDieAtOnce(t *testing.T) {
	for i := range 20 {
		peer := listen(t, false, echo)
		peer.cfg.MaxSize, peer.cfg.MinIdle = 8, 8
		p := pool(t, peer.cfg)
		for end := time.Now().Add(patience); p.Stats().Idle < 8 || peer.open() < 8; {
			if time.Now().After(end) {
				t.Fatalf("%v", p.Stats())
			}
			time.Sleep(time.Millisecond) // a poll with a bound
		}
		peer.cut() // the pool dials again at once
		if i%2 == 1 {
			for end := time.Now().Add(patience); p.Stats().Invalidated < 8; {
				if time.Now().After(end) {
					t.Fatalf("%v", p.Stats())
				}
				time.Sleep(time.Millisecond) // a poll with a bound
			}
		}
		c, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "hello")
		c.Release()
	}
}

// MaxWait bounds the acquire, all its tries together, and not the work.
func TestDoWith_MaxWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.MaxSize = 1
		p := pool(t, w.cfg)
		bounded := resource.Request{MaxWait: time.Second}
		err := p.DoWith(t.Context(), bounded, func(ctx context.Context, c *wspool.Conn) error {
			time.Sleep(5 * time.Second)
			began := time.Now()
			err := p.DoWith(t.Context(), bounded, nil)
			if took := time.Since(began); !errors.Is(err, resource.ErrMaxWait) || took != time.Second {
				t.Errorf("while the only one is out: %v after %v", err, took)
			}
			ask(t, c, "hello")
			return ctx.Err()
		})
		if err != nil {
			t.Error(err)
		}
	})
}
