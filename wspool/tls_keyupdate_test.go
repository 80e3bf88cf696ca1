package wspool_test

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
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

// keyUpdate returns the record of that number, with which a server asks for a key update
// (RFC 8446, section 4.6.3). It is for the cipher suite TLS_AES_128_GCM_SHA256. With another one, which
// crypto/tls prefers where the processor has no AES instructions, the record causes an alert.
func keyUpdate(t *testing.T, secret []byte, number uint64) []byte {
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
	const handshakeRecord, request = 22, 1
	plain := []byte{24, 0, 0, 1, request, handshakeRecord}
	head := []byte{23, 3, 3, 0, byte(len(plain) + aead.Overhead())}
	return append(head, aead.Seal(nil, nonce, plain, head)...)
}

// rekeyer is a TLS server of WebSockets whose first connection answers one message, reads the
// beginning of the next one and no more, and then sends what record returns.
func rekeyer(t *testing.T, record func(secret []byte) []byte) string {
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
	serve := func(raw *net.TCPConn, first bool) {
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
			acceptKey(r)+"\r\n\r\n") // record 0
		if first {
			io.ReadFull(br, make([]byte, 2+4+2)) // "hi"
			c.Write(frame(websocket.TextMessage, "ok"))
			io.ReadFull(br, make([]byte, 100))
			time.Sleep(50 * time.Millisecond) // the fault shows itself only if the write has filled the buffers
			raw.Write(record(secret))
		}
		<-over
	}
	all.Go(func() {
		for n := 0; ; n++ {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(raw.(*net.TCPConn), n == 0) })
		}
	})
	return "wss://" + l.Addr().String() + "/"
}

// A peer that takes nothing, and makes TLS write in a read, stalls its own connection alone.
func TestTLSAnswersWhileWriteStalls(t *testing.T) {
	for name, record := range map[string]func([]byte) []byte{
		"key update": func(secret []byte) []byte { return keyUpdate(t, secret, 2) },
		"alert":      func([]byte) []byte { return append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...) },
	} {
		t.Run(name, func(t *testing.T) {
			const writeTimeout = time.Minute
			p := pool(t, wspool.Config{URL: rekeyer(t, record), MaxSize: 2, TLS: &tls.Config{InsecureSkipVerify: true},
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
