package wspool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// Part of another message came in with the answer. Its rest could come when the
// next caller has written, and pass for its answer; so nobody gets the
// connection.
func TestTornMessage(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
		late := frame(websocket.TextMessage, "late")
		ws.NetConn().Write(append(frame(websocket.TextMessage, "x"), late[0]))
		drain(ws)
	})
	gone := ends(&peer.cfg)
	c := acquire(t, pool(t, peer.cfg))
	write(t, c, "x")
	read(t, c, "x")
	c.Release()
	if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnread) {
		t.Errorf("destroyed with %v", e.Cause)
	}
}

// A server that sends back what it got repeats secrets; the error does not.
func TestEchoedSecret(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	_, err = pool(t, wspool.Config{
		URL:     "ws://" + l.Addr().String() + "/p?token=s3cret",
		MaxSize: 1,
		Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.Header.Set("Authorization", "s3cret")
			return nil
		},
	}).Acquire(t.Context())
	var de *wspool.DialError
	if !errors.As(err, &de) || de.Phase != "handshake" || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Acquire: %v", err)
	}
	l.Close()
	<-echoed
}
