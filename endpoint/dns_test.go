package endpoint

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeIPs is an IPLookup. Its fields are answers for the families.
type fakeIPs struct {
	mu       sync.Mutex
	ip4, ip6 func(ctx context.Context) ([]netip.Addr, error)
	asked    []string
}

func (f *fakeIPs) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	f.asked = append(f.asked, network+" "+host)
	answer := f.ip4
	if network == "ip6" {
		answer = f.ip6
	}
	f.mu.Unlock()
	return answer(ctx)
}

// set sets both answers.
func (f *fakeIPs) set(ip4, ip6 func(ctx context.Context) ([]netip.Addr, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ip4, f.ip6 = ip4, ip6
}

type ipAnswer = func(context.Context) ([]netip.Addr, error)

// ips answers with the addresses after a while.
func ips(after time.Duration, all ...string) ipAnswer {
	return func(ctx context.Context) (found []netip.Addr, err error) {
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return nil, &net.DNSError{Err: "operation was canceled", Name: "ws.test"}
		}
		for _, ip := range all {
			found = append(found, netip.MustParseAddr(ip))
		}
		return found, nil
	}
}

// fails answers with an error.
func fails(err error) ipAnswer {
	return func(context.Context) ([]netip.Addr, error) { return nil, err }
}

var (
	noSuchHost = &net.DNSError{Err: "no such host", Name: "ws.test", IsNotFound: true}
	servFail   = &net.DNSError{Err: "server misbehaving", Name: "ws.test", IsTemporary: true}
)

// everywhere is a route to every address.
func everywhere(netip.Addr) bool { return true }

func mustDNS(t *testing.T, cfg DNSConfig, routed func(netip.Addr) bool) Resolver {
	t.Helper()
	r, err := newDNS(cfg, routed)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDNSFamilies checks what the answers for the two families make together.
func TestDNSFamilies(t *testing.T) {
	for _, test := range []struct {
		name     string
		ip4, ip6 ipAnswer
		want     string // after "[::1]:1 10.0.0.1:1" were known
	}{
		{"both", ips(0, "10.0.0.1", "10.0.0.2", "10.0.0.3"), ips(0, "2001:db8::1"),
			"10s complete [2001:db8::1]:1 10.0.0.1:1 10.0.0.2:1 10.0.0.3:1"},
		{"alternately", ips(0, "10.0.0.1", "10.0.0.2"), ips(0, "2001:db8::1", "2001:db8::2", "2001:db8::3"),
			"10s complete [2001:db8::1]:1 10.0.0.1:1 [2001:db8::2]:1 10.0.0.2:1 [2001:db8::3]:1"},
		{"duplicates", ips(0, "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"), ips(0, "::1", "::1"),
			"10s complete [::1]:1 10.0.0.1:1"},
		{"no IPv6 any more", ips(0, "10.0.0.1"), fails(noSuchHost), "10s complete 10.0.0.1:1"},
		{"no IPv6 any more, by an empty answer", ips(0, "10.0.0.1"), ips(0), "10s complete 10.0.0.1:1"},
		{"a family fails", ips(0, "10.0.0.2"), fails(servFail),
			"10s 10.0.0.2:1 [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: ip6: lookup ws.test: server misbehaving"},
		{"a family panics", func(context.Context) ([]netip.Addr, error) { panic("oh") }, ips(0, "::2"),
			"10s [::2]:1 [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: ip4: resource: panic in Lookup: oh"},
		{"a family ends its goroutine", func(context.Context) ([]netip.Addr, error) { runtime.Goexit(); return nil, nil }, ips(0, "::2"),
			"10s [::2]:1 [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: ip4: resource: function ended"},
		{"a family is a little later", ips(100*time.Millisecond, "10.0.0.2"), ips(300*time.Millisecond, "::2"),
			"10.3s complete [::2]:1 10.0.0.2:1"},
		{"a family is late", ips(100*time.Millisecond, "10.0.0.2"), ips(time.Minute, "::2"),
			"10.35s 10.0.0.2:1 [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: ip6: the answer for the other address family came 250ms earlier"},
		{"an empty family does not hurry the other", ips(0), ips(2*time.Second, "::2"), "12s complete [::2]:1"},
		{"both fail", fails(servFail), fails(servFail), "10s [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: ip6: lookup ws.test: server misbehaving"},
		{"one fails, the other has none", fails(noSuchHost), fails(servFail), "10s [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: ip6: lookup ws.test: server misbehaving"},
		{"no such host", fails(noSuchHost), fails(noSuchHost), "10s [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: lookup ws.test: no such host"},
		{"both empty", ips(0), ips(0), "10s [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: the answer has no endpoints"},
		{"no answer", ips(time.Minute, "10.0.0.1"), ips(time.Minute, "::1"), "13s [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: ip6: lookup ws.test: operation was canceled"},
		// Each family has its own limit.
		{"capped", ips(0, "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"), ips(0, "::2"),
			"10s [::2]:1 10.0.0.2:1 10.0.0.3:1 10.0.0.4:1 10.0.0.5:1 [::1]:1 10.0.0.1:1"},
		{"not capped", ips(0, "10.0.0.2", "10.0.0.3", "10.0.0.4"), ips(0, "::2", "::3", "::4"),
			"10s complete [::2]:1 10.0.0.2:1 [::3]:1 10.0.0.3:1 [::4]:1 10.0.0.4:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeIPs{ip4: ips(0, "10.0.0.1"), ip6: ips(0, "::1")}
				p := steadyPolling
				p.MaxAnswers = 4
				w := watchResolver(t, mustDNS(t, DNSConfig{Addr: "ws.test:1", Resolver: fake, Polling: p}, everywhere))
				time.Sleep(5 * time.Second)
				w.want(t, "0s complete [::1]:1 10.0.0.1:1")
				fake.set(test.ip4, test.ip6)
				time.Sleep(8*time.Second - time.Millisecond)
				fake.set(ips(0, "10.0.0.1"), ips(0, "::1"))
				time.Sleep(time.Millisecond)
				synctest.Wait()
				w.mu.Lock()
				w.got = w.got[:min(1, len(w.got))]
				w.mu.Unlock()
				w.want(t, test.want)
			})
		})
	}
}

