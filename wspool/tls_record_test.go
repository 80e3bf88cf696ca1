package wspool_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// keyLog is a KeyLogWriter.
type keyLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (k *keyLog) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.Write(p)
}

// serverSecret returns the secret of what the server sends on the last connection.
func (k *keyLog) serverSecret() (secret []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for line := range strings.SplitSeq(k.b.String(), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "SERVER_TRAFFIC_SECRET_0" {
			secret, _ = hex.DecodeString(f[2])
		}
	}
	return secret
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
func expandLabel(t *testing.T, secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), byte(len(label)))
	key, err := hkdf.Expand(sha256.New, secret, string(info)+label+"\x00", n)
	if err != nil {
		t.Error(err)
	}
	return key
}

// Kinds of TLS records (RFC 8446, section 5.1).
const (
	handshakeRecord = 22
	dataRecord      = 23
)

// keyUpdate is the handshake message with which a server asks for a key update (RFC 8446, section 4.6.3).
var keyUpdate = []byte{24, 0, 0, 1, 1}

// newTicket is the handshake message with which a server issues a session ticket (RFC 8446,
// section 4.6.1).
var newTicket = []byte{4, 0, 0, 4 + 4 + 2 + 3 + 2,
	0, 0, 1, 0, // lifetime in s
	0, 0, 0, 0, // is added to the age
	1, 0, // nonce
	0, 1, 'x', // ticket
	0, 0, // extensions
}

// record returns the record of that number of the server. It is for the cipher suite
// TLS_AES_128_GCM_SHA256. With another one, which crypto/tls prefers where the processor has no AES
// instructions, the record causes an alert.
func record(t *testing.T, secret []byte, number uint64, kind byte, content []byte) []byte {
	block, err := aes.NewCipher(expandLabel(t, secret, "key", 16))
	if err != nil {
		t.Error(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Error(err)
	}
	nonce := expandLabel(t, secret, "iv", 12)
	for i := range 8 {
		nonce[4+i] ^= byte(number >> (8 * (7 - i)))
	}
	plain := append(bytes.Clone(content), kind)
	head := []byte{23, 3, 3, 0, byte(len(plain) + aead.Overhead())}
	return append(head, aead.Seal(nil, nonce, plain, head)...)
}

// recordServer is a TLS server of WebSockets. Once it has performed the upgrade of its first
// connection, in record 0, it calls serve.
func recordServer(t *testing.T, serve func(raw net.Conn, c *tls.Conn, br *bufio.Reader, secret []byte)) (url string) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	keys, over := new(keyLog), make(chan struct{})
	cfg := &tls.Config{Certificates: cert.TLS.Certificates, KeyLogWriter: keys, SessionTicketsDisabled: true, MinVersion: tls.VersionTLS13}
	cert.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		close(over)
		all.Wait()
	})
	upgrade := func(raw *net.TCPConn, first bool) {
		defer raw.Close()
		raw.SetReadBuffer(4096)
		c := tls.Server(raw, cfg)
		br := bufio.NewReader(c)
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		secret := keys.serverSecret() // the client dials the next connection after the answer
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
			acceptKey(r)+"\r\n\r\n")
		if first {
			serve(raw, c, br, secret)
		}
		<-over
	}
	all.Go(func() {
		for n := 0; ; n++ {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { upgrade(raw.(*net.TCPConn), n == 0) })
		}
	})
	return "wss://" + l.Addr().String() + "/"
}

// slowCache is a session cache whose Put waits.
type slowCache struct {
	put  chan *tls.ClientSessionState
	took chan struct{}
	over <-chan struct{} // the test is
}

func (c slowCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c slowCache) Put(_ string, s *tls.ClientSessionState) {
	select {
	case c.put <- s:
		<-c.took
	case <-c.over:
	}
}

