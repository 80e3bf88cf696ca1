package wspool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/respool/respool/internal/redact"
)

// maxHead is the greatest length of the head of a server's or a proxy's answer, in bytes, with
// those of the interim answers before it.
const maxHead = 64 << 10

// headPiece is how many bytes of the head are read at once.
const headPiece = 512

var errHead = errors.New("wspool: the head of the answer is over 64 KiB")

// answerConn is what gorilla reads the answer to the handshake from. It reads the whole
// head before gorilla sees any of it, and drops interim answers before it. Behind a head with
// status 101 it is the connection; behind any other head it is at its end, because gorilla waits for a body that a server
// need not send: see readRefusal.
type answerConn struct {
	net.Conn
	amend func(http.Header) bool // may change the header of an answer with status 101; nil: none is changed

	head   []byte         // of the answer, up to its empty line; dropped by keep
	ahead  []byte         // what gorilla is given before it reads from Conn
	rest   []byte         // the bytes of a refusal that were read behind the head
	answer *http.Response // the parsed head; nil: it has not arrived, or is not HTTP
	n      int            // bytes of this head so far, and of the interim ones before it
	blank  bool           // the current line is empty so far
	ended  bool           // the head has ended
	failed error          // why there is no head
	open   bool           // the handshake succeeded; set before another goroutine reads
}

func (c *answerConn) Read(p []byte) (int, error) {
	if !c.open && !c.ended {
		if c.failed == nil {
			c.failed = c.readHead()
		}
		if c.failed != nil {
			return 0, c.failed
		}
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	if c.open || c.agreed() {
		return c.Conn.Read(p)
	}
	return 0, io.EOF
}

// Close does nothing until the handshake has succeeded: gorilla closes the connection of a
// refusal, whose body is still to be read. The dial closes the connection below.
func (c *answerConn) Close() error {
	if !c.open {
		return nil
	}
	return c.Conn.Close()
}

// readHead reads up to the empty line that ends the head of the final answer.
func (c *answerConn) readHead() error {
	buf := make([]byte, headPiece)
	for !c.ended {
		if c.n >= maxHead {
			return errHead
		}
		n, err := c.Conn.Read(buf[:min(len(buf), maxHead-c.n)])
		piece := buf[:n]
		for len(piece) > 0 && !c.ended {
			end := c.follow(piece)
			c.head = append(c.head, piece[:end]...)
			piece = piece[end:]
			if c.ended && c.interim() {
				c.head, c.answer, c.ended, c.blank = c.head[:0], nil, false, false
			}
		}
		c.rest = append(c.rest, piece...)
		switch {
		case c.ended:
		case err == io.EOF: // gorilla would report half a line as malformed
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	c.decide()
	return nil
}

// interim parses the head. It reports whether the final answer is still to come.
func (c *answerConn) interim() bool {
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.head)), nil)
	if err != nil {
		return false // gorilla finds the same
	}
	c.answer = answer
	return interim(answer)
}

// interim reports whether another answer follows a (RFC 9110, section 15.2). None follows
// status 101.
func interim(a *http.Response) bool {
	return a.StatusCode/100 == 1 && a.StatusCode != http.StatusSwitchingProtocols
}

// decide decides what gorilla is given.
func (c *answerConn) decide() {
	c.ahead = bytes.Clone(c.head)
	if !c.agreed() {
		return
	}
	if changed := c.answer.Header.Clone(); c.amend != nil && c.amend(changed) {
		var b bytes.Buffer
		b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
		_ = changed.Write(&b) // writing to memory cannot fail
		b.WriteString("\r\n")
		c.ahead = b.Bytes()
	}
	c.ahead = append(c.ahead, c.rest...)
	c.rest = nil
}

// follow looks for the empty line that ends the head, and returns how many bytes of p lie
// before its end.
func (c *answerConn) follow(p []byte) int {
	for i, b := range p {
		c.n++
		switch b {
		case '\r':
		case '\n':
			if c.blank {
				c.ended = true
				return i + 1
			}
			c.blank = true
		default:
			c.blank = false
		}
	}
	return len(p)
}

func (c *answerConn) agreed() bool {
	return c.answer != nil && c.answer.StatusCode == http.StatusSwitchingProtocols
}

