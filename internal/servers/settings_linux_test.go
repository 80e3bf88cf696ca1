package servers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// row is a row of the table of settings in the documentation of wspool.
type row struct {
	set  string // text of the row; play uses exactly these settings
	play func(*testing.T)
}

var rows = map[string]row{
	"JSON-RPC, one reply to a request": {
		`Exchange: ReplyEach; Broken: not for errors that the server replied with`, rowRPC},
	"a speech service, streaming audio": {
		`Heartbeat: its keepalive message; Greeting, if it sends a session id first; Quiet or Conn.Drain for messages behind the last reply, Conn.Drain up to its confirmation after a cancel: see Example (Speech)`, rowSpeech},
	"subscriptions, event streams": {
		`Exchange: Unpaired; Pool.Subscribe`, rowEvents},
	"engine.io, socket.io": {
		`OnConnect: read "0{…}"; socket.io: send "40", read its answer; OnUnsolicited: "3" for "2"`, rowEngine},
	"GraphQL (graphql-transport-ws)": {
		`Subprotocols; OnConnect: connection_init, read connection_ack; OnUnsolicited: pong for ping`, rowGraphQL},
	"NATS": {
		`OnConnect: INFO, CONNECT, PING, PONG; OnUnsolicited: PONG for PING; drop INFO`, rowNats},
	"a server that mishandles fragments": {
		`WriteFrameSize: its longest message`, rowFragments},
	"nginx or an ALB, which cut after 60 s": {
		`nothing: KeepAlive is 15 s; less than their time if that is shorter`, rowSilence},
	"a server that answers no pings": {
		`KeepAlive: -1; Eviction: policy.MaxIdle`, rowDeaf},
	"a server that ends sessions after 1 h": {
		`Eviction: policy.MaxAge(58*time.Minute, 0.1); long work: AcquireWith, Request.MinRemaining`, rowSessions},
	"a server that wants a fresh token": {
		`Prepare: put it in h.Header or h.URL`, rowToken},
	"Chromium (DevTools)": {
		`Exchange: Unpaired; ReadLimit: 64 << 20; Prepare: h.URL, another after each restart`, rowChromium},
	"a server behind a proxy": {
		`Proxy: http.ProxyFromEnvironment; headers for the proxy: ProxyConnectHeader`, rowProxy},
	"many calls at once, with ids": {
		`package mux, below this one`, rowMux},
	"a balancer that pins by cookie": {
		`Jar: a net/http/cookiejar`, rowCookie},
	"a server that redirects": {
		`Redirects: 1 or more`, rowRedirect},
	"a client certificate that rotates": {
		`TLS: GetClientCertificate`, rowCertificate},
	"many servers, or many identities": {
		`a Manager, with a key for each`, rowManager},
}

// TestSettings tests each row of the table in the documentation of wspool with a server
// of its kind and its settings.
func TestSettings(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../wspool/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	unseen := make(map[string]bool)
	for name := range rows {
		unseen[name] = true
	}
	for _, documented := range settings(t, string(text)) {
		name, set := documented[0], documented[1]
		r, known := rows[name]
		if !known {
			t.Errorf("no test plays the row of %q", name)
			continue
		}
		delete(unseen, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if set != r.set {
				t.Errorf("the row says to set\n\t%s\nand its test plays\n\t%s", set, r.set)
			}
			r.play(t)
		})
	}
	for name := range unseen {
		t.Errorf("the documentation has no row of %q", name)
	}
}

// settings returns the rows of the table: what the server is, and what to set. A line
// without the first continues the row above it.
func settings(t *testing.T, doc string) (all [][2]string) {
	t.Helper()
	const second = 40 // where the second column begins
	_, table, ok := strings.Cut(doc, "//\tyou talk to                             set\n//\t---")
	if !ok {
		t.Fatal("the documentation has no such table")
	}
	for _, line := range strings.Split(table, "\n")[1:] {
		line, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			break
		}
		runes := []rune(line)
		name, set := strings.TrimSpace(string(runes[:second])), string(runes[second:])
		if name != "" {
			all = append(all, [2]string{name, set})
		} else {
			all[len(all)-1][1] += " " + set
		}
	}
	return all
}

