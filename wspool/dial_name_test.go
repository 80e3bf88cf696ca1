package wspool

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/memnet"
)

// echoServer sends everything back, over real sockets.
func echoServer(t *testing.T) (addr string) {
	var all sync.WaitGroup
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		defer all.Done()
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	}))
	t.Cleanup(func() { s.Close(); all.Wait() })
	return strings.TrimPrefix(s.URL, "http://")
}

// muteListener accepts connections and says nothing.
func muteListener(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				for b := make([]byte, 1<<10); ; {
					if _, err := c.Read(b); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// NetDial is given the name, as long as it leads to something that answers. If it
// leads to one of the name's addresses, and that stays silent, NetDial is given
// the next one; if it leads anywhere else, the name again.
func TestDialRace_BehindNetDial(t *testing.T) {
	mute, good := muteListener(t), echoServer(t)
	_, port, _ := net.SplitHostPort(mute)
	for _, tc := range []struct {
		name   string
		first  string // address of the name
		serves string // what NetDial has to be given
	}{
		{"direct", "127.0.0.1", "127.0.0.2:" + port},
		{"tunnel", "192.0.2.1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			var given []string
			p, err := New(Config{
				URL:     "ws://service.test:" + port + "/",
				MaxSize: 1,
				NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					mu.Lock()
					given = append(given, addr)
					mu.Unlock()
					to := mute
					if addr == tc.serves {
						to = good
					}
					return (&net.Dialer{}).DialContext(ctx, network, to)
				},
				DialTimeout: 3 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			p.hub.lookup = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr(tc.first), netip.MustParseAddr("127.0.0.2")}, nil
			}
			for i := range 2 {
				c, err := p.Acquire(t.Context())
				if (err == nil) != (tc.serves != "") {
					t.Errorf("Acquire %d: %v", i, err)
				}
				if err != nil {
					break
				}
				c.Discard(nil)
			}
			mu.Lock()
			defer mu.Unlock()
			name := "service.test:" + port
			if tc.serves != "" && strings.Join(given, " ") != name+" "+tc.serves+" "+tc.serves {
				t.Errorf("NetDial was given %q", given)
			}
			for _, addr := range given {
				if tc.serves == "" && addr != name {
					t.Errorf("NetDial was given %q, want the name", addr)
				}
			}
		})
	}
}

// namedConn is a connection in memory that reports a TCP address.
type namedConn struct {
	net.Conn
	at netip.AddrPort
}

func (c namedConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.at) }

// answering returns a connection to a server at the address, which answers one request and
// then says nothing.
func answering(at string, answer func(*http.Request) string) net.Conn {
	ours, theirs := memnet.Pipe(1 << 12)
	go func() {
		defer theirs.Close()
		r, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			return
		}
		_, _ = io.WriteString(theirs, answer(r))
		_, _ = io.Copy(io.Discard, theirs)
	}()
	return namedConn{ours, netip.MustParseAddrPort(at)}
}

// agreeing is the answer to r that upgrades the connection.
func agreeing(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return fmt.Sprintf("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-Websocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
}

// A look-up that a slow handshake has begun does not delay the dial, once that has won.
func TestDialRace_SlowLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{
			URL:     "ws://service.test/",
			MaxSize: 1,
			NetDial: func(context.Context, string, string) (net.Conn, error) {
				return answering("192.0.2.1:80", func(r *http.Request) string {
					time.Sleep(1500 * time.Millisecond)
					return agreeing(r)
				}), nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		asked := 0
		p.hub.lookup = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			asked++
			<-ctx.Done()
			return nil, ctx.Err()
		}
		began := time.Now()
		c, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took >= 2*time.Second || asked != 1 {
			t.Errorf("after %v, with %d look-ups", took, asked)
		}
		c.Discard(nil)
	})
}

// A redirect from ws to wss on the same host whose handshake is slow: the attempts that begin
// meanwhile go to the first URL, and not to the port where the redirect leads.
func TestDialRace_SlowRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var given []string
		p, err := New(Config{
			URL:         "ws://service.test/",
			Redirects:   1,
			MaxSize:     1,
			DialTimeout: 4500 * time.Millisecond, // between two scouts
			NetDial: func(_ context.Context, _, addr string) (net.Conn, error) {
				mu.Lock()
				given = append(given, addr)
				mu.Unlock()
				if strings.HasSuffix(addr, ":80") {
					return answering("192.0.2.1:80", func(r *http.Request) string {
						return "HTTP/1.1 307 x\r\nLocation: https://service.test/\r\nContent-Length: 0\r\n\r\n"
					}), nil
				}
				ours, theirs := memnet.Pipe(1 << 12)
				go func() {
					defer theirs.Close()
					_, _ = io.Copy(io.Discard, theirs)
				}()
				return namedConn{ours, netip.MustParseAddrPort("192.0.2.1:443")}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		p.hub.lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}
		var de *DialError
		if _, err := p.Acquire(t.Context()); !errors.As(err, &de) || de.Phase != "tls" {
			t.Errorf("Acquire: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		all := strings.Join(given, " ")
		if !strings.HasPrefix(all, "service.test:80 service.test:443 192.0.2.1:80 service.test:443 ") || strings.Contains(all, "192.0.2.1:443") {
			t.Errorf("NetDial was given %s", all)
		}
	})
}

// NetDial finds the server itself, at addresses that DNS does not have for the name: it is
// given the name again, also after one of them was silent.
func TestDialRace_NetDialKeepsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var given []string
		p, err := New(Config{
			URL:     "ws://service.test/",
			MaxSize: 1,
			NetDial: func(ctx context.Context, _, addr string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				given = append(given, addr)
				if len(given) == 1 {
					return answering("198.51.100.1:80", func(*http.Request) string { return "" }), nil
				}
				return answering("198.51.100.2:80", agreeing), nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		p.hub.lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}
		for range 2 {
			c, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.Discard(nil)
		}
		mu.Lock()
		defer mu.Unlock()
		if strings.Join(given, " ") != "service.test:80 service.test:80 service.test:80" {
			t.Errorf("NetDial was given %q", given)
		}
	})
}

// The default looks the name up itself.
func TestDialRace_DefaultLookup(t *testing.T) {
	_, port, _ := net.SplitHostPort(echoServer(t))
	p, err := New(Config{URL: "ws://localhost:" + port + "/", MaxSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	c, err := p.Acquire(t.Context()) // also where the first address is ::1, on which nobody listens
	if err != nil {
		t.Fatal(err)
	}
	c.Release()
}
