package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// familyDelay is how long the answer for one address family is awaited after the other has
// come, and brought addresses.
const familyDelay = 250 * time.Millisecond

// IPLookup is what [DNS] needs of a [net.Resolver].
type IPLookup interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DNSConfig is a name whose addresses are the endpoints. Addr is required.
//
// Each address is an endpoint of its own, with Addr "address:port" and Name the name. The dialer
// must connect to Addr, and use Name for TLS and for the Host header, since the certificate of
// the server has the name. With package wspool the function that makes the Config of an endpoint
// does that with URL and Lookup:
//
//	func(e endpoint.Endpoint) (wspool.Config, error) {
//		at, err := netip.ParseAddrPort(e.Addr)
//		return wspool.Config{
//			URL: "wss://" + net.JoinHostPort(e.Name, "443") + "/v1",
//			Lookup: func(context.Context, string) ([]netip.Addr, error) {
//				return []netip.Addr{at.Addr()}, nil
//			},
//		}, err
//	}
//
// # One name, one server
//
// A name is looked up here if its addresses are different servers, which have pools, load and
// failures of their own. If all addresses lead to the same server (one IPv4 and one IPv6 address,
// or several routes) let a [Static] or [SRV] endpoint have the name as its Addr: then each dial of
// wspool looks it up and races its addresses, as RFC 8305 says ("happy eyeballs"). With DNS a
// dial has one address, so there is no race in it; the caller that acquires from several endpoints
// tries the next one instead, after the same 250 ms or as soon as the dial has failed. A
// server that has both an IPv4 and an IPv6 address is two endpoints here, unless Network
// says "ip4" or "ip6".
type DNSConfig struct {
	// Addr is "name:port", with a port number. A name that ends with a dot is not completed with
	// the search domains of the system. If the name is an IP address it is the only endpoint.
	Addr string
	// Network is "ip4" or "ip6" for one family of addresses, "ip" or empty for both.
	Network string
	// Zone, Weight and Priority are those of all endpoints.
	Zone     string
	Weight   float64
	Priority int
	// Resolver looks up. Nil: [net.DefaultResolver].
	Resolver IPLookup
	// Polling says how often, and when an answer is complete.
	Polling Polling
}

// DNS returns a [Resolver], which is also a [Refresher], that looks up A and AAAA records. The
// error wraps [ErrConfig] and names every invalid field.
//
// The two families are looked up at the same time, and listed alternately, IPv6 first (RFC 8305,
// section 4). If one fails, or takes 250 ms longer than the other, the other's addresses are used
// and the answer is not complete, so that a lost reply never removes a family; that a name has no
// addresses of a family is an answer. An address to which this machine has no route is left out
// as long as there is another: otherwise half of the endpoints of a name with IPv6 addresses
// would be out of reach where there is no IPv6.
func DNS(cfg DNSConfig) (Resolver, error) { return newDNS(cfg, routed) }

// newDNS is DNS with a function that reports whether there is a route to an address.
func newDNS(cfg DNSConfig, routed func(netip.Addr) bool) (Resolver, error) {
	var e faultList
	host := e.hostPort("Addr", cfg.Addr)
	e.require(slices.Contains([]string{"", "ip", "ip4", "ip6"}, cfg.Network), "Network must be empty, ip, ip4 or ip6, got %q", cfg.Network)
	e.attributes(cfg.Weight)
	cfg.Polling.check(&e)
	if err := e.wrap(); err != nil {
		return nil, err
	}
	d := &dnsSource{cfg: cfg, host: host, routed: routed}
	_, d.port, _ = net.SplitHostPort(cfg.Addr)
	if d.cfg.Resolver == nil {
		d.cfg.Resolver = net.DefaultResolver
	}
	return newPoller("DNS "+cfg.Addr, cfg.Polling, d.lookup), nil
}

// hostPort requires "host:port", and returns the host.
func (e *faultList) hostPort(field, addr string) (host string) {
	host, port, err := net.SplitHostPort(addr)
	n, bad := strconv.ParseUint(port, 10, 16)
	e.require(err == nil && bad == nil && n > 0 && strings.Trim(host, ".") != "", "%s must be name:port with a port number, got %q", field, addr)
	return host
}

// attributes requires a weight that an endpoint may have.
func (e *faultList) attributes(weight float64) {
	err := Validate([]Endpoint{{Addr: "any", Weight: weight}})
	e.require(err == nil, "Weight must be a number of at least 0, got %v", weight)
}

// dnsSource looks up the addresses of one name.
type dnsSource struct {
	cfg        DNSConfig
	host, port string
	routed     func(netip.Addr) bool
}

// family is the answer for the addresses of one family.
type family struct {
	network string
	ips     []netip.Addr
	err     error // notFound if the name has no address of the family
}

