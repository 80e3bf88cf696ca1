package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/respool/respool/wspool"
)

// nats is a nats-server with a WebSocket listener.
type nats struct{ s *server.Server }

func startNats(addr string) (library, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		n = -1 // any port, in nats' notation
	}
	s, err := server.NewServer(&server.Options{
		Host: host, Port: -1, NoLog: true, NoSigs: true,
		Websocket: server.WebsocketOpts{Host: host, Port: n, NoTLS: true},
		// It pings with data messages, and disconnects clients that do not answer.
		PingInterval: 500 * time.Millisecond, MaxPingsOut: 40,
		LameDuckGracePeriod: 100 * time.Millisecond, LameDuckDuration: 300 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		return nil, errors.New("nats-server does not start")
	}
	return nats{s}, nil
}

func (n nats) addr() string {
	u, err := url.Parse(n.s.WebsocketURL())
	if err != nil {
		return err.Error()
	}
	return u.Host
}

func (n nats) count() int   { return n.s.NumClients() }
func (n nats) codes() []int { return nil } // unknown
func (n nats) stop()        { n.s.Shutdown(); n.s.WaitForShutdown() }
func (n nats) drain()       { n.s.LameDuckShutdown(); n.s.WaitForShutdown() }

var errLameDuck = errors.New("the server is about to leave")

// reachNats configures a pool of nats clients: they sign in before they are lent, answer
// pings while idle, and leave a server that is about to end.
func reachNats(cfg *wspool.Config) {
	cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		_, p, err := c.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(p, []byte("INFO ")) {
			return fmt.Errorf("a greeting of %q", p)
		}
		const hello = `CONNECT {"verbose":false,"pedantic":true,"protocol":1,"lang":"respool","version":"1"}` + "\r\nPING\r\n"
		if err := c.WriteMessage(ctx, websocket.BinaryMessage, []byte(hello)); err != nil {
			return err
		}
		// It answers the first ping with two messages: PONG, and INFO of the connection.
		var heard []byte
		for !bytes.Contains(heard, []byte("PONG\r\n")) || !bytes.Contains(heard, []byte(`"connect_info":true`)) {
			_, p, err := c.ReadMessage(ctx)
			if err != nil {
				return err
			}
			if heard = append(heard, p...); bytes.HasPrefix(p, []byte("-ERR")) {
				return fmt.Errorf("refused: %q", p)
			}
		}
		return nil
	}
	cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
		switch {
		case bytes.Equal(m.Data, []byte("PING\r\n")):
			return &wspool.Message{Type: websocket.BinaryMessage, Data: []byte("PONG\r\n")}, nil
		case bytes.HasPrefix(m.Data, []byte("INFO ")) && bytes.Contains(m.Data, []byte(`"ldm":true`)):
			return nil, errLameDuck
		case bytes.HasPrefix(m.Data, []byte("INFO ")):
			return nil, nil
		}
		return nil, wspool.ErrUnsolicited
	}
	cfg.UnsolicitedLimit = 1000 // this server pings often
}

// askNats publishes to a unique subject and checks that it receives the publication and
// nothing else. A question is three lines in one message.
func askNats(ctx context.Context, c *wspool.Conn, id int64) error {
	subject := "id." + strconv.FormatInt(id, 10)
	payload := padded(id)
	question := fmt.Sprintf("SUB %s %d\r\nUNSUB %d 1\r\nPUB %s %d\r\n%s\r\n", subject, id, id, subject, len(payload), payload)
	if err := c.WriteMessage(ctx, websocket.BinaryMessage, []byte(question)); err != nil {
		return err
	}
	want := fmt.Sprintf("MSG %s %d %d\r\n%s\r\n", subject, id, len(payload), payload)
	// It is a stream of lines that nats may split into messages anywhere. The last thing
	// that a lease does must be a read, so a ping that arrives in one message with the
	// reply is answered together with a ping of our own.
	got, replied, pongs := "", false, 0
	for !replied || pongs > 0 || got != "" {
		_, p, err := c.ReadMessage(ctx)
		if err != nil {
			return err
		}
		got += string(p)
		for got != "" {
			if rest, ok := strings.CutPrefix(got, want); ok && !replied {
				got, replied = rest, true
				continue
			}
			line, rest, whole := strings.Cut(got, "\r\n")
			if !whole || !replied && strings.HasPrefix(want, got) {
				break // incomplete
			}
			switch {
			case line == "PING":
				if err := c.WriteMessage(ctx, websocket.BinaryMessage, []byte("PONG\r\nPING\r\n")); err != nil {
					return err
				}
				pongs++
			case line == "PONG" && pongs > 0:
				pongs--
			case !strings.HasPrefix(line, "INFO "):
				return fmt.Errorf("%w: asked %q, got %q", errCrossed, want, got)
			}
			got = rest
		}
	}
	return nil
}
