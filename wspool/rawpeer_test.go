package wspool_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// rawPeer is a WebSocket server made by hand, so that it can send what no
// library would. Its first connection answers the first message with script;
// all else, and every other connection, it sends back.
type rawPeer struct {
	cfg        wspool.Config   // how to reach it
	script     []byte          // frames
	chop       int             // in how many bytes at a time it sends; 0: at once
	extensions string          // what it chooses if anything is offered; "": none
	reports    chan *rawReport // of the connection that had script, when it has ended

	first sync.Once // script was sent
	all   sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]bool // nil: the peer is closing
}

// rawReport is what a client sent on one connection.
type rawReport struct {
	scripted   bool
	pongs      []string
	compressed int    // messages with RSV1
	offer      string // of extensions
	code       int    // of its close frame; 0: it sent none; 1005: it had none
	err        error  // a frame that no client may send
}

// listenRaw starts p on loopback.
func listenRaw(t testing.TB, p *rawPeer) *rawPeer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.conns, p.reports = map[net.Conn]bool{}, make(chan *rawReport, 1)
	p.cfg.URL = "ws://" + l.Addr().String() + "/"
	p.cfg.MaxSize = 2
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.conns = nil
		p.mu.Unlock()
		p.all.Wait()
	})
	return p
}

func (p *rawPeer) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	if p.conns == nil {
		p.mu.Unlock()
		return
	}
	p.conns[c] = true
	p.mu.Unlock()
	c.SetDeadline(deadline())
	r := &rawReport{}
	var sender sync.WaitGroup
	r.err = p.talk(c, r, &sender)
	c.Close()
	sender.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	if r.scripted {
		p.reports <- r
	}
}

// talk serves c until it ends.
func (p *rawPeer) talk(c net.Conn, r *rawReport, sender *sync.WaitGroup) error {
	br := bufio.NewReader(c)
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil
	}
	r.offer = req.Header.Get("Sec-Websocket-Extensions")
	chosen := ""
	if r.offer != "" && p.extensions != "" {
		chosen = "Sec-WebSocket-Extensions: " + p.extensions + "\r\n"
	}
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%sSec-WebSocket-Accept: %s\r\n\r\n",
		chosen, acceptKey(req))
	var (
		open    bool // message goes on
		first   byte // of its frame if it had but one
		message []byte
	)
	for {
		b, payload, err := readRaw(br)
		if err == errLeft {
			return nil
		}
		if err != nil {
			return err
		}
		switch op := b & 0x0f; {
		case op == websocket.TextMessage && !open, op == 0 && open && b&0x40 == 0:
			if !open {
				first, message = b|0x80, nil
			}
			message = append(message, payload...)
			if open = b&0x80 == 0; open {
				continue
			}
			r.compressed += int(first >> 6 & 1)
			answer := rawFrame(first, message)
			p.first.Do(func() { answer, r.scripted = p.script, true })
			sender.Wait()
			sender.Go(func() { sendChopped(c, answer, p.chop) })
		case b == 0x80|websocket.PongMessage:
			r.pongs = append(r.pongs, string(payload))
		case b == 0x80|websocket.CloseMessage:
			if r.code = websocket.CloseNoStatusReceived; len(payload) >= 2 {
				r.code = int(binary.BigEndian.Uint16(payload))
			}
			sender.Wait()
			c.Write(rawFrame(b, payload)) // as may have been done before
			return nil
		default:
			return fmt.Errorf("a frame that begins with %#x", b)
		}
	}
}

// sendChopped writes p in chunks of chop bytes. The client may leave meanwhile.
func sendChopped(c net.Conn, p []byte, chop int) {
	if chop == 0 {
		chop = max(len(p), 1)
	}
	for len(p) > 0 {
		n := min(chop, len(p))
		if _, err := c.Write(p[:n]); err != nil {
			return
		}
		p = p[n:]
	}
}

// errLeft: the client is gone.
var errLeft = errors.New("no more")

// readRaw reads one frame of a client.
func readRaw(br *bufio.Reader) (b byte, payload []byte, err error) {
	var h [14]byte
	if _, err := io.ReadFull(br, h[:2]); err != nil {
		return 0, nil, errLeft
	}
	if h[1]&0x80 == 0 {
		return 0, nil, fmt.Errorf("a frame without a mask: %x", h[:2])
	}
	n := uint64(h[1] & 0x7f)
	more := map[uint64]int{126: 2, 127: 8}[n]
	if _, err := io.ReadFull(br, h[2:6+more]); err != nil {
		return 0, nil, errLeft
	}
	mask := h[2+more : 6+more]
	switch n {
	case 126:
		n = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		n = binary.BigEndian.Uint64(h[2:])
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(br, payload); err != nil {
		return 0, nil, errLeft
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return h[0], payload, nil
}

// rawFrame is a server's frame; first is FIN, the RSV bits and the opcode.
func rawFrame(first byte, payload []byte) []byte {
	h := []byte{first, byte(len(payload))}
	switch n := len(payload); {
	case n > 0xffff:
		h[1] = 127
		h = binary.BigEndian.AppendUint64(h, uint64(n))
	case n > 125:
		h[1] = 126
		h = binary.BigEndian.AppendUint16(h, uint16(n))
	}
	return append(h, payload...)
}

// fragments is a message in frames of at most size bytes.
func fragments(first byte, payload []byte, size int) []byte {
	out := make([]byte, 0, len(payload)+len(payload)/size*14+14)
	for {
		n := min(size, len(payload))
		last := n == len(payload)
		b := first &^ 0x80
		if last {
			b |= 0x80
		}
		out = append(out, rawFrame(b, payload[:n])...)
		if last {
			return out
		}
		payload = payload[n:]
		first = 0
	}
}
