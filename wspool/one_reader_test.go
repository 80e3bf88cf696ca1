package wspool

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
)

// readCounter is a connection in memory. It counts reads that begin while another one runs, and can
// keep back what the peer sends, and send bytes in its place.
type readCounter struct {
	net.Conn
	overlaps atomic.Int64
	pongs    atomic.Int64

	mu      sync.Mutex
	reading bool
	extra   []byte        // found by TryRead, before what the peer has sent
	gate    chan struct{} // Read returns after it is closed; nil: at once
}

func (r *readCounter) begin() (gate chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading {
		r.overlaps.Add(1)
	}
	r.reading = true
	return r.gate
}

func (r *readCounter) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
}

func (r *readCounter) Read(p []byte) (int, error) {
	gate := r.begin()
	defer r.end()
	if gate != nil {
		<-gate
		return 0, io.EOF
	}
	return r.Conn.Read(p)
}

// TryRead makes the connection one that can be polled.
func (r *readCounter) TryRead(p []byte) (int, error) {
	r.begin()
	defer r.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := copy(p, r.extra); n > 0 {
		r.extra = r.extra[n:]
		return n, nil
	}
	return r.Conn.(interface{ TryRead([]byte) (int, error) }).TryRead(p)
}

func (r *readCounter) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 0x80|websocket.PongMessage {
		r.pongs.Add(1)
	}
	return r.Conn.Write(p)
}

// countedLease returns a lease of a connection that counts reads.
func countedLease(t *testing.T) (*Conn, *readCounter) {
	t.Helper()
	var r *readCounter
	p := memPool(t, Config{MaxSize: 1, KeepAlive: -1}, func(c net.Conn) net.Conn {
		r = &readCounter{Conn: c}
		return r
	})
	c, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

// TestClose_OneReader: a goroutine that looks for unread bytes while the connection is being closed
// does not read beside the one that waits for the peer's close frame.
func TestClose_OneReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := countedLease(t)
		l := c.link
		gate := make(chan struct{})
		r.mu.Lock()
		r.gate = gate
		r.mu.Unlock()
		c.Discard(resource.ErrDiscarded)
		synctest.Wait() // Read waits for the gate
		r.mu.Lock()
		if !r.reading {
			t.Error("nothing waits for the peer's close frame")
		}
		r.mu.Unlock()
		(&lease{link: l}).silent()
		if n := r.overlaps.Load(); n != 0 {
			t.Errorf("%d reads began while another one ran", n)
		}
		close(gate)
	})
}

// TestHijack_AnswersPing: a ping that has arrived, and that no goroutine has dealt with, is answered
// before the connection is hijacked.
func TestHijack_AnswersPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := countedLease(t)
		r.mu.Lock()
		r.extra = []byte{0x80 | websocket.PingMessage, 0}
		r.mu.Unlock()
		if !c.silent() {
			t.Error("a ping counts as part of a message")
		}
		began := time.Now()
		ws, ok := c.Hijack()
		if took := time.Since(began); !ok || took > 0 {
			t.Fatalf("hijacked %v after %v", ok, took)
		}
		if n := r.pongs.Load(); n != 1 {
			t.Errorf("%d pongs before the hijack, want 1", n)
		}
		if n := r.overlaps.Load(); n != 0 {
			t.Errorf("%d reads began while another one ran", n)
		}
		ws.Close()
	})
}
