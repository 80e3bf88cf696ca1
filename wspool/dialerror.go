package wspool

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/respool/respool/internal/redact"
)

// DialError says how far a dial came and why it failed. Its text shows the host, the proxy's
// host if the proxy failed, the address of the one that failed, where a redirect leads, and
// the beginning of the body of a refusal. It shows nothing else of a URL or of any header,
// even if a server repeats it, unless it is in the text of a [CloseError]. Of the text of Err,
// which may contain names from a certificate, it shows at most 512 bytes (maxErrorText), and
// no control characters.
type DialError struct {
	// Host is the server's host, with the port if the URL has one; after a redirect that of
	// the last URL. It is empty if [Config.Prepare] had not provided it yet.
	Host string
	// Phase is where the dial failed: "prepare" ([Config.Prepare]), "resolve" (name look-up
	// without a proxy, by net.Dialer), "connect" (TCP, or [Config.NetDial], without a proxy),
	// "proxy" ([Config.Proxy], and everything up to the proxy's consent), "tls", "handshake"
	// (the HTTP upgrade, and the moment after it), "subprotocol" (the server chose one that
	// was not offered, or none: see [Config.SubprotocolOptional]), "greeting"
	// ([Config.Greeting], and the moment after it) or "set-up" ([Config.OnConnect], and the
	// moment after it).
	Phase string
	// Addr is the address of the server, or of the proxy, to which the dial was connected, or
	// which it tried last; empty if it tried none.
	Addr string
	// Status is the HTTP status of the server's answer, or of the proxy's if Phase is "proxy";
	// 0: there was no answer.
	Status int
	// RetryAfter is how long that answer asked the client to wait, [Config.MaxRetryAfter] at
	// most. It is valid only if RetryAfterSet is true: 0 means at once then.
	RetryAfter time.Duration
	// RetryAfterSet is whether the answer had a Retry-After field as RFC 9110, section 10.2.3,
	// defines it.
	RetryAfterSet bool
	// RetryAfterErr says why the answer's Retry-After field was ignored; nil: there was none,
	// or it is valid.
	RetryAfterErr error
	// Response is that answer, headers and body; nil: none.
	Response *Response
	// Err is the cause. For an answer of the server that is no upgrade it is or wraps
	// [websocket.ErrBadHandshake]. Its own text may show more than the text of the DialError.
	Err error

	text     string // text of Err that may be shown; "": not known
	location string // target of Response that may be shown
}

func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("wspool: dial")
	if e.Host != "" {
		b.WriteString(" " + e.Host)
	}
	cause := e.cause()
	b.WriteString(": " + e.Phase + ": " + cause)
	if more := e.more(cause); len(more) > 0 {
		b.WriteString(" (" + strings.Join(more, ", ") + ")")
	}
	if e.Response != nil {
		if says := e.Response.says(); says != "" {
			fmt.Fprintf(&b, ": %q", says)
		}
	}
	return b.String()
}

// cause returns the text of Err.
func (e *DialError) cause() string {
	if e.text == "" && e.Err != nil {
		return new(secrets).text(e.Err)
	}
	return e.text
}

// more returns the details that follow the cause in the text.
func (e *DialError) more(cause string) (more []string) {
	if e.Status != 0 {
		more = append(more, strings.TrimSpace(fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))))
		switch {
		case e.RetryAfterSet:
			more = append(more, fmt.Sprintf("retry after %v", e.RetryAfter))
		case e.RetryAfterErr != nil:
			more = append(more, e.RetryAfterErr.Error())
		}
	}
	if e.location != "" {
		more = append(more, "it leads to "+e.location)
	}
	if e.Addr != "" && e.Addr != e.Host && !strings.Contains(cause, e.Addr) {
		more = append(more, "at "+e.Addr)
	}
	return more
}

// GoString keeps the fields of a server's answer out of %#v.
func (e *DialError) GoString() string {
	return fmt.Sprintf("&wspool.DialError{Host:%q, Phase:%q, Addr:%q, Status:%d, RetryAfter:%d, Err:%q}",
		e.Host, e.Phase, e.Addr, e.Status, e.RetryAfter, e.cause())
}

// LogValue returns a group of the text and the fields.
func (e *DialError) LogValue() slog.Value {
	return slog.GroupValue(slog.String("text", e.Error()), slog.String("host", e.Host), slog.String("phase", e.Phase),
		slog.String("addr", e.Addr), slog.Int("status", e.Status), slog.Duration("retry_after", e.RetryAfter))
}