// config returns a Config with only the URL of the server.
func config(s running, size int) wspool.Config {
	return wspool.Config{URL: "ws://" + s.address() + "/", MaxSize: size}
}

// keptAll uses all connections of a pool several times and checks that none is closed.
func keptAll(t *testing.T, cfg wspool.Config, ask func(context.Context, *wspool.Conn, int64) error) {
	t.Helper()
	pool := newPool(t, cfg)
	var all sync.WaitGroup
	for caller := range int64(2 * cfg.MaxSize) {
		all.Go(func() {
			for n := range int64(20) {
				served(t, pool, func(ctx context.Context, c *wspool.Conn) error { return ask(ctx, c, 1+100*caller+n) })
			}
		})
	}
	all.Wait()
	if s := pool.Stats(); s.Made > int64(cfg.MaxSize) || s.Destroyed > 0 {
		t.Errorf("connections were lost: %v", s)
	}
	closePool(t, pool)
}

func rowRPC(t *testing.T) {
	cfg := config(rpcWebSockets.start(t, "127.0.0.1:0"), 2)
	cfg.Exchange = wspool.ReplyEach
	cfg.Broken = func(err error) bool { return !errors.As(err, new(*rpcError)) }
	keptAll(t, cfg, askRPC)
	// The lease may fail with an error reply of the server.
	pool := newPool(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for id := range int64(10) {
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
			_, err := callRPC(ctx, c, 1+id, "fail", "") // this server does not reply to id 0
			return err
		})
		if !errors.As(err, new(*rpcError)) {
			t.Errorf("a method that fails: %v", err)
		}
	}
	if s := pool.Stats(); s.Made != 1 || s.Destroyed != 0 {
		t.Errorf("after errors in replies: %v", s)
	}
	closePool(t, pool)
}

// rowMux makes calls that need each other to be answered, on one connection.
func rowMux(t *testing.T) {
	const n = 50
	server := script("rpc.js")(t, "127.0.0.1:0")
	c := newMux(t, config(server, 1), mux.Config{Codec: jsonrpc.Codec{}})
	storm(t, n, 1, func(ctx context.Context, id int64) error {
		question, answer := padded(id), ""
		err := jsonrpc.Call(ctx, c, "together", []any{n, question}, &answer)
		return matches(question, answer, err)
	})
	if s := c.Stats(); s.Calls != n || s.Acquired != 1 {
		t.Errorf("%+v", s)
	}
}