// A ticket that comes after the handshake is given to the cache of the user without a lock, and nothing
// waits for that: neither the lease that finds it nor the next. Of those that come meanwhile the cache gets
// the last.
func TestSessionTicketLate(t *testing.T) {
	cache := slowCache{make(chan *tls.ClientSessionState), make(chan struct{}), t.Context().Done()}
	sent := make(chan struct{})
	url := recordServer(t, func(raw net.Conn, c *tls.Conn, br *bufio.Reader, secret []byte) {
		number := uint64(1)
		add := func(to []byte, kind byte, content []byte) []byte {
			number++
			return append(to, record(t, secret, number-1, kind, content)...)
		}
		for {
			if _, err := io.ReadFull(br, make([]byte, 2+4+2)); err != nil { // "hi"
				return
			}
			all := add(nil, dataRecord, frame(websocket.TextMessage, "ok"))
			for range 4 {
				all = add(all, handshakeRecord, newTicket)
			}
			raw.Write(all)
			select {
			case sent <- struct{}{}:
			case <-t.Context().Done():
			}
		}
	})
	p := pool(t, wspool.Config{URL: url, MaxSize: 1, CloseTimeout: 100 * ms,
		TLS: &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache}})
	used := make(chan error)
	var first *tls.ClientSessionState
	for range 3 {
		go func() {
			used <- p.Do(context.Background(), func(ctx context.Context, c *wspool.Conn) error {
				if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("hi")); err != nil {
					return err
				}
				<-sent
				_, m, err := c.ReadMessage(ctx)
				if err == nil && string(m) != "ok" {
					err = fmt.Errorf("answer %q", m)
				}
				return err
			})
		}()
		if err := next(t, "end of the lease", used); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = next(t, "session", cache.put)
		}
	}
	cache.took <- struct{}{}
	if last := next(t, "session", cache.put); last == nil || last == first {
		t.Errorf("%v, then %v", first, last)
	}
	cache.took <- struct{}{}
	if s := p.Stats(); s.Made != 1 {
		t.Errorf("%d connections", s.Made)
	}
}

// A peer that takes nothing, and makes TLS write in a read, stalls its own connection alone.
func TestTLSAnswersWhileWriteStalls(t *testing.T) {
	for name, second := range map[string]func(secret []byte) []byte{
		"key update": func(secret []byte) []byte { return record(t, secret, 2, handshakeRecord, keyUpdate) },
		"alert":      func([]byte) []byte { return append([]byte{dataRecord, 3, 3, 0, 32}, make([]byte, 32)...) },
	} {
		t.Run(name, func(t *testing.T) {
			const writeTimeout = time.Minute
			url := recordServer(t, func(raw net.Conn, c *tls.Conn, br *bufio.Reader, secret []byte) {
				io.ReadFull(br, make([]byte, 2+4+2)) // "hi"
				c.Write(frame(websocket.TextMessage, "ok"))
				io.ReadFull(br, make([]byte, 100))
				time.Sleep(50 * time.Millisecond) // the fault shows itself only if the write has filled the buffers
				raw.Write(second(secret))
			})
			p := pool(t, wspool.Config{URL: url, MaxSize: 2, TLS: &tls.Config{InsecureSkipVerify: true},
				Exchange: wspool.Unpaired, WriteTimeout: writeTimeout, CloseTimeout: 100 * ms})
			a := acquire(t, p) // the first connection
			b := acquire(t, p)
			if err := a.WriteMessage(t.Context(), websocket.TextMessage, []byte("hi")); err != nil {
				t.Fatal(err)
			}
			if _, m, err := a.ReadMessage(t.Context()); err != nil || string(m) != "ok" {
				t.Fatalf("%q, %v", m, err)
			}
			var writing sync.WaitGroup
			writing.Go(func() {
				if err := a.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 32<<20)); err == nil {
					t.Error("the peer has taken the message")
				}
			})
			// Some ticks later the monitor has a watched, which nothing reads. Then it makes the
			// contexts of these reads interrupt them, one in a tick.
			for range 8 {
				ctx, cancel := context.WithTimeout(t.Context(), 60*ms)
				began := time.Now()
				if _, _, err := b.ReadMessage(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("read of the other connection: %v", err)
				}
				cancel()
				if took := time.Since(began); took > patience {
					t.Fatalf("read of the other connection with a context of 60 ms: %v", took)
				}
			}
			b.Discard(nil)
			a.Discard(nil)
			writing.Wait()
		})
	}
}
