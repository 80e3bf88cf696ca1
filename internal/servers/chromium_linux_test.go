package servers

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/wspool"
)

// TestChromium uses the DevTools of a browser, whose path changes with each start.
func TestChromium(t *testing.T) {
	for _, f := range faults {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			var at atomic.Pointer[url.URL]
			endure(t, brand{
				start: func(t testing.TB, addr string) running {
					c := startChromium(t, addr)
					at.Store(c.at)
					return c
				},
				reach: func(cfg *wspool.Config) {
					cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
						h.URL = at.Load().String()
						return nil
					}
				},
				ask: askDevTools,
			}, f)
		})
	}
}

// chromium is a running browser.
type chromium struct {
	cmd  *exec.Cmd
	at   *url.URL
	gone chan struct{} // closed when all its processes have ended
}

const chromiumTells = "DevTools listening on "

func startChromium(t testing.TB, addr string) *chromium {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	program := outside.Program(t, []string{"chromium", "chromium-browser", "google-chrome"}, "chromium")
	dir, err := os.MkdirTemp("", "respool-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	c := &chromium{gone: make(chan struct{})}
	c.cmd = exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--remote-debugging-port="+port, "--user-data-dir="+dir)
	// A separate process group, so that no process outlives the test.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	go func() {
		defer close(c.gone)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if s, ok := strings.CutPrefix(lines.Text(), chromiumTells); ok {
				told <- s
			}
		}
		c.cmd.Wait() // the exit status does not matter
	}()
	t.Cleanup(func() {
		c.killed()
		c.wait(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	select {
	case s := <-told:
		if c.at, err = url.Parse(s); err != nil {
			t.Fatal(err)
		}
	case <-c.gone:
		t.Fatal("chromium ended as soon as it began")
	case <-time.After(2 * patience):
		t.Fatal("chromium does not say where it listens")
	}
	return c
}

// killed kills all its processes; it is no error if there are none.
func (c *chromium) killed() { syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

func (c *chromium) wait(t testing.TB) {
	t.Helper()
	select {
	case <-c.gone:
	case <-time.After(patience):
		t.Fatal("chromium does not end")
	}
}

func (c *chromium) address() string { return c.at.Host }

func (c *chromium) end(t testing.TB, f fault) {
	t.Helper()
	switch f {
	case kill:
		c.killed()
	case stop:
		if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	case drain:
		ws, _, err := websocket.DefaultDialer.Dial(c.at.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"id":1,"method":"Browser.close"}`)); err != nil {
			t.Fatal(err)
		}
	}
	c.wait(t)
}

func (c *chromium) count(t testing.TB) int { return connected(t, c.at.Host) }

func (c *chromium) empty(t testing.TB) []string {
	t.Helper()
	awaitEmpty(t, c.at.Host)
	return nil // unknown
}

// askDevTools requests a list and checks the reply and its id.
func askDevTools(ctx context.Context, c *wspool.Conn, id int64) error {
	question := `{"id":` + strconv.FormatInt(id, 10) + `,"method":"Target.getTargets"}`
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(question)); err != nil {
		return err
	}
	_, p, err := c.ReadMessage(ctx)
	if err != nil {
		return err
	}
	var reply struct {
		ID     int64
		Result struct{ TargetInfos []json.RawMessage }
	}
	if err := json.Unmarshal(p, &reply); err != nil {
		return err
	}
	if reply.ID != id || reply.Result.TargetInfos == nil {
		return fmt.Errorf("%w: asked %d, got %.200q", errCrossed, id, p)
	}
	return nil
}
