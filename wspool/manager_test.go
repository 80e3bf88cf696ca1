package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// tenant is a key: an endpoint and the user that signs in there.
type tenant struct{ url, name string }

// welcome is a peer that expects a name first and then puts it before each echo.
func welcome(ws *websocket.Conn) {
	_, name, err := ws.ReadMessage()
	if err != nil || ws.WriteMessage(websocket.TextMessage, []byte("hello")) != nil {
		return
	}
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, []byte(string(name)+": "+string(p))) != nil {
			return
		}
	}
}

// managed returns a manager whose connections sign in as their tenant.
func managed(t *testing.T, cfg wspool.ManagerConfig[tenant]) *wspool.Manager[tenant] {
	cfg.Config = func(of tenant) (wspool.Config, error) {
		if of.name == "" {
			return wspool.Config{}, errors.New("no such tenant")
		}
		return wspool.Config{
			URL:     of.url,
			MaxSize: 2,
			OnConnect: func(ctx context.Context, c *wspool.Conn) error {
				if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(of.name)); err != nil {
					return err
				}
				_, _, err := c.ReadMessage(ctx)
				return err
			},
		}, nil
	}
	m, err := wspool.NewManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if s := m.Stats(); s.Made != s.Destroyed || s.Unwatched != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
	return m
}

// Each tenant has connections of its own, at its endpoint, and the total holds: the
// one idle longest is preempted.
func TestManager(t *testing.T) {
	one, two := listen(t, false, welcome), listen(t, false, welcome)
	m := managed(t, wspool.ManagerConfig[tenant]{MaxTotal: 3})
	say := func(of tenant) error {
		return m.Do(t.Context(), of, func(ctx context.Context, c *wspool.Conn) error {
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("x")); err != nil {
				return err
			}
			_, p, err := c.ReadMessage(ctx)
			if err == nil && string(p) != of.name+": x" {
				err = fmt.Errorf("%v got %q", of, p)
			}
			return err
		})
	}
	for range 3 {
		for _, url := range []string{one.cfg.URL, two.cfg.URL} {
			for _, name := range []string{"ann", "bob", "cid"} {
				if err := say(tenant{url, name}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	s := m.Stats()
	if s.Keys != 6 || s.Idle > 3 || s.Preempted < 3 || m.Len() != 6 {
		t.Errorf("%+v, want 6 keys that shared 3 slots", s)
	}
	if _, err := m.Acquire(t.Context(), tenant{one.cfg.URL, ""}); err == nil || !strings.Contains(err.Error(), "no such tenant") {
		t.Errorf("Acquire of a key without a Config: %v", err)
	}
}

// One key can be warmed, reset and drained, and the others are not affected.
func TestManagerKey(t *testing.T) {
	peer := listen(t, false, welcome)
	m := managed(t, wspool.ManagerConfig[tenant]{MaxTotal: 8})
	ann, bob := tenant{peer.cfg.URL, "ann"}, tenant{peer.cfg.URL, "bob"}
	for _, of := range []tenant{ann, bob} {
		if err := m.Warm(t.Context(), of, 2); err != nil {
			t.Fatal(err)
		}
	}
	c, ok := m.TryAcquire(ann)
	if !ok {
		t.Fatal("nothing idle after Warm")
	}
	if m.ResetKey(tenant{"", "eve"}, nil) {
		t.Error("ResetKey found a key that was never used")
	}
	if !m.ResetKey(ann, errors.New("new password")) {
		t.Error("ResetKey did not find ann")
	}
	c.Release()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := m.Drain(ctx, ann); err != nil {
		t.Errorf("Drain: %v", err)
	}
	left := map[tenant]resource.Stats{}
	for of, s := range m.All() {
		left[of] = s
	}
	if len(left) != 1 || left[bob].Idle != 2 || left[bob].Destroyed != 0 {
		t.Errorf("left: %+v", left)
	}
	c, err := m.AcquireWith(ctx, ann, resource.Request{Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	if c.Reused() {
		t.Error("a connection from before the Drain")
	}
	c.Release()
}

func TestBadManagerConfig(t *testing.T) {
	for _, cfg := range []wspool.ManagerConfig[int]{
		{MaxTotal: 1},
		{Config: func(int) (wspool.Config, error) { return wspool.Config{}, nil }},
		{Config: func(int) (wspool.Config, error) { return wspool.Config{}, nil }, MaxTotal: 1, ForgetAfter: -time.Second},
	} {
		if _, err := wspool.NewManager(cfg); err == nil {
			t.Errorf("NewManager(%+v) returned no error", cfg)
		}
	}
	m, err := wspool.NewManager(wspool.ManagerConfig[int]{
		Config: func(int) (wspool.Config, error) { return wspool.Config{}, nil }, MaxTotal: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Acquire(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "URL is empty") {
		t.Errorf("Acquire with a bad Config: %v", err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}
