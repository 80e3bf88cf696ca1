package endpoint

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
)

// SRVLookup is what [SRV] needs of a [net.Resolver].
type SRVLookup interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// SRVConfig is a service whose SRV records (RFC 2782) are the endpoints. Domain is required.
type SRVConfig struct {
	// Service, Proto and Domain make up the name that is looked up: _service._proto.domain. If
	// Service and Proto are empty Domain is looked up as it is.
	Service, Proto, Domain string
	// Zone is that of all endpoints. Priority is added to the priorities of the records, for a
	// [Merge] of several services.
	Zone     string
	Priority int
	// Resolver looks up. Nil: [net.DefaultResolver].
	Resolver SRVLookup
	// Polling says how often, and when an answer is complete.
	Polling Polling
}

// SRV returns a [Resolver], which is also a [Refresher], that looks up SRV records. The error
// wraps [ErrConfig] and names every invalid field.
//
// Each record is an endpoint, in the order of RFC 2782: by Priority, within it at random by
// weight. Addr is "target:port", and Name the target: the target is one server, and the dialer
// looks up its addresses, see [DNSConfig]. The certificate that a server must show is the
// program's decision: RFC 6125 prefers the name of the service's domain, because without DNSSEC
// an attacker can choose the target.
//
// The weight of a record is that of its endpoint, so that a balancer which heeds weights shares
// the work among records of one priority as RFC 2782 says. There records with weight 0 together
// are chosen as often as one with weight 1 beside records with a greater weight, and here they
// share a weight of 1 too. If all have weight 0 they are equal. A target of "." alone says that
// the service is not available: the last endpoints are kept, with [ErrNotAvailable].
func SRV(cfg SRVConfig) (Resolver, error) {
	var e faultList
	e.require(strings.Trim(cfg.Domain, ".") != "", "Domain is required, got %q", cfg.Domain)
	e.require((cfg.Service == "") == (cfg.Proto == ""), "Service and Proto must both be set or both be empty, got %q and %q", cfg.Service, cfg.Proto)
	e.require(cfg.Priority >= math.MinInt32 && cfg.Priority <= math.MaxInt32-math.MaxUint16,
		"Priority must be between %d and %d, got %d", math.MinInt32, math.MaxInt32-math.MaxUint16, cfg.Priority)
	cfg.Polling.check(&e)
	if err := e.wrap(); err != nil {
		return nil, err
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	source := cfg.Domain
	if cfg.Service != "" {
		source = "_" + cfg.Service + "._" + cfg.Proto + "." + cfg.Domain
	}
	return newPoller("SRV "+source, cfg.Polling, func(ctx context.Context) answer {
		// LookupSRV returns records beside an error if others have invalid names.
		_, records, err := cfg.Resolver.LookupSRV(ctx, cfg.Service, cfg.Proto, cfg.Domain)
		return cfg.answer(records, err)
	}), nil
}

// answer makes endpoints of the records.
func (cfg *SRVConfig) answer(records []*net.SRV, err error) answer {
	most := cfg.Polling.MaxAnswers
	a := answer{capped: most > 0 && len(records) >= most, err: err}
	records = slices.Clone(records)
	offered := len(records)
	records = slices.DeleteFunc(records, func(r *net.SRV) bool { return r == nil || r.Target == "" || r.Target == "." })
	if len(records) == 0 {
		if offered > 0 {
			a.err = errors.Join(err, ErrNotAvailable)
		}
		return a
	}
	// A net.Resolver has sorted them, others may not have.
	slices.SortStableFunc(records, func(x, y *net.SRV) int { return cmp.Compare(x.Priority, y.Priority) })
	type group struct{ zeros, total int }
	groups := make(map[uint16]*group)
	for _, r := range records {
		g := groups[r.Priority]
		if g == nil {
			g = &group{}
			groups[r.Priority] = g
		}
		g.total += int(r.Weight)
		if r.Weight == 0 {
			g.zeros++
		}
	}
	listed := make(map[string]bool, len(records))
	for _, r := range records {
		host := strings.TrimSuffix(r.Target, ".")
		e := Endpoint{
			Addr:     net.JoinHostPort(host, strconv.Itoa(int(r.Port))),
			Name:     host,
			Zone:     cfg.Zone,
			Weight:   float64(r.Weight),
			Priority: cfg.Priority + int(r.Priority),
		}
		if g := groups[r.Priority]; r.Weight == 0 && g.total > 0 {
			e.Weight = 1 / float64(g.zeros)
		}
		// A server may be listed with several priorities; the best one counts.
		if !listed[e.Addr] {
			listed[e.Addr] = true
			a.endpoints = append(a.endpoints, e)
		}
	}
	return a
}
