package wspool

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/respool/respool/internal/redact"
)

// header is what gorilla is to send: what Prepare asked for, and the jar's
// cookies for the URL. Whatever was sent is a secret from now on.
func (d *dialing) header() http.Header {
	out, cookies := http.Header{}, []string(nil)
	for name, values := range d.shake.Header {
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
	d.secrets.subprotocols(d.shake.Subprotocols)
	return out
}

// remember gives the jar the cookies of an answer.
func (d *dialing) remember(resp *http.Response) {
	if d.cfg.Jar == nil {
		return
	}
	if all := resp.Cookies(); len(all) > 0 {
		d.cfg.Jar.SetCookies(d.httpURL(), all)
	}
}

// httpURL is d's URL with the scheme that net/http has for it.
func (d *dialing) httpURL() *url.URL {
	u := *d.url
	u.Scheme = "http"
	if d.secure() {
		u.Scheme = "https"
	}
	return &u
}

// ownHeaders are those that the protocol or net/http sets, or that have no place in
// a handshake.
var ownHeaders = map[string]string{
	"Connection": "which the protocol sets", "Upgrade": "which the protocol sets",
	"Sec-Websocket-Extensions": "which the protocol sets", "Sec-Websocket-Key": "which the protocol sets",
	"Sec-Websocket-Protocol": "which the protocol sets", "Sec-Websocket-Version": "which the protocol sets",
	"Content-Length": "which is never sent", "Transfer-Encoding": "which is never sent", "Trailer": "which is never sent",
}

// header is about what to send: nothing that the protocol itself does, and nothing
// that net/http would leave out or change without a word. It names headers, and
// shows nothing of values.
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

// hasControl reports whether s has a character that no value of a header may have
// (RFC 9110, section 5.5).
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// isHost reports whether s is a host, with a port or without (RFC 9110, section 7.2).
func isHost(s string) bool {
	u, err := url.Parse(fmt.Sprintf("http://%s/", s))
	return err == nil && s != "" && u.Host == s && u.Hostname() != "" && u.User == nil && u.Path == "/" && !strings.ContainsAny(s, " \t")
}
