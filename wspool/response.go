package wspool

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/respool/respool/internal/redact"
)

// MaxResponseBody is how many bytes of the body a [Response] has at most.
const MaxResponseBody = 4 << 10

const (
	shownBody = 256 // bytes of a body that the text of a DialError shows
	shownName = 64  // bytes of a foreign name, such as a header's
	shownURL  = 200 // bytes of a Location
)

// bodyWait is how long the body of a refusal is waited for, which a server need
// not end, or even send.
const bodyWait = 500 * time.Millisecond

// Response is what the server, or a proxy, answered to a handshake. Its texts,
// for fmt, slog and JSON, show the status and names of headers, and no values.
type Response struct {
	// Status is the HTTP status.
	Status int
	// Header is as it was sent, so that it may hold cookies, challenges and
	// other secrets. The caller may change it.
	Header http.Header
	// Body is the beginning of the body of a refusal: at most MaxResponseBody
	// bytes, which arrived within half a second. Repetitions of the URL's path
	// or query, of headers and of subprotocols that were sent are replaced by
	// "…". Nil: there was none.
	Body []byte
}

func (r Response) String() string {
	names := slices.Sorted(maps.Keys(r.Header))
	return redact.Clean(fmt.Sprintf("status %d, headers %s, %d bytes of body", r.Status, strings.Join(names, " "), len(r.Body)), maxErrorText)
}

// Format writes String for every verb.
func (r Response) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue is String.
func (r Response) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalJSON has the status, and the names of the headers.
func (r Response) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Status  int      `json:"status"`
		Headers []string `json:"headers"`
		Body    int      `json:"body_bytes"`
	}{r.Status, slices.Sorted(maps.Keys(r.Header)), len(r.Body)})
}

// readRefusal parses head and reads the body from rest. After bodyWait it calls
// hangUp, which must end rest, and keeps the part of the body read so far.
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

// location is where r leads, to be shown: without user, query and fragment, and
// what is known to be a secret.
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
	return redact.Clean(known.tokens.Redact(u.String(), false), shownURL)
}

// says is the beginning of the body, to be shown.
func (r *Response) says() string {
	if len(r.Body) == 0 {
		return ""
	}
	text := strings.Join(strings.Fields(redact.Clean(redact.Hide(string(r.Body)), MaxResponseBody)), " ")
	return redact.Clean(text, shownBody)
}