// rowSpeech streams utterances to a server that greets with a session id, transcribes while
// it receives, requires keepalive messages and sends a report after every second
// transcript.
func rowSpeech(t *testing.T) {
	const utterances, chunks = 6, 20
	type result struct{ Type, Text string }
	var alive atomic.Int64
	speech := &peer{handle: func(c *websocket.Conn) {
		err := c.WriteJSON(result{"session", "s1"})
		for heard, finals := 0, 0; err == nil; {
			kind, p, broken := c.ReadMessage()
			if broken != nil {
				return
			}
			switch {
			case kind == websocket.BinaryMessage:
				if heard += len(p); heard%3 == 0 {
					err = c.WriteJSON(result{"partial", fmt.Sprint(heard)})
				}
			case string(p) == "alive":
				alive.Add(1)
			case string(p) == "cancel":
				for range 3 { // messages in flight
					err = errors.Join(err, c.WriteJSON(result{"partial", "cancelled words"}))
				}
				err = errors.Join(err, c.WriteJSON(result{"cancelled", ""}))
				heard = 0
			default:
				err = c.WriteJSON(result{"final", fmt.Sprint(heard)})
				heard = 0
				if finals++; finals%2 == 0 {
					time.Sleep(10 * time.Millisecond) // the report arrives after the lease
					err = errors.Join(err, c.WriteJSON(result{"report", "all is well"}))
				}
			}
		}
	}}
	pool := newPool(t, wspool.Config{
		URL: speech.listen(t), MaxSize: 1,
		Greeting: true,
		OnConnect: func(_ context.Context, c *wspool.Conn) error {
			if m, _ := c.Greeting(); !strings.Contains(string(m.Data), "s1") {
				return fmt.Errorf("greeted with %q", m.Data)
			}
			return nil
		},
		Heartbeat: wspool.Heartbeat{
			Every:   50 * time.Millisecond,
			Message: wspool.Message{Type: websocket.TextMessage, Data: []byte("alive")},
		},
		Quiet: 200 * time.Millisecond,
	})
	for u := range utterances {
		served(t, pool, func(ctx context.Context, c *wspool.Conn) error {
			said := make(chan error, 1)
			go func() {
				said <- func() error {
					for range chunks {
						if err := c.WriteMessage(ctx, websocket.BinaryMessage, make([]byte, u+1)); err != nil {
							return err
						}
					}
					return c.WriteMessage(ctx, websocket.TextMessage, []byte("end"))
				}()
			}()
			for {
				var r result
				if err := c.ReadJSON(ctx, &r); err != nil {
					return errors.Join(err, <-said)
				}
				if r.Type == "partial" {
					continue
				}
				if want := (result{"final", fmt.Sprint(chunks * (u + 1))}); r != want {
					t.Errorf("utterance %d: got %v, want %v", u, r, want)
				}
				return <-said
			}
		})
		served(t, pool, func(ctx context.Context, c *wspool.Conn) error { // an interrupted utterance
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("cancel")); err != nil {
				return err
			}
			return c.Drain(ctx, 0, func(m wspool.Message) bool { return strings.Contains(string(m.Data), "cancelled\",") })
		})
	}
	until(t, "the server is not kept alive", func() bool { return alive.Load() > 1 })
	if s := pool.Stats(); s.Made != 1 || s.Destroyed != 0 || s.Unsolicited != 0 {
		t.Errorf("after %d utterances: %v", utterances, s)
	}
	closePool(t, pool)
}

// rowEvents subscribes to endless streams of a server that closes the connection in the
// middle of each.
func rowEvents(t *testing.T) {
	const streams, events = 8, 50
	source := &peer{handle: func(c *websocket.Conn) {
		var topic string
		var from int
		_, p, err := c.ReadMessage()
		if err == nil {
			_, err = fmt.Sscan(string(p), &topic, &from)
		}
		go c.ReadMessage() // reads the close frame of the client
		for n := from; err == nil && (from > 0 || n < events/2); n++ {
			err = c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%s %d", topic, n))
		}
	}}
	pool := newPool(t, wspool.Config{URL: source.listen(t), MaxSize: 4, Exchange: wspool.Unpaired})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for s := range streams {
		all.Go(func() {
			topic, next := fmt.Sprintf("topic%d", s), 0
			err := pool.Subscribe(ctx, func(ctx context.Context, c *wspool.Conn, _ wspool.Gap) error {
				if err := c.WriteMessage(ctx, websocket.TextMessage, fmt.Appendf(nil, "%s %d", topic, next)); err != nil {
					return err
				}
				for ; next < events; next++ {
					_, p, err := c.ReadMessage(ctx)
					if err != nil {
						return err
					}
					if want := fmt.Sprintf("%s %d", topic, next); string(p) != want {
						return wspool.Permanent(fmt.Errorf("%w: got %q, want %q", errCrossed, p, want))
					}
				}
				return nil
			})
			if err != nil || next != events {
				t.Errorf("%s: %d of %d events, %v", topic, next, events, err)
			}
		})
	}
	all.Wait()
	// Not dials: the pool may have begun one for a waiter that another connection served.
	if n := pool.Stats().Acquired; n != 2*streams {
		t.Errorf("%d leases for %d streams that were cut once each", n, streams)
	}
	closePool(t, pool)
}

func rowEngine(t *testing.T) {
	engine := config(engineIO.start(t, "127.0.0.1:0"), 2)
	engine.URL += "engine.io/?EIO=4&transport=websocket"
	engine.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		_, err := expectPacket(ctx, c, "0{")
		return err
	}
	engine.OnUnsolicited = answerEngine
	servedAll(t, engine, askEngine)

	socket := config(socketIO.start(t, "127.0.0.1:0"), 2)
	socket.URL += "socket.io/?EIO=4&transport=websocket"
	socket.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		if _, err := expectPacket(ctx, c, "0{"); err != nil {
			return err
		}
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("40")); err != nil {
			return err
		}
		_, err := expectPacket(ctx, c, "40{")
		return err
	}
	socket.OnUnsolicited = answerEngine
	servedAll(t, socket, askSocket)
}

