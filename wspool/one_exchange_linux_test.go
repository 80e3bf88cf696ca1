package wspool_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

func init() { children["echo"] = serveEchoes }

// serveEchoes prints a URL of ws, one of wss and the certificate of the latter, and serves
// until its input ends.
func serveEchoes() error {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		if ws, err := u.Upgrade(w, r, nil); err == nil {
			defer ws.Close()
			echo(ws)
		}
	})
	plain, secure := httptest.NewServer(h), httptest.NewTLSServer(h)
	fmt.Println("ws"+strings.TrimPrefix(plain.URL, "http"), "ws"+strings.TrimPrefix(secure.URL, "http"),
		base64.StdEncoding.EncodeToString(secure.Certificate().Raw))
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// echoProcess starts serveEchoes and returns configurations for ws and wss.
func echoProcess(t *testing.T) map[string]wspool.Config {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"=echo")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	var ws, wss, cert string
	if _, err := fmt.Fscan(bufio.NewReader(out), &ws, &wss, &cert); err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(cert)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	plain := wspool.Config{URL: ws, MaxSize: 1}
	secure := wspool.Config{URL: wss, MaxSize: 1, TLS: &tls.Config{RootCAs: roots}}
	return map[string]wspool.Config{"ws": plain, "wss": secure}
}

// readsAndWrites returns how many calls of read and write this process has made. A peek with
// recv does not count, but an exchange makes none: see TestAsk_Attempts of package wsconn.
func readsAndWrites(t *testing.T) (reads, writes int) {
	t.Helper()
	p, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err) // a kernel without CONFIG_TASK_IO_ACCOUNTING
	}
	var other int
	if _, err := fmt.Sscanf(string(p), "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d", &other, &other, &reads, &writes); err != nil {
		t.Fatal(err)
	}
	return reads, writes
}

// An exchange makes no more system calls than one on a bare connection, where the reply takes
// a while: one write, a read that finds nothing, and one that finds the reply.
func TestExchange_SystemCalls(t *testing.T) {
	const n = 500
	for scheme, cfg := range echoProcess(t) {
		t.Run(scheme, func(t *testing.T) {
			request := []byte("a request")
			pool := pool(t, cfg)
			c, _, err := (&websocket.Dialer{TLSClientConfig: cfg.TLS}).Dial(cfg.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			per := func(f func()) (reads, writes float64) {
				f()
				r0, w0 := readsAndWrites(t)
				for range n {
					f()
				}
				r1, w1 := readsAndWrites(t)
				return float64(r1-r0) / n, float64(w1-w0) / n
			}
			reads, writes := per(func() { exchangeOnce(t, pool, "a request", "a request") })
			bareReads, bareWrites := per(func() {
				if err := c.WriteMessage(websocket.TextMessage, request); err != nil {
					t.Fatal(err)
				}
				if _, _, err := c.ReadMessage(); err != nil {
					t.Fatal(err)
				}
			})
			t.Logf("exchange: %.2f reads, %.2f writes; bare: %.2f, %.2f", reads, writes, bareReads, bareWrites)
			// Timers of the runtime and the replies that a bare connection finds at once make the
			// difference from 2 and 1.
			if reads > 2.2 || writes > 1.1 {
				t.Errorf("%.2f reads and %.2f writes, want 2 and 1", reads, writes)
			}
		})
	}
}