// Unwrap returns Err.
func (e *DialError) Unwrap() error { return e.Err }

// MaxResponseBody is the greatest length of [Response.Body], in bytes.
const MaxResponseBody = 4 << 10

const (
	shownBody = 256 // bytes of a body that the text of a DialError shows
	shownName = 64  // bytes of a foreign name, such as a header's
	shownURL  = 200 // bytes of a Location
)

// bodyWait is how long to wait for the body of a refusal, which a server need not end, or
// even send.
const bodyWait = 500 * time.Millisecond

// Response is the answer of the server, or of a proxy, to a handshake. Its texts, for fmt,
// slog and JSON, show the status and the names of headers, and no values.
type Response struct {
	// Status is the HTTP status.
	Status int
	// Header is the header as it was received, so it may contain cookies, challenges and other
	// secrets. The caller may change it.
	Header http.Header
	// Body is the beginning of the body of a refusal: at most MaxResponseBody bytes, which
	// arrived within half a second (bodyWait). Repetitions of the URL's path or query, of
	// headers and of subprotocols that were sent are replaced by "…". Nil: there was none.
	Body []byte
}

func (r Response) String() string {
	names := slices.Sorted(maps.Keys(r.Header))
	return redact.Clean(fmt.Sprintf("status %d, headers %s, %d bytes of body", r.Status, strings.Join(names, " "), len(r.Body)), maxErrorText)
}

// Format writes String for every verb.
func (r Response) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue returns String.
func (r Response) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalJSON returns the status and the names of the headers.
func (r Response) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Status  int      `json:"status"`
		Headers []string `json:"headers"`
		Body    int      `json:"body_bytes"`
	}{r.Status, slices.Sorted(maps.Keys(r.Header)), len(r.Body)})
}

// readRefusal parses head and reads the body from rest. After bodyWait it calls hangUp, which
// must end rest, and keeps the part of the body that was read.
func readRefusal(head []byte, rest io.Reader, method string, known *secrets, hangUp func()) *Response {
	limit := time.AfterFunc(bodyWait, hangUp)
	defer limit.Stop()
	from := bufio.NewReader(io.MultiReader(strings.NewReader(string(head)), rest))
	resp, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		return nil
	}
	r := &Response{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode < 200 {
		return r
	}
	// One byte more than the limit shows whether the limit cuts a secret.
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxResponseBody+1))
	cut := err != nil || len(body) > MaxResponseBody
	body = body[:min(len(body), MaxResponseBody)]
	if clean := known.set.Redact(string(body), cut); clean != "" {
		r.Body = []byte(clean)[:min(len(clean), MaxResponseBody)]
	}
	return r
}

// location returns the target of r in a form that may be shown: without user, query, fragment,
// known secrets, and path segments that also occur in the URL of the request.
func (r *Response) location(known *secrets) string {
	to := r.Header.Get("Location")
	if to == "" {
		return ""
	}
	u, err := url.Parse(to)
	if err != nil {
		return "an address that does not parse"
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", "", false
	if u.Opaque != "" { // as in https:host/path, which browsers and proxies read differently
		u.Opaque = redact.Dots
	}
	text := known.tokens.Redact(u.String(), false) // before anything else: a secret may be longer than a segment
	host := 0                                      // where the path begins
	if _, rest, ok := strings.Cut(text, "//"); ok && u.Host != "" {
		host = len(text) - len(rest)
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			host += i
		} else {
			host = len(text)
		}
	}
	path := strings.Split(text[host:], "/")
	for i, part := range path {
		if known.segment(part) {
			path[i] = redact.Dots
		}
	}
	return redact.Clean(text[:host]+known.set.Redact(strings.Join(path, "/"), false), shownURL)
}

// says returns the beginning of the body in a form that may be shown.
func (r *Response) says() string {
	if len(r.Body) == 0 {
		return ""
	}
	text := strings.Join(strings.Fields(redact.Clean(redact.Hide(string(r.Body)), MaxResponseBody)), " ")
	return redact.Clean(text, shownBody)
}

// maxErrorText is how many bytes of an error of other code the text of a DialError shows.
const maxErrorText = 512

// secrets are the parts of one dial's requests that must not appear in a text, although a
// server or a proxy may repeat them.
type secrets struct {
	set    redact.Set
	tokens redact.Set // set without paths, whose words may be part of a host's name
	paths  []string   // the segments of paths
}

