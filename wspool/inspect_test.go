package wspool_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// fact returns the value of the fact of that name.
func fact(t *testing.T, in resource.Inspection, name string, level bool) int64 {
	t.Helper()
	for _, f := range in.Facts {
		if f.Name == name {
			if f.Level != level {
				t.Errorf("%s is a level: %t", name, f.Level)
			}
			return f.Value
		}
	}
	t.Fatalf("no %s among %+v", name, in.Facts)
	return 0
}

// Each connection shows its reader, and its round-trip time once that is known.
func TestInspect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.MaxSize, w.cfg.WatchAfter = 3, 10*time.Millisecond
		w.cfg.Health = everyTime{}
		p := pool(t, w.cfg)
		c := acquire(t, p)
		state := func() string {
			t.Helper()
			in := p.Inspect(5)
			if len(in.Resources) != 1 || in.Resources[0].ID != 1 {
				t.Fatalf("%+v", in.Resources)
			}
			return in.Resources[0].Detail
		}
		if got := state(); got != "unread" {
			t.Errorf("leased: %q", got)
		}
		time.Sleep(time.Second)
		if got := state(); got != "watched" {
			t.Errorf("leased for a second: %q", got)
		}
		if _, err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // pings of the keepalive
		if got := state(); !strings.HasPrefix(got, "watched, rtt ") {
			t.Errorf("after pings: %q", got)
		}
		c.Release()
		in := p.Inspect(1)
		if in.Stats != p.Stats().Stats || in.Resources[0].State != resource.Idle {
			t.Errorf("%+v", in)
		}
		if fact(t, in, "unwatched", true) != int64(p.Stats().Unwatched) || fact(t, in, "tainted", false) != 0 {
			t.Errorf("%+v", in.Facts)
		}
		var gate, health resource.PolicyState
		for _, s := range in.Policies {
			switch s.Moment {
			case "MakeGate":
				gate = s
			case "Health":
				health = s
			}
		}
		if gate.State != "0 of 16 dials run, 0 waiting" || health.State != "wspool_test.everyTime; fine" {
			t.Errorf("%+v", in.Policies)
		}
	})
}

// everyTime is a Health that finds all well.
type everyTime struct{}

func (everyTime) Check(context.Context, *wspool.Conn, resource.Info) error { return nil }
func (everyTime) State() string                                            { return "fine" }

// The counters of the sockets are reported as facts.
func TestInspectFacts(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		ws.ReadMessage()
		ws.WriteMessage(websocket.TextMessage, []byte("one"))
		ws.WriteMessage(websocket.TextMessage, []byte("two"))
		drain(ws)
	})
	gone := ends(&peer.cfg)
	p := pool(t, peer.cfg)
	c := acquire(t, p)
	ask1(t, c)
	c.Release() // another message waits, or comes
	next(t, "end", gone)
	in, s := p.Inspect(0), p.Stats().Sockets
	if len(in.Resources) != 0 || fact(t, in, "tainted", false) != s.Tainted || fact(t, in, "unsolicited", false) != s.Unsolicited {
		t.Errorf("%+v, want those of %v", in.Facts, s)
	}
	if s.Tainted+s.Unsolicited == 0 {
		t.Errorf("nothing was counted: %v", s)
	}
	for _, name := range []string{"stale", "silent", "dropped"} {
		if n := fact(t, in, name, false); n != 0 {
			t.Errorf("%d %s", n, name)
		}
	}
}

// ask1 writes one message and reads one.
func ask1(t *testing.T, c *wspool.Conn) {
	t.Helper()
	write(t, c, "hello")
	read(t, c, "one")
}

// Close codes are counted one by one, unless a server makes up too many.
func TestInspectCloseCodes(t *testing.T) {
	for _, codes := range []int{2, 40} {
		code := 3999
		peer := listen(t, false, func(ws *websocket.Conn) {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			code++
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), deadline())
			drain(ws)
		})
		peer.cfg.MaxSize, peer.cfg.Redial = 1, atOnce
		gone := ends(&peer.cfg)
		p := pool(t, peer.cfg)
		for range codes {
			c := acquire(t, p)
			write(t, c, "bye")
			if _, _, err := c.ReadMessage(t.Context()); err == nil {
				t.Fatal("read a message")
			}
			c.Release()
			next(t, "end", gone)
		}
		in := p.Inspect(0)
		name, want := "closed with code 4000", int64(1)
		if codes == 40 {
			name, want = "closed with another code", 40
		}
		if n := fact(t, in, name, false); n != want || len(in.Facts) > 12 {
			t.Errorf("%d %s, want %d: %+v", n, name, want, in.Facts)
		}
	}
}

// A Manager reports all keys together, and each key.
func TestInspectManager(t *testing.T) {
	peer := listen(t, false, welcome)
	m := managed(t, wspool.ManagerConfig[tenant]{MaxTotal: 8})
	ann, bob := tenant{peer.cfg.URL, "ann"}, tenant{peer.cfg.URL, "bob"}
	view := m.View(ann)
	if in := view.Inspect(5); in.Made != 0 || m.Len() != 0 {
		t.Errorf("%+v, %d keys by looking", in, m.Len())
	}
	for _, of := range []tenant{ann, bob} {
		c, err := m.Acquire(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Discard(nil)
	}
	if in := m.Inspect(5); len(in.Resources) != 2 || in.Leased != 2 || fact(t, in, "unwatched", true) > 2 {
		t.Errorf("%+v", in)
	}
	if in := view.Inspect(5); len(in.Resources) != 1 || in.Resources[0].Detail == "" || in.Facts != nil {
		t.Errorf("%+v", in)
	}
	if _, ok := m.InspectKey(tenant{"", "eve"}, 1); ok {
		t.Error("eve has a pool")
	}
}
