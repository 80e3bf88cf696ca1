package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	neturl "net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// connectProxy is a proxy for CONNECT that leads to one server, whatever host it is asked
// for, and reports what it is asked.
type connectProxy struct {
	server string // its address
	asked  func(r *http.Request)

	tunnels sync.WaitGroup
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.tunnels.Add(1)
	defer p.tunnels.Done()
	p.asked(r)
	to, err := net.Dial("tcp", p.server)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		defer to.Close()
		io.Copy(to, from)
	}()
	io.Copy(from, to)
}

// echo sends each message back.
func echo(w http.ResponseWriter, r *http.Request) {
	var upgrader websocket.Upgrader
	ws, err := upgrader.Upgrade(w, r, nil)
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
}

// HTTPS_PROXY is for wss, HTTP_PROXY for ws, and NO_PROXY lists hosts that are dialed
// directly. The password for the proxy is in its URL.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	proxy := &connectProxy{server: server.Listener.Addr().String(), asked: func(r *http.Request) {
		fmt.Println("proxy:", r.Method, r.Host, r.Header.Get("X-Team"), "password:", r.Header.Get("Proxy-Authorization") != "")
	}}
	through := httptest.NewServer(proxy)
	defer proxy.tunnels.Wait()
	defer through.Close()
	os.Setenv("HTTP_PROXY", strings.Replace(through.URL, "//", "//user:secret@", 1))
	os.Setenv("NO_PROXY", ".internal")
	_, port, _ := strings.Cut(proxy.server, ":")
	here := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}

	for _, url := range []string{"ws://speech.example.com/v1", "ws://speech.internal:" + port + "/v1"} {
		pool, err := wspool.New(wspool.Config{
			URL:     url,
			MaxSize: 4,
			Proxy:   http.ProxyFromEnvironment,
			ProxyConnectHeader: func(_ context.Context, proxy *neturl.URL, target string) (http.Header, error) {
				return http.Header{"X-Team": {"speech"}}, nil
			},
			Lookup: here, // where no proxy is used; leave it out to ask the system
		})
		if err != nil {
			log.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, reply, err := pool.Exchange(ctx, websocket.TextMessage, []byte("hello"))
		fmt.Printf("%s %v\n", reply, err)
		fmt.Println(pool.Close(ctx))
		cancel()
	}
	// Output:
	// proxy: CONNECT speech.example.com:80 speech password: true
	// hello <nil>
	// <nil>
	// hello <nil>
	// <nil>
}
