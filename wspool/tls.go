package wspool

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
)

// secure runs a TLS handshake over c with the host of that name, whose certificate is
// verified. It returns when ctx ends; c is closed then.
func secure(ctx context.Context, c net.Conn, cfg *tls.Config, sessions tls.ClientSessionCache, host string) (*tls.Conn, error) {
	cfg = cfg.Clone()
	cfg.ServerName, cfg.ClientSessionCache = host, sessions
	if of, ok := sessions.(*foreignCache); ok {
		tickets := &lateTickets{foreignCache: of}
		cfg.ClientSessionCache = tickets
		defer tickets.late.Store(true)
	}
	t := tls.Client(c, cfg)
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err := t.HandshakeContext(ctx)
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(t.ConnectionState(), err)
	}
	return t, err
}

// tlsSessions decides which TLS session cache a dial uses.
//
// A resumed session keeps the identity of the handshake that created it: neither side
// looks at a certificate again. After a rotation of the client's certificate a resumed
// session would present the old one for as long as tickets are accepted. So there is no
// cache if GetClientCertificate is set, and a fresh one after a Reset and after the server
// refused the client.
type tlsSessions struct {
	given  tls.ClientSessionCache // Config.TLS's; nil: the pool has one of its own
	off    bool                   // no session is resumed
	resets *atomic.Int64          // Resets so far, of all pools that share it
	report func(error)            // reports a panic of given

	mu   sync.Mutex
	seen int64 // the resets when cache was made
	// Sessions of dials that began before a renewal go to the cache of that time.
	cache tls.ClientSessionCache // nil: made by the next dial
}

func (s *tlsSessions) start(cfg *tls.Config, resets *atomic.Int64, report func(error)) {
	s.given, s.off = cfg.ClientSessionCache, cfg.GetClientCertificate != nil
	s.resets, s.report, s.seen = resets, report, resets.Load()
	if s.given != nil {
		s.cache = &foreignCache{of: s.given, report: report}
	}
}

// current returns the cache of a dial that begins now; nil: none.
func (s *tlsSessions) current() tls.ClientSessionCache {
	if s.off {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.resets.Load(); n != s.seen {
		s.seen = n
		s.renewLocked()
	}
	if s.cache == nil {
		s.cache = tls.NewLRUClientSessionCache(0)
	}
	return s.cache
}

// renew makes later dials resume no session of an earlier one.
func (s *tlsSessions) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewLocked()
}

func (s *tlsSessions) renewLocked() {
	s.cache = nil
	if s.given != nil {
		s.cache = &foreignCache{of: s.given, prefix: fmt.Sprintf("respool %d ", renewals.Add(1)), report: s.report}
	}
}

// renewals numbers the prefixes of foreignCache: pools may share a cache.
var renewals atomic.Int64

// foreignCache is a cache of the user's. The prefix of its keys makes earlier sessions
// unreachable.
type foreignCache struct {
	of     tls.ClientSessionCache
	prefix string
	report func(error)
}

func (c *foreignCache) Get(key string) (session *tls.ClientSessionState, ok bool) {
	defer c.contain(&ok)
	return c.of.Get(c.prefix + key)
}

func (c *foreignCache) Put(key string, session *tls.ClientSessionState) {
	defer c.contain(new(bool))
	c.of.Put(c.prefix+key, session)
}

func (c *foreignCache) contain(ok *bool) {
	if v := recover(); v != nil {
		*ok = false
		c.report(panicked("TLS.ClientSessionCache", v))
	}
}

// lateTickets is the foreignCache of one connection. Once the handshake is over crypto/tls
// calls Put from reads, where locks of the pool may be held and others may wait: the cache
// gets the session from a goroutine of its own then. Of sessions that arrive while Put runs
// it gets the last one only, so that a server cannot make them pile up.
type lateTickets struct {
	*foreignCache
	late atomic.Bool // the handshake is over

	mu      sync.Mutex
	session *tls.ClientSessionState // waits for Put
	putting bool                    // the goroutine runs
}

func (c *lateTickets) Put(key string, session *tls.ClientSessionState) {
	if !c.late.Load() {
		c.foreignCache.Put(key, session)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session
	if !c.putting {
		c.putting = true
		go c.put(key)
	}
}

// put gives the cache the session that waits, until there is none. The key of a connection
// is always the same.
func (c *lateTickets) put(key string) {
	session := c.next()
	defer func() {
		if session != nil { // Put has ended the goroutine
			c.mu.Lock()
			defer c.mu.Unlock()
			c.putting = false
		}
	}()
	for ; session != nil; session = c.next() {
		c.foreignCache.Put(key, session)
	}
}

// next takes the session that waits; if it is nil the goroutine ends.
func (c *lateTickets) next() *tls.ClientSessionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	session := c.session
	c.session, c.putting = nil, session != nil
	return session
}

// refusedIdentity reports whether the failure of a dial is evidence against the
// client's identity. nginx answers 400, 495 or 496 to a client certificate that it
// does not accept.
func refusedIdentity(e *DialError) bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, 495, 496:
		return true
	}
	var ce *CloseError
	if foreign.As(e.Err, &ce) {
		switch ce.Code {
		case websocket.ClosePolicyViolation, 3000, 4401, 4403:
			return true
		}
	}
	return e.Phase == "tls"
}
