package wspool_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// deadURL is an endpoint where nothing listens.
func deadURL(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + l.Addr().String() + "/"
	l.Close()
	return url
}

// silentURL is an endpoint that takes connections and never answers.
func silentURL(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "ws://" + l.Addr().String() + "/"
}

// anyManager returns a manager whose keys are URLs.
func anyManager(t *testing.T) *wspool.Manager[string] {
	m, err := wspool.NewManager(wspool.ManagerConfig[string]{MaxTotal: 8, Config: func(url string) (wspool.Config, error) {
		return wspool.Config{URL: url, MaxSize: 2, Exchange: wspool.ReplyLast}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if s := m.Stats(); s.Made != s.Destroyed || s.Waiting != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
	return m
}

// wantEcho checks that c, which was lent for key, is a connection to that endpoint.
func wantEcho(t *testing.T, c *wspool.Conn, key, want string, err error) {
	t.Helper()
	if err != nil || key != want {
		t.Fatalf("a connection of %q, %v; want one of %q", key, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.ReadMessage(ctx); err != nil || string(p) != "x" {
		t.Fatalf("%q, %v", p, err)
	}
	c.Release()
}

// A dead first endpoint and one that never answers do not keep a caller from the next.
func TestManagerAny(t *testing.T) {
	alive, second := listen(t, false, echo), listen(t, false, echo)
	for name, bad := range map[string]string{"dead": deadURL(t), "black hole": silentURL(t)} {
		t.Run(name, func(t *testing.T) {
			m := anyManager(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			keys := []string{bad, alive.cfg.URL, second.cfg.URL}
			began := time.Now()
			key, c, err := m.AcquireAny(ctx, keys, resource.Request{})
			wantEcho(t, c, key, alive.cfg.URL, err)
			t.Logf("after %v", time.Since(began))
			key, c, err = m.AcquireAny(ctx, keys, resource.Request{}) // it is idle
			wantEcho(t, c, key, alive.cfg.URL, err)
			s := m.Stats()
			if n := s.Begun.Callers; n > 2 {
				t.Errorf("%d dials for one caller", n)
			}
			if s.Waited != 1 || s.WaitsServed != 1 || s.Failures.Total() != 0 {
				t.Errorf("%v", s)
			}
		})
	}
}

// An idle connection whose server has gone is unfit: the caller continues with all keys, and gets
// one of another server.
func TestManagerAnyUnfit(t *testing.T) {
	first := &peer{serve: echo, conns: map[*websocket.Conn]bool{}}
	server := httptest.NewServer(first)
	url := "ws" + strings.TrimPrefix(server.URL, "http")
	second := listen(t, false, echo)
	m := anyManager(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	keys := []string{url, second.cfg.URL}
	key, c, err := m.AcquireAny(ctx, keys, resource.Request{})
	wantEcho(t, c, key, url, err)
	server.Listener.Close()
	first.cut()
	for range 3 {
		key, c, err = m.AcquireAny(ctx, keys, resource.Request{})
		wantEcho(t, c, key, second.cfg.URL, err)
	}
	server.Close()
	first.hangUp()
}

// When every endpoint fails the error has the reason of each.
func TestManagerAnyFails(t *testing.T) {
	m := anyManager(t)
	_, c, err := m.AcquireAny(t.Context(), []string{deadURL(t), "ftp://x", deadURL(t)}, resource.Request{})
	var failed *resource.AcquireError
	var dial *wspool.DialError
	if c != nil || !errors.As(err, &failed) || !errors.As(err, &dial) || failed.Reason != resource.ReasonMakeFailed {
		t.Errorf("%v", err)
	}
	if n := strings.Count(err.Error(), ";"); n < 2 {
		t.Errorf("not all reasons: %v", err)
	}
	if _, _, err := m.AcquireAny(t.Context(), nil, resource.Request{}); !errors.Is(err, resource.ErrNoKeys) {
		t.Errorf("%v", err)
	}
}

// Callers at a server that is full are served by another one's release.
func TestManagerAnyReleased(t *testing.T) {
	one, two := listen(t, false, echo), listen(t, false, echo)
	m := anyManager(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var held []*wspool.Conn
	for _, p := range []*peer{one, one, two, two} {
		c, err := m.Acquire(ctx, p.cfg.URL)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	type result struct {
		key string
		c   *wspool.Conn
		err error
	}
	got := make(chan result)
	go func() {
		key, c, err := m.AcquireAny(ctx, []string{one.cfg.URL, two.cfg.URL}, resource.Request{})
		got <- result{key, c, err}
	}()
	for m.Stats().Waiting == 0 { // bounded by ctx: the acquire returns
		if ctx.Err() != nil {
			t.Fatal("it does not wait")
		}
		time.Sleep(time.Millisecond) // between looks
	}
	held[3].Release()
	r := <-got
	wantEcho(t, r.c, r.key, two.cfg.URL, r.err)
	for _, c := range held[:3] {
		c.Release()
	}
}
