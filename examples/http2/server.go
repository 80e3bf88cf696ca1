package main

import (
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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// server is an HTTP/2 server on loopback. It answers
//
//	/hello     hello
//	/meet/N    hello, to all of N requests when the last of them has come
//	/hang      nothing, until the client leaves
type server struct {
	addr   string
	client *tls.Config // trusts it
	http   *http.Server
	done   sync.WaitGroup
	goAway atomic.Bool // each reply asks its client to use another connection

	mu    sync.Mutex
	conns map[net.Conn]bool
	here  int
	all   chan struct{} // closed when those that are to meet are here
}

func startServer() (*server, error) {
	s := &server{conns: map[net.Conn]bool{}, all: make(chan struct{})}
	secure, client, err := certificate()
	if err != nil {
		return nil, err
	}
	s.client = client
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	s.http = &http.Server{
		Handler: s, TLSConfig: secure, ErrorLog: log.New(io.Discard, "", 0), // connections are cut on purpose
		ReadHeaderTimeout: 10 * time.Second, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams},
		ConnState: s.note,
	}
	s.done.Go(func() { _ = s.http.ServeTLS(l, "", "") })
	return s, nil
}

// note keeps a list of the connections.
func (s *server) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = true
	case http.StateClosed:
		delete(s.conns, c)
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.goAway.Load() && r.Method != http.MethodHead { // which each connection begins with
		w.Header().Set("Connection", "close") // net/http sends GOAWAY for it
	}
	if text, ok := strings.CutPrefix(r.URL.Path, "/meet/"); ok {
		n, _ := strconv.Atoi(text) // 0, if it is no number
		s.meet(r, n)
	}
	if r.URL.Path == "/hang" {
		<-r.Context().Done()
		return
	}
	fmt.Fprint(w, "hello")
}

// meet returns when n requests are here.
func (s *server) meet(r *http.Request, n int) {
	s.mu.Lock()
	if s.here++; s.here == n {
		close(s.all)
	}
	s.mu.Unlock()
	select {
	case <-s.all:
	case <-r.Context().Done():
	}
}

// cut closes all connections, as a server that dies.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		c.Close()
	}
}

func (s *server) stop() {
	s.http.Close()
	s.done.Wait()
}

// certificate creates a certificate for loopback, and returns the configurations of both ends.
func certificate() (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}}
	return server, &tls.Config{RootCAs: roots}, nil
}
