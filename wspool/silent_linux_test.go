package wspool

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
)

// silentFor has l look as if nothing had come in for that long, as where the process
// has stood still.
func (l *link) silentFor(d time.Duration) {
	l.frames.LastRead.Store(l.hub.clock.Now() - int64(d))
}

// A Reset does not wait for the answer of a peer that has been silent for longer
// than it may, whatever the cause; it does for one that has been heard just now.
func TestDeaf(t *testing.T) {
	p := belledPool(t, false, Config{KeepAlive: time.Hour, PongWait: time.Hour, WatchAfter: time.Hour}, drainBelled)
	c := belledConn(t, p)
	l := c.link
	defer c.Release()
	errWake := errors.New("wake")
	if (&closing{l: l, cause: errWake}).futile() {
		t.Error("heard just now, and taken for dead")
	}
	l.silentFor(2*time.Hour + time.Second)
	if !(&closing{l: l, cause: errWake}).futile() {
		t.Error("silent for longer than KeepAlive and PongWait, and waited for")
	}
	if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); err != nil { // drained, not answered
		t.Error(err)
	}
	if !(&closing{l: l, cause: errWake}).futile() {
		t.Error("what is sent is no sign of life")
	}
	l.silentFor(0)
	if !(&closing{l: l, cause: ErrSilent}).futile() {
		t.Error("ErrSilent, and waited for")
	}
	c.Discard(nil)
}

// The same, seen by a caller: the place of a peer that has vanished is free at once.
func TestReset_SilentPeer(t *testing.T) {
	gone := make(chan resource.DestroyEvent, 10)
	over := make(chan struct{})
	defer close(over)
	cfg := Config{KeepAlive: time.Hour, PongWait: time.Hour, CloseTimeout: belled,
		Trace: &resource.Trace{Destroyed: func(e resource.DestroyEvent) { gone <- e }}}
	p := belledPool(t, false, cfg, func(*websocket.Conn) { <-over })
	c := belledConn(t, p)
	l := c.link
	c.Release()
	l.silentFor(3 * time.Hour)
	p.Reset(errors.New("wake"))
	belledConn(t, p).Discard(ErrSilent)
	for range 2 {
		if e := <-gone; e.Took > belled/2 {
			t.Errorf("a place was held for %v", e.Took)
		}
	}
}

// Whether a peer has been silent for too long is asked of a connection that is not
// hot before it is lent, and of every one when a timer has found so; and one that
// was silent vouches for nothing with what it had sent before.
func TestDoubtful(t *testing.T) {
	answer := make(chan struct{})
	p := belledPool(t, false, Config{KeepAlive: time.Hour, PongWait: time.Hour, WatchAfter: time.Hour}, func(ws *websocket.Conn) {
		go func() {
			<-answer
			ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(belled))
		}()
		drainBelled(ws)
	})
	c := belledConn(t, p)
	l := c.link
	defer c.Discard(nil)
	doubtful := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.doubtfulLocked()
	}
	const long = 2*time.Hour + time.Second
	l.hub.suspect.Store(math.MinInt64) // silences that began before the pool did count too
	l.silentFor(long)
	if doubtful() {
		t.Error("a hot connection: the clock was read")
	}
	l.hub.suspectSilent(l.hub.clock.Now())
	if !doubtful() {
		t.Error("the timer has found out, and it is trusted")
	}
	l.silentFor(0)
	if doubtful() {
		t.Error("heard since, and in doubt")
	}
	l.silentFor(long)
	close(answer)
	l.until(t, "sent an old pong", func() bool { return l.frames.Gap() != 0 })
	if !doubtful() {
		t.Error("an old pong vouches for the peer")
	}
	if err := (vetting{l}).prove(t.Context()); err != nil {
		t.Error(err)
	}
	if doubtful() {
		t.Error("it has answered a ping, and is in doubt")
	}
}