// servedAll is for servers that ping with messages: connections are idle until each was
// pinged and has answered; then all must still be open and serve. During leases a ping may
// arrive after a reply, which closes the connection.
func servedAll(t *testing.T, cfg wspool.Config, ask func(context.Context, *wspool.Conn, int64) error) {
	t.Helper()
	pool := newPool(t, cfg)
	succeed(t, func(ctx context.Context) error { return pool.Warm(ctx, cfg.MaxSize) })
	until(t, "the server does not ping", func() bool { return pool.Stats().Unsolicited >= int64(2*cfg.MaxSize) })
	if s := pool.Stats(); s.Made != int64(cfg.MaxSize) || s.Destroyed != 0 {
		t.Errorf("while idle: %v", s)
	}
	for id := range int64(20) {
		succeed(t, func(ctx context.Context) error {
			return pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error { return ask(ctx, c, 1+id) })
		})
	}
	closePool(t, pool)
}

func rowGraphQL(t *testing.T) {
	cfg := config(graphQL.start(t, "127.0.0.1:0"), 2)
	var full wspool.Config
	reachGraphQL(&full)
	cfg.URL += full.URL
	cfg.Subprotocols, cfg.OnConnect, cfg.OnUnsolicited = full.Subprotocols, full.OnConnect, full.OnUnsolicited
	servedAll(t, cfg, askGraphQL)
	// A subscription that is read to its end leaves the connection clean.
	pool := newPool(t, cfg)
	subscribe := func(ctx context.Context, c *wspool.Conn) error {
		n := 0.0
		return runGraph(ctx, c, 1, `subscription { count(to: 10) }`, func(data map[string]any) error {
			if n++; data["count"] != n {
				return fmt.Errorf("%w: got %v, want %v", errCrossed, data, n)
			}
			return nil
		})
	}
	succeed(t, func(ctx context.Context) error { return pool.Do(ctx, subscribe) })
	closePool(t, pool)
}

func rowNats(t *testing.T) {
	var full wspool.Config
	reachNats(&full)
	cfg := config(own("nats")(t, "127.0.0.1:0"), 2)
	cfg.OnConnect = full.OnConnect
	cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
		switch line, _, _ := strings.Cut(string(m.Data), " "); line {
		case "PING\r\n":
			return &wspool.Message{Type: websocket.BinaryMessage, Data: []byte("PONG\r\n")}, nil
		case "INFO":
			return nil, nil
		}
		return nil, wspool.ErrUnsolicited
	}
	servedAll(t, cfg, askNats)
}

func rowSilence(t *testing.T) {
	if wspool.DefaultKeepAlive >= time.Minute {
		t.Errorf("KeepAlive is %v", wspool.DefaultKeepAlive)
	}
	outlast(t, nginx, startSlow(t), wspool.Config{KeepAlive: shortKeepAlive})
}

func rowDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := wspool.Config{URL: "ws://memory/", NetDial: (&peer{handle: deaf}).inMemory(t).Dial, MaxSize: 1}
		impatient := newPool(t, cfg)
		cfg.KeepAlive, cfg.Eviction = -1, policy.MaxIdle(5*time.Minute)
		pool := newPool(t, cfg)
		useAll(t, impatient, 1)
		useAll(t, pool, 1)
		time.Sleep(wspool.DefaultKeepAlive + wspool.DefaultPongWait)
		synctest.Wait()
		if s := impatient.Stats(); s.Silent != 1 {
			t.Errorf("with pings: %v", s)
		}
		if s := pool.Stats(); s.Destroyed != 0 {
			t.Errorf("without pings: %v", s)
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if s := pool.Stats(); s.Destroyed != 1 || s.Silent != 0 {
			t.Errorf("after being idle for long: %v", s)
		}
		useAll(t, pool, 1)
		closePool(t, impatient)
		closePool(t, pool)
	})
}

func rowSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, day, long = 4, 8 * time.Hour, 10 * time.Minute
		var expired atomic.Int64
		server := &peer{handle: shortSessions(func() { expired.Add(1) })}
		pool := newPool(t, wspool.Config{
			URL: "ws://memory/", NetDial: server.inMemory(t).Dial, MaxSize: callers + 1,
			Eviction: policy.MaxAge(58*time.Minute, 0.1),
		})
		began := time.Now()
		var all sync.WaitGroup
		for caller := range int64(callers) {
			all.Go(func() {
				for n := int64(0); time.Since(began) < day; n++ {
					served(t, pool, func(ctx context.Context, c *wspool.Conn) error { return askEcho(ctx, c, 10_000*caller+n) })
					time.Sleep(time.Duration(20+caller) * time.Second)
				}
			})
		}
		all.Go(func() {
			for id := int64(1_000_000); time.Since(began) < day; id++ {
				c, err := pool.AcquireWith(t.Context(), resource.Request{MinRemaining: long})
				if err != nil {
					t.Error(err)
					return
				}
				if err = askEcho(t.Context(), c, id); err == nil {
					time.Sleep(long - time.Second)
					err = askEcho(t.Context(), c, id)
				}
				if err != nil {
					t.Errorf("long work: %v", err)
				}
				c.Fail(err)
			}
		})
		all.Wait()
		if n := expired.Load(); n > 0 {
			t.Errorf("the server ended %d sessions", n)
		}
		if s := pool.Stats(); s.Destroyed < int64(day/time.Hour) {
			t.Errorf("so few were replaced: %v", s)
		}
		closePool(t, pool)
	})
}

func rowToken(t *testing.T) {
	for _, where := range []string{"header", "URL"} {
		var issued atomic.Int64
		var mu sync.Mutex
		used := map[string]bool{}
		server := &peer{handle: echo, accept: func(r *http.Request) bool {
			token := r.Header.Get("Authorization")
			if where == "URL" {
				token = r.URL.Query().Get("token")
			}
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasPrefix(token, "fresh-") || used[token] {
				return false
			}
			used[token] = true
			return true
		}}
		at := server.listen(t)
		pool := newPool(t, wspool.Config{URL: at, MaxSize: 4, Prepare: func(_ context.Context, h *wspool.Handshake) error {
			token := fmt.Sprintf("fresh-%d", issued.Add(1))
			if where == "URL" {
				h.URL = at + "?token=" + token
			} else {
				h.Header.Set("Authorization", token)
			}
			return nil
		}})
		for range 3 {
			useAll(t, pool, 4)
			pool.Reset(nil)
		}
		closePool(t, pool)
		if n := server.dialed(); n < 12 || int64(n) > issued.Load() {
			t.Errorf("%s: %d dials with %d tokens", where, n, issued.Load())
		}
	}
}

func rowChromium(t *testing.T) {
	c := startChromium(t, "127.0.0.1:0")
	var at atomic.Pointer[url.URL]
	at.Store(c.at)
	pool := newPool(t, wspool.Config{
		MaxSize: 2, Exchange: wspool.Unpaired, ReadLimit: 64 << 20,
		Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.URL = at.Load().String()
			return nil
		},
	})
	first := func(ctx context.Context, c *wspool.Conn) error { return askDevTools(ctx, c, 1) }
	served(t, pool, first)
	c.end(t, kill)
	until(t, "the end of the browser is not seen", func() bool { return pool.Stats().Idle == 0 })
	at.Store(startChromium(t, "127.0.0.1:0").at)
	until(t, "no caller is served again", func() bool { return pool.Do(t.Context(), first) == nil })
	closePool(t, pool)
}

// viaProxy marks a child process of this test with the environment of a client behind a
// proxy.
const viaProxy = "via proxy"

