package wspool

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
)

// dialTrace follows how far one call of NetDial came, as far as that heeds
// net/http/httptrace, which net.Dialer does. It may still be called when NetDial
// has returned.
type dialTrace struct {
	mu        sync.Mutex
	lookingUp int
	tried     string // the address that was tried last
}

// follow returns ctx with t in it.
func (t *dialTrace) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { t.lookUp(1) },
		DNSDone:      func(httptrace.DNSDoneInfo) { t.lookUp(-1) },
		ConnectStart: func(_, addr string) { t.connect(addr) },
	})
}

func (t *dialTrace) lookUp(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookingUp += n
}

func (t *dialTrace) connect(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried = addr
}

// resolving reports whether a dial that failed with err was looking a name up. t is
// nil if NetDial was not called.
func (t *dialTrace) resolving(err error) bool {
	var de *net.DNSError
	if errors.As(err, &de) {
		return true
	}
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lookingUp > 0 && t.tried == ""
}

// last returns the address that was tried last, "" if there was none.
func (t *dialTrace) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tried
}

// addr is where the dial is or was connected to, or tried last to connect to.
func (d *dialing) addr() string {
	switch {
	case d.peer != "":
		return d.peer
	case d.trace != nil:
		return d.trace.last()
	}
	return ""
}

// peerOf is the address of the other side of c, "" if it has none. It calls
// methods of what NetDial returned.
func peerOf(c net.Conn) (addr string) {
	defer func() { _ = recover() }()
	if a := c.RemoteAddr(); a != nil {
		addr = a.String()
	}
	return addr
}