// errLate is the error of a family that was not awaited.
var errLate = fmt.Errorf("the answer for the other address family came %v earlier", familyDelay)

// lookup is one lookup of both families.
func (d *dnsSource) lookup(ctx context.Context) answer {
	if ip, err := netip.ParseAddr(d.host); err == nil {
		return answer{endpoints: d.endpoints([]netip.Addr{ip})}
	}
	if d.cfg.Network == "ip4" || d.cfg.Network == "ip6" {
		return d.combine(d.ask(ctx, d.cfg.Network))
	}
	return d.combine(d.ask(ctx, "ip6", "ip4"))
}

// ask looks up each network on a goroutine of its own. All have ended when it returns: a
// lookup that ignores its context thus makes ask hang, and the poller, which bounds how many
// lookups hang, notices.
func (d *dnsSource) ask(ctx context.Context, networks ...string) []family {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	families := make([]family, len(networks))
	done := make(chan int, len(networks))
	for i, network := range networks {
		go func() {
			f := &families[i]
			f.network = network
			var a answer
			defer func() {
				if a.err != nil { // a panic or Goexit
					f.err = a.err
				}
				done <- i
			}()
			guarded(&a, func() answer {
				f.ips, f.err = d.cfg.Resolver.LookupNetIP(ctx, network, d.host)
				return answer{}
			})
		}()
	}
	timer := time.NewTimer(maxInterval)
	defer timer.Stop()
	for n := 0; n < len(networks); {
		select {
		case i := <-done:
			if n++; len(families[i].ips) > 0 {
				timer.Reset(familyDelay)
			}
		case <-timer.C:
			cancel(errLate)
		}
	}
	if errors.Is(context.Cause(ctx), errLate) {
		for i := range families {
			if f := &families[i]; len(f.ips) == 0 && !notFound(f.err) {
				f.err = errLate
			}
		}
	}
	return families
}

// combine makes one answer of those for the families, the preferred one first.
func (d *dnsSource) combine(families []family) answer {
	var a answer
	var none error // the name has no addresses of a family
	var lists [][]netip.Addr
	for _, f := range families {
		ips := f.unique()
		lists = append(lists, ips)
		most := d.cfg.Polling.MaxAnswers
		a.capped = a.capped || most > 0 && len(ips) >= most
		switch {
		case notFound(f.err) || f.err == nil && len(ips) == 0:
			none = cmp.Or(f.err, none)
		case f.err != nil:
			a.err = errors.Join(a.err, fmt.Errorf("%s: %w", f.network, f.err))
		}
	}
	a.endpoints = d.endpoints(d.reachable(alternate(lists)))
	if len(a.endpoints) == 0 && a.err == nil {
		a.err = none // nil makes the poller say ErrEmpty
	}
	return a
}

// notFound reports whether err is an answer: the name, or the record, does not exist.
func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// unique returns the addresses of the family without duplicates. A resolver may return IPv4
// addresses in their IPv6 form.
func (f *family) unique() []netip.Addr {
	var all []netip.Addr
	for _, ip := range f.ips {
		if ip = ip.Unmap(); ip.IsValid() && ip.Is4() == (f.network == "ip4") && !slices.Contains(all, ip) {
			all = append(all, ip)
		}
	}
	return all
}

// alternate returns the first of each list, then the second of each, and so on.
func alternate(lists [][]netip.Addr) []netip.Addr {
	var all []netip.Addr
	for i, more := 0, true; more; i++ {
		more = false
		for _, list := range lists {
			if i < len(list) {
				all, more = append(all, list[i]), true
			}
		}
	}
	return all
}

// reachable returns ips without those to which there is no route, or ips if there is none to
// any.
func (d *dnsSource) reachable(ips []netip.Addr) []netip.Addr {
	if !slices.ContainsFunc(ips, netip.Addr.Is6) || !slices.ContainsFunc(ips, netip.Addr.Is4) {
		return ips // one family: there is nothing to choose
	}
	var all []netip.Addr
	for _, ip := range ips {
		if d.routed(ip) {
			all = append(all, ip)
		}
	}
	if len(all) == 0 {
		return ips
	}
	return all
}

// routed reports whether this machine has a route to ip. To connect a UDP socket sends
// nothing: the system chooses a source address, and fails if there is no route.
func routed(ip netip.Addr) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 9)))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// endpoints returns an endpoint for each address.
func (d *dnsSource) endpoints(ips []netip.Addr) []Endpoint {
	all := make([]Endpoint, len(ips))
	for i, ip := range ips {
		all[i] = Endpoint{
			Addr:     net.JoinHostPort(ip.String(), d.port),
			Name:     strings.TrimSuffix(d.host, "."),
			Zone:     d.cfg.Zone,
			Weight:   d.cfg.Weight,
			Priority: d.cfg.Priority,
		}
	}
	return all
}