// goThroughProxy is its main function: it uses the server named by its first argument.
func goThroughProxy() int {
	pool, err := wspool.New(wspool.Config{URL: os.Args[1], MaxSize: 2, Proxy: http.ProxyFromEnvironment})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for id := range int64(10) {
		if err == nil {
			err = pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error { return askEcho(ctx, c, id) })
		}
	}
	if err == nil {
		err = pool.Close(ctx)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// rowProxy runs a process that reaches a server by a name that only the proxy can resolve.
func rowProxy(t *testing.T) {
	server := &peer{handle: echo}
	at, err := url.Parse(server.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	var tunnels sync.WaitGroup
	tunnel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "server.example:80" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		asked.Add(1)
		tunnels.Add(1)
		defer tunnels.Done()
		there, err := net.Dial("tcp", at.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		w.WriteHeader(http.StatusOK)
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		tunnels.Go(func() {
			io.Copy(here, there)
			here.Close()
		})
		io.Copy(there, buffered)
	}))
	defer func() { tunnel.Close(); tunnels.Wait() }()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "ws://server.example/")
	cmd.Env = append(os.Environ(), asServer+"="+viaProxy, "HTTP_PROXY="+tunnel.URL, "http_proxy="+tunnel.URL, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if asked.Load() == 0 || server.dialed() != int(asked.Load()) {
		t.Errorf("%d tunnels, %d connections", asked.Load(), server.dialed())
	}
}

