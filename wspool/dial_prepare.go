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
	// in it is sent in place of the URL's.
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
	}
	if d.cfg.Prepare == nil {
		return nil
	}
	if err := d.cfg.Prepare(ctx, &d.shake); err != nil {
		return err
	}
	if bad := slices.Concat(checkURL(d.shake.URL), checkSubprotocols(d.shake.Subprotocols), checkHeader(d.shake.Header)); bad != nil {
		return fmt.Errorf("bad Handshake: %w", errors.Join(bad...))
	}
	d.url, _ = url.Parse(d.shake.URL)
	return ctx.Err() // Prepare need not have looked
}

// checkURL says what is wrong with where to connect. It shows nothing of the URL:
// what does not parse may hold a password anywhere.
func checkURL(s string) (bad []error) {
	if s == "" {
		return []error{errors.New("URL is empty")}
	}
	u, err := url.Parse(s)
	if err != nil {
		return []error{errors.New("URL does not parse")}
	}
	if u.Scheme != "ws" && u.Scheme != "wss" {
		bad = append(bad, errors.New("URL is not of scheme ws or wss"))
	}
	if u.Hostname() == "" {
		bad = append(bad, errors.New("URL has no host"))
	}
	if u.User != nil {
		bad = append(bad, errors.New("URL has a user name or password"))
	}
	if u.Fragment != "" {
		bad = append(bad, errors.New("URL has a fragment"))
	}
	return bad
}

// checkSubprotocols says what is wrong with what to offer. It shows none: one
// may be a token.
func checkSubprotocols(all []string) (bad []error) {
	if slices.Contains(all, "") {
		bad = append(bad, errors.New("Subprotocols has an empty one"))
	}
	if slices.ContainsFunc(all, func(s string) bool { return strings.ContainsFunc(s, notOfToken) }) {
		bad = append(bad, errors.New("Subprotocols has one with a character that none may have"))
	}
	return bad
}

// notOfToken reports whether RFC 6455, section 4.1, keeps r out of the name of a
// subprotocol.
func notOfToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}

// checkHeader names the headers of the protocol itself in h.
func checkHeader(h http.Header) (bad []error) {
	for _, of := range []string{
		"Connection", "Sec-Websocket-Extensions", "Sec-Websocket-Key",
		"Sec-Websocket-Protocol", "Sec-Websocket-Version", "Upgrade",
	} {
		for name := range h {
			if http.CanonicalHeaderKey(name) == of {
				bad = append(bad, fmt.Errorf("Header has %s, which the protocol sets", of))
				break
			}
		}
	}
	return bad
}
