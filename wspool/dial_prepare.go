package wspool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Handshake is what one dial asks for. [Config.Prepare] may change all of it.
type Handshake struct {
	// URL is where to connect, as in [Config.URL].
	URL string
	// Header is sent with the upgrade, besides the headers of the protocol,
	// which it must not name (use Subprotocols). It is empty at first. A "Host"
	// in it is sent in place of the URL's; the cookies in it are sent before
	// those of [Config.Jar]. A name or value that HTTP does not allow fails the
	// dial, with an error that names the header.
	Header http.Header
	// Subprotocols are those to offer, as in [Config.Subprotocols].
	Subprotocols []string
}

// prepare fills d's handshake and parses its URL.
func (d *dialing) prepare(ctx context.Context) error {
	d.phase = "prepare"
	d.shake = Handshake{URL: d.cfg.URL, Header: http.Header{}, Subprotocols: slices.Clone(d.cfg.Subprotocols)}
	if d.cfg.URL != "" {
		d.url, _ = url.Parse(d.cfg.URL) // New has seen it parse
		d.secrets.url(d.url)
	}
	if d.cfg.Prepare == nil {
		return nil
	}
	if err := d.cfg.Prepare(ctx, &d.shake); err != nil {
		d.secrets.header(d.shake.Header) // which its error may repeat
		return err
	}
	var bad complaints
	bad.url(d.shake.URL)
	bad.subprotocols(d.shake.Subprotocols)
	bad.header("Header", d.shake.Header)
	if bad != nil {
		return fmt.Errorf("bad Handshake: %w", errors.Join(bad...))
	}
	d.url, _ = url.Parse(d.shake.URL)
	d.secrets.url(d.url)
	return ctx.Err() // Prepare need not have looked
}

// complaints are about bad fields. None shows anything of a URL but its scheme,
// of a subprotocol or of a header: what does not parse may hold a password
// anywhere.
type complaints []error

// no complains unless ok.
func (bad *complaints) no(ok bool, format string, args ...any) {
	if !ok {
		*bad = append(*bad, fmt.Errorf(format, args...))
	}
}

// url is about where to connect.
func (bad *complaints) url(s string) {
	if s == "" {
		bad.no(false, "URL is empty")
		return
	}
	u, err := url.Parse(s)
	if err != nil {
		bad.no(false, "URL does not parse")
		return
	}
	bad.no(u.Scheme == "ws" || u.Scheme == "wss", "URL is not of scheme ws or wss")
	bad.no(u.Hostname() != "", "URL has no host")
	bad.no(u.User == nil, "URL has a user name or password")
	bad.no(u.Fragment == "", "URL has a fragment")
}

// subprotocols is about what to offer.
func (bad *complaints) subprotocols(all []string) {
	bad.no(!slices.Contains(all, ""), "Subprotocols has an empty one")
	bad.no(!slices.ContainsFunc(all, func(s string) bool { return strings.ContainsFunc(s, notOfToken) }),
		"Subprotocols has one with a character that none may have")
}

// notOfToken reports whether RFC 6455, section 4.1, keeps r out of the name of a
// subprotocol.
func notOfToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}