// rowManager uses many servers, and several identities at one server, each of which replies
// with its name.
func rowManager(t *testing.T) {
	type key struct{ server, user string }
	const servers, users, size, total = 3, 2, 2, 8
	greet := func(name string) *peer {
		return &peer{
			accept: func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Authorization"), "user ") },
			handle: func(c *websocket.Conn) {
				_, user, err := c.ReadMessage() // sign-in
				for err == nil {
					var p []byte
					if _, p, err = c.ReadMessage(); err == nil {
						err = c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%s to %s: %s", name, user, p))
					}
				}
			},
		}
	}
	at := map[string]string{}
	for n := range servers {
		name := fmt.Sprintf("server %d", n)
		at[name] = greet(name).listen(t)
	}
	m, err := wspool.NewManager(wspool.ManagerConfig[key]{MaxTotal: total, Config: func(k key) (wspool.Config, error) {
		return wspool.Config{
			URL: at[k.server], MaxSize: size,
			Prepare: func(_ context.Context, h *wspool.Handshake) error {
				h.Header.Set("Authorization", k.user)
				return nil
			},
			OnConnect: func(ctx context.Context, c *wspool.Conn) error {
				return c.WriteMessage(ctx, websocket.TextMessage, []byte(k.user))
			},
		}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var all sync.WaitGroup
	for caller := range servers * users * 4 {
		all.Go(func() {
			k := key{fmt.Sprintf("server %d", caller%servers), fmt.Sprintf("user %d", caller/servers%users)}
			for n := range 20 {
				err := m.Do(ctx, k, func(ctx context.Context, c *wspool.Conn) error {
					question := fmt.Sprint(caller, n)
					if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(question)); err != nil {
						return err
					}
					_, p, err := c.ReadMessage(ctx)
					if want := k.server + " to " + k.user + ": " + question; err == nil && string(p) != want {
						err = fmt.Errorf("%w: got %q, want %q", errCrossed, p, want)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	if s := m.Stats(); s.Made != s.Destroyed || s.Load != (resource.Load{Max: s.Max}) {
		t.Errorf("after Close: %v", s)
	}
}

// rowFragments plays a server that ends the connection at a fragmented message.
func rowFragments(t *testing.T) {
	url := playServer(t, func(ws *websocket.Conn) {
		raw := ws.UnderlyingConn()
		header := make([]byte, 14) // of a masked frame of 64 KiB or more: 2 bytes, a length of 8, a mask of 4
		for {
			if _, err := io.ReadFull(raw, header); err != nil {
				return
			}
			const final, long = 0x80, 0x80 | 127
			if header[0]&final == 0 || header[1] != long {
				return // a fragment, or the close frame
			}
			if _, err := io.CopyN(io.Discard, raw, int64(binary.BigEndian.Uint64(header[2:10]))); err != nil {
				return
			}
			if ws.WriteMessage(websocket.TextMessage, []byte("whole")) != nil {
				return
			}
		}
	})
	message := make([]byte, 1<<20)
	send := func(ctx context.Context, c *wspool.Conn) error {
		if err := c.WriteMessage(ctx, websocket.BinaryMessage, message); err != nil {
			return err
		}
		_, reply, err := c.ReadMessage(ctx)
		if err == nil && string(reply) != "whole" {
			err = fmt.Errorf("the reply is %q", reply)
		}
		return err
	}
	pool := newPool(t, wspool.Config{URL: url, MaxSize: 1, WriteFrameSize: len(message)})
	served(t, pool, send)
	closePool(t, pool)
	pool = newPool(t, wspool.Config{URL: url, MaxSize: 1})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := pool.Do(ctx, send); err == nil {
		t.Error("without WriteFrameSize the message was not fragmented")
	}
	closePool(t, pool)
}

// rowCookie plays a balancer that pins clients by a cookie.
func rowCookie(t *testing.T) {
	var pinned atomic.Int64
	url := playServer(t, echo, func(_ http.ResponseWriter, r *http.Request) (http.Header, bool) {
		if _, err := r.Cookie("node"); err == nil {
			pinned.Add(1)
			return nil, true
		}
		return http.Header{"Set-Cookie": {"node=7; Path=/"}}, true
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, wspool.Config{URL: url, MaxSize: 1, Jar: jar})
	for range 3 {
		served(t, pool, echoed)
		pool.Reset(nil)
	}
	if n := pinned.Load(); n != 2 {
		t.Errorf("%d handshakes after the first had the cookie, want 2", n)
	}
	closePool(t, pool)
}

// rowRedirect plays a server that has moved.
func rowRedirect(t *testing.T) {
	url := playServer(t, echo, func(w http.ResponseWriter, r *http.Request) (http.Header, bool) {
		if r.URL.Path == "/new" {
			return nil, true
		}
		http.Redirect(w, r, "/new", http.StatusTemporaryRedirect)
		return nil, false
	})
	pool := newPool(t, wspool.Config{URL: url, MaxSize: 1, Redirects: 1})
	served(t, pool, echoed)
	closePool(t, pool)
}

// rowCertificate plays a server that knows clients by their certificates.
func rowCertificate(t *testing.T) {
	certificates := [2]tls.Certificate{newCertificate(t, "before"), newCertificate(t, "after")}
	var current atomic.Int32
	var mu sync.Mutex
	var seen []string
	s := httptest.NewUnstartedServer(upgrade(echo, func(_ http.ResponseWriter, r *http.Request) (http.Header, bool) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.TLS.PeerCertificates[0].Subject.CommonName)
		return nil, true
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	pool := newPool(t, wspool.Config{URL: "wss" + strings.TrimPrefix(s.URL, "https"), MaxSize: 1, TLS: &tls.Config{
		RootCAs: roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certificates[current.Load()], nil
		},
	}})
	served(t, pool, echoed)
	current.Store(1)
	pool.Reset(nil)
	served(t, pool, echoed)
	closePool(t, pool)
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 || seen[0] != "before" || seen[1] != "after" {
		t.Errorf("the server saw %q", seen)
	}
}

// newCertificate returns a certificate that signs itself.
func newCertificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// answerHandshake returns the headers of the answer to a handshake; false: it has
// answered, with something else than 101.
type answerHandshake func(http.ResponseWriter, *http.Request) (http.Header, bool)

// upgrade is a handler that serves WebSocket connections. answers may be left out.
func upgrade(serve func(*websocket.Conn), answers ...answerHandshake) http.Handler {
	var upgrader websocket.Upgrader
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var header http.Header
		for _, answer := range answers {
			var ok bool
			if header, ok = answer(w, r); !ok {
				return
			}
		}
		ws, err := upgrader.Upgrade(w, r, header)
		if err != nil {
			return
		}
		defer ws.Close()
		serve(ws)
	})
}

// playServer starts a server until the test ends and returns its URL.
func playServer(t *testing.T, serve func(*websocket.Conn), answers ...answerHandshake) string {
	s := httptest.NewServer(upgrade(serve, answers...))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/"
}

// echoed asks a server that echoes.
func echoed(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("x")); err != nil {
		return err
	}
	_, reply, err := c.ReadMessage(ctx)
	if err == nil && string(reply) != "x" {
		err = fmt.Errorf("the reply is %q", reply)
	}
	return err
}
