package servers

import (
	"errors"
	"net"
	"net/http"

	"github.com/lxzan/gws"
)

// gwsEcho is an echo server with gws.
type gwsEcho struct {
	gws.BuiltinEventHandler
	clientList[*gws.Conn]
	l net.Listener
	s http.Server
}

func startGws(addr string) (library, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	g := &gwsEcho{l: l}
	upgrader := gws.NewUpgrader(g, nil)
	g.s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := upgrader.Upgrade(w, r); err == nil {
			g.arrive(c)
			go c.ReadLoop()
		}
	})
	go g.s.Serve(l)
	return g, nil
}

func (g *gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes()) // OnClose reports a failure
}

func (g *gwsEcho) OnClose(c *gws.Conn, err error) {
	code := 1006
	if ce := (*gws.CloseError)(nil); errors.As(err, &ce) {
		code = int(ce.Code)
	}
	g.leave(c, code)
}

func (g *gwsEcho) addr() string { return g.l.Addr().String() }

func (g *gwsEcho) stop() {
	g.s.Close()
	g.each(func(c *gws.Conn) { c.NetConn().Close() })
	untilEmpty(g)
}

func (g *gwsEcho) drain() {
	g.s.Close()
	g.each(func(c *gws.Conn) { c.WriteClose(1012, []byte("back soon")) })
}
