package wspool

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/internal/growth"
)

// silentFor is how long an address that stayed silent while another of its name
// answered is tried last.
const silentFor = time.Minute

// maxSilent is how many addresses are remembered.
const maxSilent = 256

// addressBook remembers which addresses of a name stayed silent, so that the next
// dial begins with another (RFC 8305, section 4). Its zero value is empty.
type addressBook struct {
	mu     sync.Mutex
	silent map[netip.Addr]int64 // until when, on the hub's clock
	hosts  map[string]int64     // that have such an address; likewise
}

// suspected reports whether host has an address that stayed silent.
func (b *addressBook) suspected(host string, now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hosts[host] > now
}

// order returns ips with those that stayed silent last, the first of them first.
func (b *addressBook) order(ips []netip.Addr, now int64) []netip.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	until := func(ip netip.Addr) int64 {
		if t := b.silent[ip]; t > now {
			return t
		}
		return 0
	}
	slices.SortStableFunc(ips, func(x, y netip.Addr) int { return int(min(1, max(-1, until(x)-until(y)))) })
	return ips
}

// note learns from a race how its attempts fare, while it runs or at its end: an
// attempt that has had connectDelay, or has failed, without an answer says that
// its address is silent. r is locked, or nothing of it runs.
func (b *addressBook) note(r *race) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := r.hub.clock.Now()
	if b.silent == nil {
		b.silent, b.hosts = map[netip.Addr]int64{}, map[string]int64{}
	}
	if len(b.silent) >= maxSilent || len(b.hosts) >= maxSilent {
		clear(b.silent)
		clear(b.hosts)
	}
	for _, d := range r.all {
		at, ok := d.address()
		switch {
		case !ok || d.ended && d.answer != nil:
		case d == r.winner:
			delete(b.silent, at)
		case r.winner != nil && sameAddress(r.winner, at):
		case now-d.began >= int64(connectDelay) || d.ended && d.err != nil && context.Cause(d.ctx) == nil:
			b.silent[at] = now + int64(silentFor)
			b.hosts[r.first.url.Hostname()] = now + int64(silentFor)
		}
	}
}

// address is the address that d was given, or else the one to which NetDial led,
// if that is known.
func (d *dialing) address() (netip.Addr, bool) {
	if d.at.IsValid() && !d.moved.Load() {
		return d.at, true
	}
	if remote := d.remote.Load(); remote != nil {
		return remote.Addr(), true
	}
	return netip.Addr{}, false
}

func sameAddress(d *dialing, at netip.Addr) bool {
	other, ok := d.address()
	return ok && other == at
}

// lookedUp is where to connect for u, for which no race chooses an address: its
// host by name, or the first address that Config.Lookup knows.
func (h *hub) lookedUp(ctx context.Context, u *url.URL) (string, error) {
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || h.cfg.Lookup == nil {
		return hostPort(u), nil
	}
	ips, err := h.cfg.Lookup(ctx, u.Hostname())
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "no such host", Name: u.Hostname(), IsNotFound: true}
	}
	if err != nil {
		return "", &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	ip := h.addresses.order(interleaved(ips), h.clock.Now())[0]
	return net.JoinHostPort(ip.String(), portOf(u)), nil
}

// remoteOf returns the address of the other side of c, if it has one of TCP.
func remoteOf(c net.Conn) (at netip.AddrPort, ok bool) {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return at, false
	}
	at = tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), true
}

// lookup is what Config.Lookup is if it is nil.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// interleaved returns ips with the two families taking turns, that of the first
// one first (RFC 8305, section 4).
func interleaved(ips []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		i := 0
		if len(families[0]) > 0 && families[0][0].Is4() != ip.Is4() {
			i = 1
		}
		if !slices.Contains(families[i], ip) {
			families[i] = append(families[i], ip)
		}
	}
	all := make([]netip.Addr, 0, len(ips))
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				all = append(all, f[i])
			}
		}
	}
	return all
}

// portOf is the port that u leads to.
func portOf(u *url.URL) string {
	_, port, _ := net.SplitHostPort(hostPort(u))
	return port
}

// handshakes is how long the attempts of a pool's dials that succeeded took, up to
// the 101.
type handshakes struct {
	mu    sync.Mutex
	gauge growth.Gauge
	up    int64 // when the last one that succeeded began
}

// succeeded tells of one.
func (h *handshakes) succeeded(began, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gauge.Made(time.Duration(now - began))
	h.up = max(h.up, began)
}

// patience is how long one may take before others begin beside it.
func (h *handshakes) patience() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gauge.Patience()
}

// upSince reports whether one has succeeded that began after then.
func (h *handshakes) upSince(then int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up > then
}
