package suite

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/internal/relay"
)

// echoEnv, when set, makes this program the server of the WebSocket rows. It exits when
// its standard input ends.
const echoEnv = "RESPOOL_BENCH_PEER"

// An address is where a server listens. The echo process prints it as the first line of
// its output.
type address struct {
	WS, WSS string // ws://… and wss://…
	TCP     string // host:port of a server that echoes bytes
	HTTP    string // http://…, where it is commanded
	Cert    []byte // of wss, DER
}

// tlsConfig trusts this server only.
func (a address) tlsConfig() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(a.Cert)))
	return &tls.Config{RootCAs: roots}
}

func (a address) url(scheme string) string {
	if scheme == "wss" {
		return a.WSS
	}
	return a.WS
}

// counts is what the server has seen so far.
type counts struct {
	Opened, Pings int64
	Peak          int64     // the most handshakes at once, since the last /close
	Closed        int       // connections, by this /close
	At            time.Time // when it began to close them
}

func (a address) counts(ctx context.Context) (c counts) {
	a.command(ctx, "/counts", &c)
	return c
}

// goAway has the server close n connections with 1001, and returns when it began.
func (a address) goAway(ctx context.Context, n int) time.Time {
	var c counts
	a.command(ctx, "/close?n="+strconv.Itoa(n), &c)
	failIf(c.Closed != n, "%d connections were open, want %d", c.Closed, n)
	return c.At
}

// far is the same server behind a network that takes so long each way; 0: no network.
func (a address) far(ctx context.Context, delay time.Duration) address {
	if delay > 0 {
		var far address
		a.command(ctx, "/far?delay="+delay.String(), &far)
		a.WS, a.WSS = far.WS, far.WSS
	}
	return a
}

func (a address) command(ctx context.Context, path string, reply any) {
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, a.HTTP+path, nil))
	req.Close = true
	resp := must(http.DefaultClient.Do(req))
	defer resp.Body.Close()
	check(json.NewDecoder(resp.Body).Decode(reply))
}

// server starts this program again as the server, so that the CPU time and the memory of
// this process are the client's alone. The server ends with the row or round of x.
func (x *setup) server() (a address) {
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, must(os.Executable()))
	cmd.Env, cmd.Stderr = append(os.Environ(), echoEnv+"=1"), os.Stderr
	stdin, stdout := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	check(cmd.Start())
	x.cleanup(func() error {
		defer kill()
		stdin.Close()
		defer time.AfterFunc(peer.CloseTime, kill).Stop()
		return cmd.Wait()
	})
	defer context.AfterFunc(x.ctx, kill)()
	check(json.NewDecoder(stdout).Decode(&a))
	return a
}

// serveEchoes is the server's process. It prints its address and serves until in ends,
// as it does at the latest when the parent exits.
func serveEchoes(in io.Reader, out io.Writer) {
	a, stop := (&echoes{}).listen()
	bytes := must(net.Listen("tcp", "127.0.0.1:0"))
	go serveEcho(bytes)
	a.TCP = bytes.Addr().String()
	check(json.NewEncoder(out).Encode(a))
	_, err := io.Copy(io.Discard, in)
	stop()
	check(errors.Join(err, bytes.Close()))
}

// echoes sends back every message of every connection, or under /speech only the texts:
// see address.speech.
type echoes struct {
	upgrader      websocket.Upgrader
	opened, pings atomic.Int64
	shaking, peak atomic.Int64 // handshakes in progress, and the most
	open          sync.Map     // connections, *websocket.Conn
	addr          address
}

// listen serves without and with TLS until stop, which leaves connections open that
// became WebSockets.
func (e *echoes) listen() (a address, stop func()) {
	plain, secure := httptest.NewUnstartedServer(e), httptest.NewUnstartedServer(e)
	for _, s := range []*httptest.Server{plain, secure} {
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // a row aborts handshakes on purpose
	}
	plain.Start()
	secure.StartTLS()
	e.addr = address{WS: "ws" + strings.TrimPrefix(plain.URL, "http"), WSS: "wss" + strings.TrimPrefix(secure.URL, "https"), HTTP: plain.URL, Cert: secure.Certificate().Raw}
	return e.addr, func() { secure.Close(); plain.Close() }
}

func (e *echoes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/close", "/counts":
		n, _ := strconv.Atoi(r.URL.Query().Get("n")) // none: 0; too few are noticed by the client
		e.close(w, n)
		return
	case "/far":
		delay, _ := time.ParseDuration(r.URL.Query().Get("delay"))
		_ = json.NewEncoder(w).Encode(address{WS: relayed(e.addr.WS, delay), WSS: relayed(e.addr.WSS, delay)})
		return
	}
	handshake, _ := time.ParseDuration(r.URL.Query().Get("handshake")) // none: 0
	takes, _ := time.ParseDuration(r.URL.Query().Get("takes"))
	raise(&e.peak, e.shaking.Add(1))
	err := peer.Pause(r.Context(), handshake)
	var ws *websocket.Conn
	if err == nil {
		ws, err = e.upgrader.Upgrade(w, r, nil)
	}
	e.shaking.Add(-1)
	if err != nil {
		return // Upgrade has replied
	}
	defer ws.Close()
	e.opened.Add(1)
	e.open.Store(ws, nil)
	defer e.open.Delete(ws)
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		e.pings.Add(1)
		return pong(data)
	})
	speech := r.URL.Path == "/speech"
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if speech {
			if kind != websocket.TextMessage {
				continue // a chunk of an utterance, which a text ends
			}
			time.Sleep(takes)
		}
		if ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// relayed is the server at to behind a relay, which ends with the process.
func relayed(to string, delay time.Duration) string {
	u := must(url.Parse(to))
	r := must(relay.New(u.Host))
	r.OnConn(func(c *relay.Conn) {
		c.Up().Delay(delay)
		c.Down().Delay(delay)
	})
	u.Host = r.Addr()
	return u.String()
}

// close closes n connections and replies with the counts.
func (e *echoes) close(w http.ResponseWriter, n int) {
	c := counts{Opened: e.opened.Load(), Pings: e.pings.Load(), Peak: e.peak.Load(), At: time.Now()}
	if n > 0 {
		e.peak.Store(0)
	}
	goingAway := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	e.open.Range(func(ws, _ any) bool {
		if c.Closed < n && ws.(*websocket.Conn).WriteControl(websocket.CloseMessage, goingAway, c.At.Add(peer.CloseTime)) == nil {
			c.Closed++ // a connection that was closed before is skipped
		}
		return c.Closed < n
	})
	_ = json.NewEncoder(w).Encode(c)
}

// speech is where the server listens to an utterance before it replies: a handshake
// takes as long as one over a network, and a reply as long as inference.
func (a address) speech(s size) address {
	return a.with("/speech?" + url.Values{"handshake": {s.time(50 * ms).String()}, "takes": {s.time(10 * ms).String()}}.Encode())
}

// with adds a path or a query to the URLs of WebSockets.
func (a address) with(path string) address {
	a.WS += path
	a.WSS += path
	return a
}