// keep makes c a plain connection, after the handshake has succeeded.
func (c *answerConn) keep() {
	c.open, c.head, c.answer, c.amend = true, nil, nil, nil
}

// dialedConn is the net.Conn that gorilla keeps: the answerConn of the handshake, and after
// keep the one below, so that a connection does not keep what only its handshake needs.
type dialedConn struct{ net.Conn }

// keep makes c a plain connection, before another goroutine reads it. An answerConn that
// has bytes which came with the answer stays.
func (c *dialedConn) keep(a *answerConn) {
	if a.keep(); len(a.ahead) == 0 {
		c.Conn = a.Conn
	}
}

// body returns a reader of the bytes behind the head of a refusal.
func (c *answerConn) body() io.Reader { return io.MultiReader(bytes.NewReader(c.rest), c.Conn) }

// deflateName is the only extension that is offered (RFC 7692); the others are its
// parameters. The offer is without context takeover in both directions.
const (
	deflateName    = "permessage-deflate"
	serverNoTake   = "server_no_context_takeover"
	clientNoTake   = "client_no_context_takeover"
	serverMaxBits  = "server_max_window_bits"
	clientMaxBits  = "client_max_window_bits"
	extensionField = "Sec-Websocket-Extensions"
)

var errExtension = errors.New("wspool: server chose an extension that was not offered")

// errDeflate: the client cannot comply with the answer to its offer.
var errDeflate = errors.New("wspool: server answered the offer of permessage-deflate with parameters that are not allowed or not supported")

// extension is an extension that a server chose, with its parameters.
type extension struct {
	name   string
	params [][2]string // names and values; the value of a parameter without one is ""
}

// parseExtensions parses Sec-WebSocket-Extensions (RFC 6455, section 9.1). It returns false
// if the field is malformed.
func parseExtensions(h http.Header) (all []extension, ok bool) {
	for _, field := range h[extensionField] {
		for one := range splitUnquoted(field, ',') {
			if strings.TrimSpace(one) == "" { // RFC 9110, section 5.6.1, has empty elements ignored
				continue
			}
			var e extension
			for part := range splitUnquoted(one, ';') {
				key, value, has := strings.Cut(part, "=")
				key, value = strings.TrimSpace(key), strings.TrimSpace(value)
				if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
					value = value[1 : n-1]
				}
				if !isToken(key) || has && !isToken(value) || has && e.name == "" {
					return nil, false
				}
				if e.name == "" {
					e.name = strings.ToLower(key)
				} else {
					e.params = append(e.params, [2]string{strings.ToLower(key), value})
				}
			}
			all = append(all, e)
		}
	}
	return all, true
}

// splitUnquoted yields the parts of s between separators outside quotes.
func splitUnquoted(s string, separator byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		quoted, begun := false, 0
		for i := range len(s) {
			switch {
			case s[i] == '"':
				quoted = !quoted
			case s[i] == separator && !quoted:
				if !yield(s[begun:i]) {
					return
				}
				begun = i + 1
			}
		}
		yield(s[begun:])
	}
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// checkExtensions returns why the client cannot use what the server chose, as RFC 6455,
// section 9.1, and RFC 7692, section 7.1, define it; deflate says that messages may be
// compressed.
func checkExtensions(h http.Header, offered bool) (deflate bool, err error) {
	all, ok := parseExtensions(h)
	if !ok {
		return false, fmt.Errorf("%w: its list of extensions does not parse", errExtension)
	}
	for _, e := range all {
		switch {
		case e.name != deflateName:
			return false, fmt.Errorf("%w: %q", errExtension, redact.Clean(e.name, shownName))
		case !offered:
			return false, fmt.Errorf("%w: %s", errExtension, deflateName)
		case deflate:
			return false, fmt.Errorf("%w: it chose %s twice", errDeflate, deflateName)
		}
		if err := checkDeflate(e.params); err != nil {
			return false, err
		}
		deflate = true
	}
	return deflate, nil
}

