package wspool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// reach connects, and upgrades the connection, at d.url or where redirects lead.
// through is the proxy for d.url; nil: none.
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
		if through, err = d.proxy(ctx); err != nil {
			return err
		}
	}
}

// redirected reports whether d was refused with a redirect that may be followed.
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

// redirect makes where the redirect leads d's URL, or says why it is not followed.
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
		d.leaveHome()
	}
	d.url, d.shake.URL = to, to.String()
	d.secrets.url(to)
	return ""
}

// samePort reports whether to is the server that from is, on the same host: the
// same port, or TLS in its usual place instead of none in its usual place.
func samePort(from, to *url.URL) bool {
	return strings.EqualFold(hostPort(from), hostPort(to)) ||
		strings.HasSuffix(hostPort(from), ":80") && from.Scheme == "ws" && strings.HasSuffix(hostPort(to), ":443")
}

// homeless are the headers that another server may be sent too.
var homeless = []string{"Accept-Language", "Origin", "User-Agent"}

// leaveHome takes what identifies the user off the handshake, for good, also if a
// later redirect leads back.
func (d *dialing) leaveHome() {
	d.foreign = true
	kept := http.Header{}
	for name, values := range d.shake.Header {
		for _, ok := range homeless {
			if http.CanonicalHeaderKey(name) == ok {
				kept[name] = values
			}
		}
	}
	d.shake.Header = kept
}
