package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/respool/respool/endpoint"
)

// show prints the first update of a resolver.
func show(r endpoint.Resolver) {
	ctx, stop := context.WithCancel(context.Background())
	_ = r.Watch(ctx, func(u endpoint.Update) {
		stop()
		for _, e := range u.Endpoints {
			fmt.Printf("%s name=%s zone=%s weight=%v priority=%d\n", e.Addr, e.Name, e.Zone, e.Weight, e.Priority)
		}
		fmt.Printf("complete=%v error=%v\n", u.Complete, u.Err)
	})
}

func ExampleStatic() {
	show(endpoint.Static(
		endpoint.Endpoint{Addr: "ws1.example.com:443", Zone: "east"},
		endpoint.Endpoint{Addr: "ws2.example.com:443", Zone: "west", Weight: 2},
	))
	// Output:
	// ws1.example.com:443 name= zone=east weight=0 priority=0
	// ws2.example.com:443 name= zone=west weight=2 priority=0
	// complete=true error=<nil>
}

// zoneFile answers from a table. A *net.Resolver has the same methods.
type zoneFile struct{}

func (zoneFile) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if network == "ip6" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
}

func (zoneFile) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", []*net.SRV{
		{Target: "big.example.com.", Port: 443, Priority: 1, Weight: 3},
		{Target: "small.example.com.", Port: 443, Priority: 1, Weight: 1},
		{Target: "backup.example.com.", Port: 8443, Priority: 2},
	}, nil
}

func ExampleDNS() {
	r, err := endpoint.DNS(endpoint.DNSConfig{
		Addr:     "api.example.com:443",
		Resolver: zoneFile{}, // leave it out to ask the system
	})
	if err != nil {
		panic(err)
	}
	show(r)
	// Output:
	// 192.0.2.1:443 name=api.example.com zone= weight=0 priority=0
	// 192.0.2.2:443 name=api.example.com zone= weight=0 priority=0
	// complete=true error=<nil>
}

func ExampleSRV() {
	r, err := endpoint.SRV(endpoint.SRVConfig{
		Service: "ws", Proto: "tcp", Domain: "example.com",
		Resolver: zoneFile{}, // leave it out to ask the system
	})
	if err != nil {
		panic(err)
	}
	show(r)
	// Output:
	// big.example.com:443 name=big.example.com zone= weight=3 priority=1
	// small.example.com:443 name=small.example.com zone= weight=1 priority=1
	// backup.example.com:8443 name=backup.example.com zone= weight=0 priority=2
	// complete=true error=<nil>
}

func ExampleFunc() {
	registry := func(context.Context) (string, error) { return "10.0.0.1:443 10.0.0.2:443", nil }
	r, err := endpoint.Func(endpoint.FuncConfig{
		Name: "registry",
		Lookup: func(ctx context.Context) (all []endpoint.Endpoint, err error) {
			list, err := registry(ctx)
			for addr := range strings.FieldsSeq(list) {
				all = append(all, endpoint.Endpoint{Addr: addr})
			}
			return all, err
		},
	})
	if err != nil {
		panic(err)
	}
	show(r)
	// Output:
	// 10.0.0.1:443 name= zone= weight=0 priority=0
	// 10.0.0.2:443 name= zone= weight=0 priority=0
	// complete=true error=<nil>
}

// A fallback with a larger Priority is used when all endpoints of the primary have failed. A
// source that fails keeps its last endpoints and does not disturb the others.
func ExampleMerge() {
	registry, err := endpoint.Func(endpoint.FuncConfig{
		Name:   "registry",
		Lookup: func(context.Context) ([]endpoint.Endpoint, error) { return nil, errors.New("connection refused") },
	})
	if err != nil {
		panic(err)
	}
	show(endpoint.Merge(
		endpoint.Static(endpoint.Endpoint{Addr: "primary.example.com:443"}),
		endpoint.Static(endpoint.Endpoint{Addr: "fallback.example.com:443", Priority: 1}),
		registry,
	))
	// Output:
	// primary.example.com:443 name= zone= weight=0 priority=0
	// fallback.example.com:443 name= zone= weight=0 priority=1
	// complete=false error=endpoint: registry: connection refused
}

func ExampleSubsetConfig_Choose() {
	all := make([]endpoint.Endpoint, 12)
	for i := range all {
		all[i].Addr = fmt.Sprintf("ws%d:443", i)
	}
	for _, n := range []int{11, 12} { // ws11 joins
		for _, client := range []string{"pod-a", "pod-d", "pod-e"} {
			fmt.Printf("%d endpoints, %s:", n, client)
			for _, e := range (endpoint.SubsetConfig{Client: client, Size: 3}).Choose(all[:n]) {
				fmt.Print(" ", e.Addr)
			}
			fmt.Println()
		}
	}
	// Output:
	// 11 endpoints, pod-a: ws1:443 ws2:443 ws8:443
	// 11 endpoints, pod-d: ws4:443 ws5:443 ws10:443
	// 11 endpoints, pod-e: ws1:443 ws6:443 ws7:443
	// 12 endpoints, pod-a: ws1:443 ws2:443 ws8:443
	// 12 endpoints, pod-d: ws5:443 ws10:443 ws11:443
	// 12 endpoints, pod-e: ws1:443 ws6:443 ws7:443
}
