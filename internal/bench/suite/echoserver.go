package suite

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// echoes sends back every message of every connection, or under /speech only the
// texts: see address.speech.
type echoes struct {
	upgrader websocket.Upgrader
	opened   atomic.Int64
	pings    atomic.Int64
}

func (e *echoes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/counts" {
		_ = json.NewEncoder(w).Encode(counts{Opened: e.opened.Load(), Pings: e.pings.Load()})
		return
	}
	handshake, takes, err := pauses(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if pause(r.Context(), handshake) != nil {
		return
	}
	ws, err := e.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client was told
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
				continue // a part of the utterance, which that ends
			}
			time.Sleep(takes)
		}
		if ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// pauses are how long the server takes for a handshake, and for an answer.
func pauses(q url.Values) (handshake, takes time.Duration, err error) {
	for name, d := range map[string]*time.Duration{"handshake": &handshake, "takes": &takes} {
		if s := q.Get(name); s != "" {
			v, perr := time.ParseDuration(s)
			*d, err = v, errors.Join(err, perr)
		}
	}
	return handshake, takes, err
}

// servePeer is the server's process. It says where it is and serves until in
// ends, as it does at the latest when the parent does.
func servePeer(in io.Reader, out io.Writer) error {
	e := &echoes{}
	plain, err := listenLocal(e, nil)
	if err != nil {
		return err
	}
	defer plain.close()
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	secure, err := listenLocal(e, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	defer secure.close()
	bytes, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer bytes.Close()
	go serveEcho(bytes)
	err = json.NewEncoder(out).Encode(address{
		TCP: bytes.Addr().String(),
		WS:  "ws://" + plain.addr, WSS: "wss://" + secure.addr,
		Counts: "http://" + plain.addr + "/counts", Cert: cert.Certificate[0],
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// selfSigned makes a certificate for loopback.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
