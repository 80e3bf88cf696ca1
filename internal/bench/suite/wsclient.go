package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// question is what the WebSocket rows send, and the server sends back.
var question = []byte("a question of sixty-four bytes, as long as its answer: 0123456789")[:64]

// An asker is a way to ask the server: it takes a connection, exchanges so
// many messages over it and lets go of it.
type asker func(ctx context.Context, exchanges int) error

// answered checks an exchange.
func answered(p []byte, err error) error {
	if err == nil && len(p) != len(question) {
		err = fmt.Errorf("an answer of %d bytes, not %d", len(p), len(question))
	}
	return err
}

// openSockets returns a pool of WebSockets to a, which edit changes if not nil.
func openSockets(a address, scheme string, edit func(*wspool.Config)) (*wspool.Pool, error) {
	cfg := wspool.Config{URL: a.url(scheme), MaxSize: 1, SweepInterval: time.Hour}
	var err error
	if cfg.TLS, err = a.tlsConfig(); err != nil {
		return nil, err
	}
	if edit != nil {
		edit(&cfg)
	}
	return wspool.New(cfg)
}

// lease asks p through one lease.
func lease(ctx context.Context, p *wspool.Pool, exchanges int) error {
	c, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	for range exchanges {
		if err := c.WriteMessage(ctx, websocket.BinaryMessage, question); err != nil {
			return err
		}
		_, got, err := c.ReadMessage(ctx)
		if err := answered(got, err); err != nil {
			return err
		}
	}
	return nil
}

// A bareDialer dials with gorilla alone, in its defaults but for what is set. As a
// program would that dials again and again, it resumes sessions of TLS.
type bareDialer struct {
	websocket.Dialer
	url string
}

func (a address) dialer(scheme string) (*bareDialer, error) {
	secure, err := a.tlsConfig()
	if err != nil {
		return nil, err
	}
	secure.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	d := websocket.Dialer{TLSClientConfig: secure, HandshakeTimeout: wspool.DefaultDialTimeout}
	return &bareDialer{d, a.url(scheme)}, nil
}

func (d *bareDialer) dial(ctx context.Context) (*websocket.Conn, error) {
	ws, _, err := d.DialContext(ctx, d.url, nil)
	return ws, err
}

// askBare exchanges messages over a connection of one's own.
func askBare(ws *websocket.Conn, exchanges int) error {
	for range exchanges {
		if err := ws.WriteMessage(websocket.BinaryMessage, question); err != nil {
			return err
		}
		_, got, err := ws.ReadMessage()
		if err := answered(got, err); err != nil {
			return err
		}
	}
	return nil
}

// closeBare does the closing handshake and hangs up.
func closeBare(ws *websocket.Conn) error {
	by := time.Now().Add(wspool.DefaultCloseTimeout)
	err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), by)
	if err == nil {
		_ = ws.SetReadDeadline(by)
		if _, _, err = ws.ReadMessage(); websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			err = nil
		}
	}
	return errors.Join(err, ws.Close())
}

// dialAndAsk is what a program without a pool does for each request.
func dialAndAsk(ctx context.Context, d *bareDialer) error {
	ws, err := d.dial(ctx)
	if err != nil {
		return err
	}
	return errors.Join(askBare(ws, 1), closeBare(ws))
}
