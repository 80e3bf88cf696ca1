package suite

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
)

// localServer is an HTTP server on loopback, on a port of the system's choice.
type localServer struct {
	addr string
	http *http.Server
	done chan struct{}
}

// listenLocal starts one, with TLS unless secure is nil.
func listenLocal(h http.Handler, secure *tls.Config) (*localServer, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &localServer{
		addr: l.Addr().String(),
		// It would tell of handshakes that a row breaks off on purpose.
		http: &http.Server{Handler: h, TLSConfig: secure, ErrorLog: log.New(io.Discard, "", 0)},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if secure == nil {
			_ = s.http.Serve(l) // until closed
		} else {
			_ = s.http.ServeTLS(l, "", "")
		}
	}()
	return s, nil
}

// close stops listening; connections that became WebSockets stay.
func (s *localServer) close() error {
	err := s.http.Close()
	<-s.done
	return err
}
