package servers

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// coder is an echo server with coder/websocket.
type coder struct {
	clientList[*websocket.Conn]
	l net.Listener
	s http.Server
}

func startCoder(addr string) (library, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &coder{l: l}
	c.s.Handler = http.HandlerFunc(c.echo)
	go c.s.Serve(l)
	return c, nil
}

func (s *coder) echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	s.arrive(c)
	for {
		kind, p, err := c.Read(context.Background())
		if err == nil {
			err = c.Write(context.Background(), kind, p)
		}
		if err != nil {
			c.CloseNow()
			code := 1006
			if ce := (websocket.CloseError{}); errors.As(err, &ce) {
				code = int(ce.Code)
			}
			s.leave(c, code)
			return
		}
	}
}

func (s *coder) addr() string { return s.l.Addr().String() }

func (s *coder) stop() {
	s.s.Close()
	s.each(func(c *websocket.Conn) { c.CloseNow() })
	untilEmpty(s)
}

func (s *coder) drain() {
	s.s.Close()
	s.each(func(c *websocket.Conn) { c.Close(websocket.StatusGoingAway, "going away") })
}