// TestDNSRoutes checks that addresses out of reach are left out, unless all are.
func TestDNSRoutes(t *testing.T) {
	cfg := DNSConfig{Addr: "ws.test:1", Resolver: &fakeIPs{ip4: ips(0, "10.0.0.1"), ip6: ips(0, "2001:db8::1", "2001:db8::2")}, Polling: steadyPolling}
	for _, test := range []struct {
		name   string
		routed func(netip.Addr) bool
		want   string
	}{
		{"to all", everywhere, "0s complete [2001:db8::1]:1 10.0.0.1:1 [2001:db8::2]:1"},
		{"to IPv4", netip.Addr.Is4, "0s complete 10.0.0.1:1"},
		{"to IPv6", netip.Addr.Is6, "0s complete [2001:db8::1]:1 [2001:db8::2]:1"},
		{"to none", func(netip.Addr) bool { return false }, "0s complete [2001:db8::1]:1 10.0.0.1:1 [2001:db8::2]:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { watchResolver(t, mustDNS(t, cfg, test.routed)).want(t, test.want) })
		})
	}
	if !routed(netip.MustParseAddr("127.0.0.1")) {
		t.Error("there is no route to 127.0.0.1")
	}
}

// TestDNSEndpoint checks the attributes of an endpoint, and names that are looked up otherwise.
func TestDNSEndpoint(t *testing.T) {
	for _, test := range []struct {
		cfg   DNSConfig
		want  []Endpoint
		asked string
	}{
		{DNSConfig{Addr: "ws.test.:443", Zone: "z", Weight: 2, Priority: 3},
			[]Endpoint{
				{Addr: "[::1]:443", Name: "ws.test", Zone: "z", Weight: 2, Priority: 3},
				{Addr: "10.0.0.1:443", Name: "ws.test", Zone: "z", Weight: 2, Priority: 3},
			}, "ip4 ws.test., ip6 ws.test."},
		{DNSConfig{Addr: "ws.test:443", Network: "ip4"}, []Endpoint{{Addr: "10.0.0.1:443", Name: "ws.test"}}, "ip4 ws.test"},
		{DNSConfig{Addr: "ws.test:0443", Network: "ip6"}, []Endpoint{{Addr: "[::1]:443", Name: "ws.test"}}, "ip6 ws.test"},
		{DNSConfig{Addr: "[2001:db8::1]:443"}, []Endpoint{{Addr: "[2001:db8::1]:443", Name: "2001:db8::1"}}, ""},
		{DNSConfig{Addr: "192.0.2.1:443"}, []Endpoint{{Addr: "192.0.2.1:443", Name: "192.0.2.1"}}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := &fakeIPs{ip4: ips(0, "10.0.0.1"), ip6: ips(0, "::1")}
			test.cfg.Resolver = fake
			w := watchResolver(t, mustDNS(t, test.cfg, everywhere))
			if got := w.endpoints(); !slices.Equal(got, test.want) {
				t.Errorf("%s: got %+v, want %+v", test.cfg.Addr, got, test.want)
			}
			slices.Sort(fake.asked)
			if got := strings.Join(fake.asked, ", "); got != test.asked {
				t.Errorf("%s: asked for %q, want %q", test.cfg.Addr, got, test.asked)
			}
		})
	}
}

// TestDNSHung checks a lookup of one family that ignores its context: it is reported, and no
// more than two are begun.
func TestDNSHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		fake := &fakeIPs{ip4: ips(0, "10.0.0.1"), ip6: ips(0, "::1")}
		w := watchResolver(t, mustDNS(t, DNSConfig{Addr: "ws.test:1", Resolver: fake, Polling: steadyPolling}, everywhere))
		time.Sleep(time.Second)
		fake.set(ips(0, "10.0.0.1"), func(context.Context) ([]netip.Addr, error) { <-free; return nil, noSuchHost })
		time.Sleep(time.Hour)
		w.want(t, "0s complete [::1]:1 10.0.0.1:1",
			"13.1s [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: the lookup does not return",
			"17.2s [::1]:1 10.0.0.1:1: endpoint: DNS ws.test:1: the lookup does not return")
		if n := len(fake.asked); n != 6 {
			t.Errorf("%d questions, want 6", n)
		}
		close(free)
		time.Sleep(10 * time.Second)
		if u := w.lastUpdate(); !u.Complete || u.Err != nil || len(u.Endpoints) != 1 {
			t.Errorf("after the lookups have returned the update is %+v", u)
		}
	})
}

// TestDNSCheck checks that one error names every bad field.
func TestDNSCheck(t *testing.T) {
	_, err := DNS(DNSConfig{Addr: "ws.test", Network: "tcp", Weight: math.NaN(), Polling: Polling{Timeout: -1}})
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("got %v, want ErrConfig", err)
	}
	for _, field := range []string{"Addr", "Network", "Weight", "Polling.Timeout"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	for _, addr := range []string{"", ":443", ".:443", "ws.test:", "ws.test:https", "ws.test:0", "ws.test:65536", "::1:443"} {
		if _, err := DNS(DNSConfig{Addr: addr}); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v, want ErrConfig", addr, err)
		}
	}
	if _, err := DNS(DNSConfig{Addr: "ws.test:443"}); err != nil {
		t.Error(err)
	}
}
