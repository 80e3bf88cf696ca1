package endpoint_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// certificateFor returns a certificate for a name, and the pool of authorities that trusts it.
func certificateFor(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// service is WebSocket servers with TLS, at several addresses of loopback and one port.
type service struct {
	mu    sync.Mutex
	port  string
	hosts map[string]bool // Host headers and names of TLS that clients have sent
}

// listen starts a server at ip, which answers each message with ip.
func (s *service) listen(t *testing.T, ip string, cert tls.Certificate) error {
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, s.port))
	if err != nil {
		return err
	}
	_, s.port, _ = net.SplitHostPort(ln.Addr().String())
	var conns sync.WaitGroup
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.hosts[r.Host+" "+r.TLS.ServerName] = true
		s.mu.Unlock()
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		conns.Add(1)
		defer conns.Done()
		defer ws.Close()
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			if ws.WriteMessage(websocket.TextMessage, []byte(ip)) != nil {
				return
			}
		}
	}))
	_ = h.Listener.Close()
	h.Listener, h.TLS = ln, &tls.Config{Certificates: []tls.Certificate{cert}}
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(func() { h.Close(); conns.Wait() })
	return nil
}

// listenAll starts servers at all addresses, at a port that is free at each.
func listenAll(t *testing.T, cert tls.Certificate, ips ...string) *service {
	t.Helper()
	for range 20 {
		s := &service{port: "0", hosts: make(map[string]bool)}
		failed := slices.ContainsFunc(ips, func(ip string) bool { return s.listen(t, ip, cert) != nil })
		if !failed {
			return s
		}
	}
	t.Fatal("no port is free at all addresses")
	return nil
}

// TestServiceBehindName uses a cluster over DNS, with a DNS server and servers with TLS: every
// address of the name is used, under the name, and a change of the records is seen
// without a Reset.
func TestServiceBehindName(t *testing.T) {
	cert, roots := certificateFor(t, "ws.test")
	s := listenAll(t, cert, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	setRecords, resolver := endpoint.NewTestDNS(t)
	setRecords("ws.test.", "127.0.0.1", "127.0.0.2")
	dns, err := endpoint.DNS(endpoint.DNSConfig{
		Addr: "ws.test.:" + s.port, Resolver: resolver,
		Polling: endpoint.Polling{Interval: 50 * time.Millisecond, MinInterval: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(cluster.Config{
		Resolver: dns,
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			at, err := netip.ParseAddrPort(e.Addr)
			return wspool.Config{
				URL: "wss://" + net.JoinHostPort(e.Name, s.port) + "/v1",
				Lookup: func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{at.Addr()}, nil
				},
				TLS: &tls.Config{RootCAs: roots},
			}, err
		},
		MaxTotal: 6,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()

	// until exchanges messages until the last 20 replies came from exactly these servers.
	until := func(want ...string) {
		t.Helper()
		var last []string
		for by := time.Now().Add(time.Minute); ; {
			ctx, cancel := context.WithDeadline(t.Context(), by)
			var got [4]string
			var all sync.WaitGroup
			for i := range got { // at once, so that one connection does not serve all
				all.Go(func() {
					_, reply, err := c.ExchangeWith(ctx, cluster.ExchangeOptions{Idempotent: true}, websocket.TextMessage, []byte("hello"))
					if got[i] = string(reply); err != nil {
						got[i] = err.Error()
					}
				})
			}
			all.Wait()
			cancel()
			last = append(last, got[:]...)
			last = last[max(0, len(last)-20):]
			if seen := slices.Compact(slices.Sorted(slices.Values(last))); len(last) == 20 && slices.Equal(seen, want) {
				return
			} else if time.Now().After(by) {
				t.Fatalf("the last replies are from %v, want %v; the endpoints are %v", seen, want, c.Stats().Endpoints)
			}
		}
	}
	until("127.0.0.1", "127.0.0.2")
	setRecords("ws.test.", "127.0.0.3", "127.0.0.2")
	until("127.0.0.2", "127.0.0.3")
	setRecords("ws.test.") // no addresses: the last ones are kept
	for by := time.Now().Add(time.Minute); c.Stats().Set.UpdateErr == nil && time.Now().Before(by); {
		until("127.0.0.2", "127.0.0.3")
	}
	until("127.0.0.2", "127.0.0.3")
	if err := c.Stats().Set.UpdateErr; err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("UpdateErr is %v, want that there is no such host", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := fmt.Sprintf("ws.test:%s ws.test", s.port); len(s.hosts) != 1 || !s.hosts[want] {
		t.Errorf("clients have sent %v, want %q", s.hosts, want)
	}
}