// checkDeflate is checkExtensions for the parameters of permessage-deflate.
// client_no_context_takeover need not be among them: it would bind the client, which never
// takes context over.
func checkDeflate(params [][2]string) error {
	seen := map[string]bool{}
	for _, p := range params {
		name, value := p[0], p[1]
		if seen[name] {
			return fmt.Errorf("%w: %q twice", errDeflate, redact.Clean(name, shownName))
		}
		seen[name] = true
		switch name {
		case serverNoTake, clientNoTake:
			if value != "" {
				return fmt.Errorf("%w: %s with a value", errDeflate, name)
			}
		case serverMaxBits: // a server may send it unasked (section 7.1.2.1), and gorilla reads any window
			if bits, err := strconv.Atoi(value); err != nil || bits < 8 || bits > 15 || value != strconv.Itoa(bits) {
				return fmt.Errorf("%w: %s must be between 8 and 15", errDeflate, name)
			}
		case clientMaxBits:
			return fmt.Errorf("%w: %s, which was not offered", errDeflate, name)
		default:
			return fmt.Errorf("%w: %q, which is unknown", errDeflate, redact.Clean(name, shownName))
		}
	}
	if !seen[serverNoTake] {
		return fmt.Errorf("%w: %s is missing, so the server would compress with context takeover", errDeflate, serverNoTake)
	}
	return nil
}

// amendExtensions rewrites an answer that checkExtensions accepts so that gorilla accepts
// it too. It reports whether it has changed h.
func amendExtensions(h http.Header, offered bool) bool {
	if deflate, err := checkExtensions(h, offered); err != nil || !deflate {
		return false
	}
	h.Set(extensionField, deflateName+"; "+serverNoTake+"; "+clientNoTake)
	return true
}

// header returns the header for gorilla to send: Prepare's, and the jar's cookies for the
// URL. Everything in it counts as secret from now on.
func (d *dialing) header() http.Header {
	out, cookies := http.Header{}, []string(nil)
	for name, values := range d.offer.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Host":
			out["Host"] = values
		case "Cookie":
			cookies = append(cookies, values...)
		default:
			out[name] = values
		}
	}
	if jar := d.cfg.Jar; jar != nil {
		for _, c := range jar.Cookies(d.httpURL()) {
			if s := (&http.Cookie{Name: c.Name, Value: c.Value, Quoted: c.Quoted}).String(); s != "" { // as valid as its name
				cookies = append(cookies, s)
			}
		}
	}
	if len(cookies) > 0 {
		out["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	d.secrets.header(out)
	d.secrets.subprotocols(d.offer.Subprotocols)
	return out
}

// remember stores the cookies of an answer in the jar.
func (d *dialing) remember(resp *http.Response) {
	if d.cfg.Jar == nil {
		return
	}
	if all := resp.Cookies(); len(all) > 0 {
		d.cfg.Jar.SetCookies(d.httpURL(), all)
	}
}

// httpURL returns d's URL with the scheme http or https.
func (d *dialing) httpURL() *url.URL {
	u := *d.url
	u.Scheme = "http"
	if d.secure() {
		u.Scheme = "https"
	}
	return &u
}

// ownHeaders are headers that the protocol or net/http sets, or that have no place in a
// handshake, each with the reason.
var ownHeaders = map[string]string{
	"Connection": "which the protocol sets", "Upgrade": "which the protocol sets",
	"Sec-Websocket-Extensions": "which the protocol sets", "Sec-Websocket-Key": "which the protocol sets",
	"Sec-Websocket-Protocol": "which the protocol sets", "Sec-Websocket-Version": "which the protocol sets",
	"Content-Length": "which is never sent", "Transfer-Encoding": "which is never sent", "Trailer": "which is never sent",
}

// header checks headers that are to be sent: none that the protocol sets, and none that
// net/http would silently drop or change. The complaints show names of headers, and nothing
// of values.
func (bad *complaints) header(where string, h http.Header) {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !isToken(name) {
			bad.no(false, "%s has the name %q, which has a character that none may have", where, redact.Clean(name, shownName))
			continue
		}
		key, values := http.CanonicalHeaderKey(name), h[name]
		shown := redact.Clean(key, shownName)
		if why, own := ownHeaders[key]; own {
			bad.no(false, "%s has %s, %s", where, shown, why)
		}
		bad.no(!slices.ContainsFunc(values, hasControl), "%s has %s with a value that has a control character", where, shown)
		if key == "Host" {
			bad.no(!seen[key] && len(values) == 1 && isHost(values[0]), "%s has Host, which is not one host, with a port or without", where)
		}
		seen[key] = true
	}
}

