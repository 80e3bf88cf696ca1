package wspool_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// session is what OnConnect leaves to the leases of a connection.
type session struct{ id uint64 }

// A value that OnConnect sets is there in every lease and check of its connection,
// and in no other.
func TestConnValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		peer.cfg.SweepInterval = time.Second
		peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
			if c.Value() != nil {
				t.Errorf("a new connection has %v", c.Value())
			}
			if id := resource.MakingID(ctx); id == 0 || id != c.Info().ID {
				t.Errorf("made as %d, not %d", id, c.Info().ID)
			}
			c.SetValue(session{c.Info().ID})
			return nil
		}
		checked := make(chan bool, 1000)
		peer.cfg.Health = healthFunc(func(_ context.Context, c *wspool.Conn) error {
			s, ok := wspool.ValueOf[session](c)
			checked <- ok && s.id == c.Info().ID
			return nil
		})
		p := pool(t, peer.cfg)
		for range 3 {
			conns := []*wspool.Conn{acquire(t, p), acquire(t, p), acquire(t, p)}
			for _, c := range conns {
				if s, ok := wspool.ValueOf[session](c); !ok || s.id != c.Info().ID {
					t.Errorf("%+v, %v in connection %d", s, ok, c.Info().ID)
				}
				if _, ok := wspool.ValueOf[string](c); ok {
					t.Error("it is a string")
				}
				c.Release()
				c.SetValue("stolen")
				if c.Value() != nil {
					t.Error("a lease that has ended has a value")
				}
			}
			time.Sleep(2 * time.Second)
		}
		if !next(t, "check", checked) {
			t.Error("a check has another value")
		}
	})
}

// A dial that fails leaves its ID to nobody, and DoIdempotent runs again what
// certainly did not run.
func TestIDOfFailedDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		ids := map[uint64]bool{}
		peer.cfg.OnConnect = func(_ context.Context, c *wspool.Conn) error {
			if ids[c.Info().ID] {
				t.Errorf("%d once more", c.Info().ID)
			}
			ids[c.Info().ID] = true
			if len(ids) == 1 {
				return errors.New("not yet")
			}
			return nil
		}
		p := pool(t, peer.cfg)
		p.Warm(t.Context(), 1)
		c := acquire(t, p)
		if !ids[c.Info().ID] || c.Info().ID == 0 {
			t.Errorf("%d of %v", c.Info().ID, ids)
		}
		c.Release()
	})
}
