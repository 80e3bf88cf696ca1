package suite

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
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
	Counts  string // http://… of its counts
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
type counts struct{ Opened, Pings int64 }

func (a address) counts(ctx context.Context) (c counts) {
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, a.Counts, nil))
	req.Close = true
	resp := must(http.DefaultClient.Do(req))
	defer resp.Body.Close()
	check(json.NewDecoder(resp.Body).Decode(&c))
	return c
}

// An echoProcess is the server in a process of its own, so that the CPU time and the
// memory of this process are the client's alone. All entrants of a row share it: it
// runs from the first open to the last cleanup.
type echoProcess struct {
	mu    sync.Mutex
	users int
	proc  *exec.Cmd
	stdin io.Closer
	addr  address
}

// open starts the process unless it runs, and keeps it until the row ends.
func (p *echoProcess) open(x *setup) address {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == 0 {
		p.start(x.ctx)
	}
	p.users++
	x.cleanup(func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.users--; p.users > 0 {
			return nil
		}
		return p.stop()
	})
	return p.addr
}

// start runs this program again as the server and reads its address.
func (p *echoProcess) start(ctx context.Context) {
	p.proc = exec.Command(must(os.Executable()))
	p.proc.Env = append(os.Environ(), echoEnv+"=1")
	p.proc.Stderr = os.Stderr
	p.stdin = must(p.proc.StdinPipe())
	stdout := must(p.proc.StdoutPipe())
	check(p.proc.Start())
	spare := context.AfterFunc(ctx, func() { p.proc.Process.Kill() })
	defer spare()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.addr)
	}
	if err != nil {
		check(errors.Join(err, ctx.Err(), p.stop()))
	}
}

// stop ends the process and waits for its exit.
func (p *echoProcess) stop() error {
	p.stdin.Close()
	kill := time.AfterFunc(peer.CloseTime, func() { p.proc.Process.Kill() })
	defer kill.Stop()
	return p.proc.Wait()
}

// serveEchoes is the server's process. It prints its address and serves until in ends,
// as it does at the latest when the parent exits.
func serveEchoes(in io.Reader, out io.Writer) {
	e := &echoes{}
	cert := selfSigned()
	plain, secure := listenLocal(e, nil), listenLocal(e, &cert)
	bytes := must(net.Listen("tcp", "127.0.0.1:0"))
	go serveEcho(bytes)
	check(json.NewEncoder(out).Encode(address{
		TCP: bytes.Addr().String(), WS: wsURL(plain), WSS: wsURL(secure), Counts: plain.URL + "/counts", Cert: cert.Certificate[0],
	}))
	_, err := io.Copy(io.Discard, in)
	secure.Close()
	plain.Close()
	check(errors.Join(err, bytes.Close()))
}

// wsURL is the URL of s for WebSockets.
func wsURL(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }

// echoes sends back every message of every connection, or under /speech only the texts:
// see address.speech.
type echoes struct {
	upgrader      websocket.Upgrader
	opened, pings atomic.Int64
}

func (e *echoes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/counts" {
		_ = json.NewEncoder(w).Encode(counts{Opened: e.opened.Load(), Pings: e.pings.Load()})
		return
	}
	handshake, _ := time.ParseDuration(r.URL.Query().Get("handshake")) // none: 0
	takes, _ := time.ParseDuration(r.URL.Query().Get("takes"))
	if peer.Pause(r.Context(), handshake) != nil {
		return
	}
	ws, err := e.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has replied
	}
	defer ws.Close()
	e.opened.Add(1)
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

// behind returns where ws reaches the server over a network that takes delay each way.
func (a address) behind(x *setup, delay time.Duration) address {
	u := must(url.Parse(a.WS))
	r := must(relay.New(u.Host))
	x.cleanup(func() error { r.Close(); return nil })
	r.OnConn(func(c *relay.Conn) {
		c.Up().Delay(delay)
		c.Down().Delay(delay)
	})
	u.Host = r.Addr()
	a.WS = u.String()
	return a
}

// speech is where the server listens to an utterance before it replies: a handshake
// takes as long as one over a network, and a reply as long as inference.
func (a address) speech(s size) address {
	q := "/speech?" + url.Values{"handshake": {s.time(50 * ms).String()}, "takes": {s.time(10 * ms).String()}}.Encode()
	a.WS += q
	a.WSS += q
	return a
}

// listenLocal starts a server on loopback, with TLS unless cert is nil. Its Close leaves
// connections open that became WebSockets.
func listenLocal(h http.Handler, cert *tls.Certificate) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a row aborts handshakes on purpose
	if cert == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	}
	return s
}

// selfSigned makes a certificate for loopback.
func selfSigned() tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
