package wspool_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// witness is a peer in memory, for bubbles, that sends messages back and notes
// what came in and when. What it does on its own is told to its connections.
type witness struct {
	*peer
	begin time.Time
	deny  atomic.Bool   // it answers no pings
	delay time.Duration // before it answers one
	mute  bool          // it sends no message back

	mu    sync.Mutex
	conns []*websocket.Conn
	notes []note
	lost  map[int]bool // connections on which it answers nothing any more; -1: on all
}

// vanish has it answer nothing on connection i any more, or on any if i is -1;
// appear ends the latter.
func (w *witness) vanish(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost == nil {
		w.lost = map[int]bool{}
	}
	w.lost[i] = true
}

func (w *witness) appear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lost, -1)
}

func (w *witness) vanished(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost[i] || w.lost[-1]
}

// note says that something came in.
type note struct {
	conn int // which connection, from 0
	what string
	at   time.Duration // since the beginning
}

func (n note) String() string { return fmt.Sprintf("%d %s %v", n.conn, n.what, n.at) }

func witnesses(t testing.TB) *witness {
	w := &witness{begin: time.Now()}
	w.peer = listenMem(t, 64<<10, w.serve)
	return w
}

func (w *witness) note(conn int, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, note{conn, what, time.Since(w.begin)})
}

func (w *witness) serve(ws *websocket.Conn) {
	w.mu.Lock()
	id := len(w.conns)
	w.conns = append(w.conns, ws)
	w.mu.Unlock()
	ws.SetPingHandler(func(s string) error {
		w.note(id, "ping")
		if w.deny.Load() || w.vanished(id) {
			return nil
		}
		pong := func() { ws.WriteControl(websocket.PongMessage, []byte(s), deadline()) }
		if w.delay == 0 {
			pong()
		} else {
			time.AfterFunc(w.delay, pong)
		}
		return nil
	})
	ws.SetPongHandler(func(s string) error { w.note(id, "pong "+s); return nil })
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		w.note(id, "message "+string(p))
		if string(p) == "die" {
			return
		}
		if !w.mute && !w.vanished(id) && ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// conn returns the server's end of connection i.
func (w *witness) conn(i int) *websocket.Conn {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns[i]
}

// send sends raw bytes on connection i.
func (w *witness) send(i int, raw []byte) { w.conn(i).NetConn().Write(raw) }

// ping sends one on connection i.
func (w *witness) ping(i int, s string) { w.send(i, frame(websocket.PingMessage, s)) }

// saw returns when what begins so came in on any connection.
func (w *witness) saw(what string) (at []time.Duration) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.notes {
		if strings.HasPrefix(n.what, what) {
			at = append(at, n.at)
		}
	}
	return at
}

// now is the time as the notes tell it.
func (w *witness) now() time.Duration { return time.Since(w.begin) }

// end is when and why a connection was seen to have ended.
type end struct {
	at    time.Duration // when its destruction began
	cause error
	id    uint64
}

// ends makes the pool tell what was destroyed.
func (w *witness) ends() <-chan end {
	ch := make(chan end, 2000)
	w.cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) {
		ch <- end{w.now() - e.Took, e.Cause, e.Info.ID}
	}}
	return ch
}

// none fails if there is anything on ch.
func none(t testing.TB, ch <-chan end) {
	t.Helper()
	synctest.Wait()
	select {
	case e := <-ch:
		t.Errorf("connection %d was destroyed at %v: %v", e.id, e.at, e.cause)
	default:
	}
}

// opaque makes cfg's connections ones that cannot be read without waiting.
func opaque(cfg *wspool.Config) {
	dial := cfg.NetDial
	cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return struct{ net.Conn }{c}, nil
	}
}

// at fails unless two instants are the same.
func at(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Errorf("%s at %v, want %v", what, got, want)
	}
}

// bubble runs f in one.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// atOnce is a Config.Redial that holds no dial back.
func atOnce(error, int) time.Duration { return 0 }
