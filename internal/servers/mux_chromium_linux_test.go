package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/devtools"
)

type params map[string]any

// openTab opens a page and returns its session.
func openTab(ctx context.Context, c *mux.Client) (session string, err error) {
	var target struct{ TargetID string }
	if err := devtools.Call(ctx, c, devtools.Command{Method: "Target.createTarget", Params: params{"url": "about:blank"}}, &target); err != nil {
		return "", err
	}
	var attached struct{ SessionID string }
	err = devtools.Call(ctx, c, devtools.Command{
		Method: "Target.attachToTarget", Params: params{"targetId": target.TargetID, "flatten": true},
	}, &attached)
	return attached.SessionID, err
}

// evaluate evaluates an expression in a page, to its promised value if it is a promise.
func evaluate(ctx context.Context, c *mux.Client, session, expression string) (string, error) {
	var result struct {
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	err := devtools.Call(ctx, c, devtools.Command{
		Method: "Runtime.evaluate", SessionID: session, Params: params{"expression": expression, "awaitPromise": true},
	}, &result)
	if err == nil && result.ExceptionDetails.Text != "" {
		err = fmt.Errorf("the page: %s", result.ExceptionDetails.Text)
	}
	return result.Result.Value, err
}

// together is an expression whose promise resolves to text once n of them wait in its page.
func together(n int, text string) string {
	return fmt.Sprintf(`new Promise((resolve) => {
		const all = (globalThis.waiting ??= []);
		all.push(() => resolve(%q));
		if (all.length === %d) { globalThis.waiting = []; all.forEach((f) => f()); }
	})`, text, n)
}

func TestMuxChromium(t *testing.T) {
	browser := startChromium(t, "127.0.0.1:0")
	logged := make(chan devtools.Event, 100)
	c := newMux(t, wspool.Config{URL: browser.at.String(), MaxSize: 1}, mux.Config{
		Codec: devtools.Codec{},
		OnEvent: func(_ context.Context, m mux.Message) error {
			e, err := devtools.ParseEvent(m)
			if err == nil && e.Method == "Runtime.consoleAPICalled" {
				e.Params = append([]byte(nil), e.Params...)
				logged <- e
			}
			return err
		},
	})
	const tabs, each = 3, 50
	var sessions [tabs]string
	storm(t, tabs, 1, func(ctx context.Context, id int64) (err error) {
		if sessions[id-1], err = openTab(ctx, c); err != nil {
			return err
		}
		_, err = evaluate(ctx, c, sessions[id-1], fmt.Sprintf("'' + (globalThis.tab = %d)", id))
		return err
	})
	if t.Failed() {
		return
	}

	t.Run("50 in flight in each tab", func(t *testing.T) {
		before := c.Stats().Batches
		storm(t, tabs*each, 1, func(ctx context.Context, id int64) error {
			tab := id % tabs
			question := fmt.Sprintf("question %d to tab %d", id, tab+1)
			answer, err := evaluate(ctx, c, sessions[tab], together(each, fmt.Sprintf("question %d to tab ", id))+".then((s) => s + tab)")
			return matches(question, answer, err)
		})
		t.Logf("%d commands in %d writes", tabs*each, c.Stats().Batches-before)
	})
	t.Run("errors", func(t *testing.T) {
		succeed(t, func(ctx context.Context) error {
			for _, failing := range []struct {
				devtools.Command
				code int
			}{
				{devtools.Command{Method: "No.such"}, -32601},
				{devtools.Command{Method: "No.such", SessionID: sessions[0]}, -32601},
				{devtools.Command{Method: "Runtime.evaluate", SessionID: sessions[0]}, -32602}, // without parameters
				{devtools.Command{Method: "Runtime.evaluate", SessionID: "nowhere"}, -32001},
			} {
				var failed *devtools.Error
				if err := devtools.Call(ctx, c, failing.Command, nil); !errors.As(err, &failed) || failed.Code != failing.code {
					t.Errorf("%+v: got %v, want code %d", failing.Command, err, failing.code)
				}
			}
			c.EndSession("nowhere")
			answer, err := evaluate(ctx, c, sessions[0], "'' + tab")
			return matches("1", answer, err)
		})
	})
	t.Run("events", func(t *testing.T) {
		succeed(t, func(ctx context.Context) error {
			for i, s := range sessions {
				if err := devtools.Call(ctx, c, devtools.Command{Method: "Runtime.enable", SessionID: s}, nil); err != nil {
					return err
				}
				if _, err := evaluate(ctx, c, s, "console.log('from ' + tab)"); err != nil {
					return err
				}
				select {
				case e := <-logged:
					if want := fmt.Sprintf(`"from %d"`, i+1); e.SessionID != s || !bytes.Contains(e.Params, []byte(want)) {
						t.Errorf("session %s: got %s of %s, want %s", s, e.Params, e.SessionID, want)
					}
				case <-time.After(patience):
					t.Fatal("no event arrives")
				}
			}
			return nil
		})
	})
	t.Run("cancel", func(t *testing.T) {
		late := c.Stats().Late
		giveUp(t, func(ctx context.Context) error {
			_, err := evaluate(ctx, c, sessions[1], "new Promise((resolve) => { globalThis.release = () => resolve('late') })")
			return err
		}, func(ctx context.Context) (int, error) {
			answer, err := evaluate(ctx, c, sessions[1], "typeof release")
			if answer == "function" {
				return 1, err
			}
			return 0, err
		})
		if s := c.Stats(); s.Orphans != 1 || s.InFlight != 0 {
			t.Errorf("%d orphans, %d in flight, want 1 and 0", s.Orphans, s.InFlight)
		}
		succeed(t, func(ctx context.Context) error {
			answer, err := evaluate(ctx, c, sessions[1], "release(); 'released'")
			return matches("released", answer, err)
		})
		until(t, "the late reply is not dropped", func() bool {
			succeed(t, func(ctx context.Context) error {
				answer, err := evaluate(ctx, c, sessions[2], "'' + tab")
				return matches("3", answer, err)
			})
			s := c.Stats()
			return s.Late == late+1 && s.Orphans == 0
		})
	})
	if s := c.Stats(); s.Bad+s.Unknown != 0 || s.Acquired != 1 {
		t.Errorf("%+v", s)
	}
}

// TestMuxChromiumRestart kills a browser whose path changes with each start. Each connection has
// its own sessions: a caller attaches again when its session is gone.
func TestMuxChromiumRestart(t *testing.T) {
	var at atomic.Pointer[url.URL]
	type tab struct {
		mu      sync.Mutex
		session string
	}
	const tabs = 2
	var all [tabs]tab // shared by the callers
	var callers atomic.Int64
	endureShared(t, shared{
		start: func(t testing.TB, addr string) running {
			b := startChromium(t, addr)
			at.Store(b.at)
			return b
		},
		reach: func(cfg *wspool.Config) {
			cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
				h.URL = at.Load().String()
				return nil
			}
		},
		codec: mux.Config{Codec: devtools.Codec{}}, conns: 1,
		caller: func(c *mux.Client) func(context.Context, int64) (bool, error) {
			mine := &all[callers.Add(1)%tabs]
			return func(ctx context.Context, id int64) (bool, error) {
				mine.mu.Lock()
				session := mine.session
				if session == "" {
					var err error
					if session, err = openTab(ctx, c); err != nil {
						mine.mu.Unlock()
						return errors.As(err, new(*devtools.Error)), err
					}
					mine.session = session
				}
				mine.mu.Unlock()
				question := fmt.Sprintf("question %d in %s", id, session)
				answer, err := evaluate(ctx, c, session, fmt.Sprintf("Promise.resolve(%q)", question))
				if err == nil {
					return false, matches(question, answer, nil)
				}
				mine.mu.Lock()
				defer mine.mu.Unlock()
				if mine.session == session {
					mine.session = ""
					c.EndSession(session)
				}
				var failed *devtools.Error
				return errors.As(err, &failed) && failed.Code == -32001, err // the new browser does not know the session
			}
		},
	}, kill)
}