// segment reports whether part is a segment of a path of the requests, escaped or not.
func (s *secrets) segment(part string) bool {
	plain, err := url.PathUnescape(part)
	return part != "" && (slices.Contains(s.paths, part) || err == nil && slices.Contains(s.paths, plain))
}

func (s *secrets) add(words ...string) {
	s.set.Add(words...)
	s.tokens.Add(words...)
}

// openHeaders are headers whose values are no secrets.
var openHeaders = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Host": true, "Origin": true, "User-Agent": true,
}

// url adds a URL: its path and query, and the user of a proxy's URL.
func (s *secrets) url(u *url.URL) {
	if u == nil {
		return
	}
	s.add(u.RawQuery)
	for key, values := range u.Query() {
		if s.values(values); strings.Join(values, "") == "" {
			s.add(key)
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		s.add(u.User.String(), u.User.Username(), password)
	}
	s.set.Add(u.RequestURI(), u.Path, u.EscapedPath())
	for part := range strings.SplitSeq(u.Path+"/"+u.EscapedPath(), "/") {
		s.paths = append(s.paths, part)
		if len(part) >= 16 { // a shorter one is more often a word than a token
			s.add(part)
		}
	}
}

// values adds values that are secrets, unless they are words that are in every answer.
func (s *secrets) values(all []string) {
	for _, v := range all {
		if !strings.EqualFold(v, "websocket") && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			s.add(v)
		}
	}
}

// header adds the values of a header that is sent.
func (s *secrets) header(h http.Header) {
	for name, values := range h {
		name = http.CanonicalHeaderKey(name)
		if openHeaders[name] {
			continue
		}
		s.values(values)
		for _, v := range values {
			if _, token, ok := strings.Cut(v, " "); ok && strings.HasSuffix(name, "Authorization") {
				s.add(token)
				if plain, err := base64.StdEncoding.DecodeString(token); err == nil {
					_, password, _ := strings.Cut(string(plain), ":")
					s.add(string(plain), password)
				}
			}
			if name == "Cookie" {
				for pair := range strings.SplitSeq(v, ";") {
					_, value, _ := strings.Cut(pair, "=")
					s.add(strings.Trim(strings.TrimSpace(value), `"`))
				}
			}
		}
	}
}

// subprotocols adds the subprotocols offered: browsers send tokens in them, as
// "bearer.TOKEN".
func (s *secrets) subprotocols(all []string) {
	for _, p := range all {
		s.add(p)
		if i := strings.LastIndexByte(p, '.'); len(p)-i > 5 {
			s.add(p[i+1:])
		}
	}
}

// text returns the text of err that may be shown: clean, bounded, and without the secrets.
// The methods of err may be user code.
func (s *secrets) text(err error) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprintf("an error of type %T whose text panics", err)
		}
	}()
	text = err.Error()
	switch err.(type) {
	case *net.OpError, *net.DNSError: // their addresses are numbers that a query may contain too
	default:
		text = redact.Hide(s.set.Redact(text, false)) // such as the URL in an error of net/http
	}
	return redact.Clean(text, maxErrorText)
}

// Why a Retry-After field is ignored. The texts do not show its value, which the server
// chooses and which may repeat a secret.
var (
	errRetryForm      = errors.New("Retry-After ignored: it is neither seconds nor a date")
	errRetryNegative  = errors.New("Retry-After ignored: it is negative")
	errRetryTimestamp = errors.New("Retry-After ignored: it is a Unix time, not seconds to wait")
)

// firstTimestamp is the least number of seconds that is taken for a Unix time: some servers
// send the time at which to return. As a delay it is 31 years.
const firstTimestamp = 1_000_000_000

// retryAfter parses the Retry-After field of an answer, as defined by RFC 9110, section
// 10.2.3: a whole number of seconds, or a date in one of the three forms of section 5.6.7. A
// date that has passed is a delay of 0. set is false if there is no such field, or it was
// ignored for the reason bad.
func retryAfter(h http.Header, now time.Time, most time.Duration) (d time.Duration, set bool, bad error) {
	fields := h.Values("Retry-After")
	if len(fields) == 0 {
		return 0, false, nil
	}
	s := strings.Trim(fields[0], " \t")
	digits, negative := strings.CutPrefix(s, "-")
	if isNumber(digits) {
		n, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case negative:
			return 0, false, errRetryNegative
		case err != nil || n >= firstTimestamp:
			return 0, false, errRetryTimestamp
		}
		return min(time.Duration(n)*time.Second, most), true, nil
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), most), true, nil
	}
	return 0, false, errRetryForm
}

// isNumber reports whether s has digits and nothing else.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