// hasControl reports whether s has a character that is not allowed in the value of a header
// (RFC 9110, section 5.5).
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// isHost reports whether s is a host with or without a port (RFC 9110, section 7.2).
func isHost(s string) bool {
	u, err := url.Parse(fmt.Sprintf("http://%s/", s))
	return err == nil && s != "" && u.Host == s && u.Hostname() != "" && u.User == nil && u.Path == "/" && !strings.ContainsAny(s, " \t")
}

// reach connects to d.url, or where redirects lead, and upgrades the connection. through is
// the proxy for d.url; nil: none.
func (d *dialing) reach(ctx context.Context, through *url.URL) (err error) {
	for hops := 0; ; hops++ {
		began := d.hub.clock.Now()
		if d.frames, err = d.open(ctx, through); err != nil {
			return err
		}
		if d.ws, err = d.handshake(ctx, d.frames); err == nil {
			d.hub.usual.succeeded(began, d.hub.clock.Now())
			return nil
		}
		if !d.redirected() {
			return err
		}
		if hops == d.cfg.Redirects {
			return fmt.Errorf("%w: more than %d redirects", err, hops)
		}
		if why := d.redirect(); why != "" {
			return fmt.Errorf("%w: a redirect is not followed %s", err, why)
		}
		d.raw.Close()
		if !d.stop() {
			return context.Cause(ctx)
		}
		d.raw, d.answer = nil, nil
		d.target = "" // the race chose it for another URL
		d.moved.Store(true)
		if through, err = d.proxy(ctx); err != nil {
			return err
		}
	}
}

// redirected reports whether the server answered with a redirect that may be followed.
func (d *dialing) redirected() bool {
	if d.cfg.Redirects == 0 || d.answer == nil || d.answer.Header.Get("Location") == "" || d.phase != "handshake" {
		return false
	}
	switch d.answer.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirect sets d's URL to the target of the redirect, or returns why it is not followed.
func (d *dialing) redirect() (why string) {
	to, err := d.url.Parse(d.answer.Header.Get("Location"))
	if err != nil {
		return "to what does not parse"
	}
	switch to.Scheme {
	case "http":
		to.Scheme = "ws"
	case "https":
		to.Scheme = "wss"
	}
	to.Fragment, to.RawFragment = "", ""
	var bad complaints
	if bad.url(to.String()); bad != nil {
		return fmt.Sprintf("to a bad URL (%v)", errors.Join(bad...))
	}
	sameHost := strings.EqualFold(to.Hostname(), d.url.Hostname())
	switch {
	case d.secure() && to.Scheme != "wss":
		return "from wss to ws"
	case !sameHost && to.Scheme != "wss":
		return "to another host without TLS"
	}
	if !sameHost || !samePort(d.url, to) {
		d.dropCredentials()
	}
	d.url, d.offer.URL = to, to.String()
	d.secrets.url(to)
	return ""
}

// samePort reports whether to is the same server as from, on the same host: the same port,
// or port 443 with TLS instead of port 80 without.
func samePort(from, to *url.URL) bool {
	return strings.EqualFold(hostPort(from), hostPort(to)) ||
		strings.HasSuffix(hostPort(from), ":80") && from.Scheme == "ws" && strings.HasSuffix(hostPort(to), ":443")
}

// foreignHeaders are the headers that may be sent to another server too.
var foreignHeaders = []string{"Accept-Language", "Origin", "User-Agent"}

// dropCredentials removes what identifies the user from the handshake, for the rest of the dial,
// even if a later redirect leads back.
func (d *dialing) dropCredentials() {
	d.foreign = true
	kept := http.Header{}
	for name, values := range d.offer.Header {
		for _, ok := range foreignHeaders {
			if http.CanonicalHeaderKey(name) == ok {
				kept[name] = values
			}
		}
	}
	d.offer.Header = kept
}
