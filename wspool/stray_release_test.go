package wspool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// A message that came in during a lease that has written nothing belongs to no
// lease: at its end the connection is kept and OnUnsolicited gets the message,
// whether it has come whole or in part, and whoever reads the connection then.
func TestRelease_MessageOfNoLease(t *testing.T) {
	whole := frame(websocket.TextMessage, "news")
	for name, first := range map[string]int{"whole": len(whole), "in part": 3, "one byte": 1} {
		for who, set := range map[string]func(*wspool.Config){
			"hot":     func(*wspool.Config) {},
			"watched": func(cfg *wspool.Config) { cfg.WatchAfter = -1 },
			"opaque":  opaque,
		} {
			t.Run(name+"/"+who, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					set(&w.cfg)
					var got []string
					w.cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
						got = append(got, string(m.Data))
						return nil, nil
					}
					p := pool(t, w.cfg)
					c := acquire(t, p)
					w.send(0, whole[:first])
					c.Release()
					w.send(0, whole[first:])
					synctest.Wait()
					c = acquire(t, p)
					if !c.Reused() {
						t.Error("the connection was not kept")
					}
					ask(t, c, "x")
					c.Release()
					if s := p.Stats(); len(got) != 1 || got[0] != "news" || s.Unsolicited != 1 || s.Tainted != 0 {
						t.Errorf("OnUnsolicited got %q; %v", got, s)
					}
				})
			})
		}
	}
}

// Without OnUnsolicited such a message ends the connection, and the cause says
// that nobody had asked for it, not that its lease left it unread.
func TestRelease_MessageOfNoLeaseEnds(t *testing.T) {
	whole := frame(websocket.TextMessage, "news")
	for name, first := range map[string]int{"whole": len(whole), "in part": 3} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				gone := w.ends()
				p := pool(t, w.cfg)
				c := acquire(t, p)
				w.send(0, whole[:first])
				c.Release()
				w.send(0, whole[first:])
				if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrUnsolicited) {
					t.Errorf("destroyed with %v", e.cause)
				}
			})
		})
	}
}
