package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer is a DNS server on loopback, for UDP and TCP, with the records that the test sets.
// Answers that do not fit into a UDP packet are truncated, as RFC 1035 says.
type dnsServer struct {
	udp net.PacketConn
	tcp net.Listener

	mu      sync.Mutex
	records map[string][]dnsmessage.ResourceBody // by name with dot
	rcode   dnsmessage.RCode                     // if it is not 0 all answers are that
	mute    map[dnsmessage.Type]bool             // types of questions that are not answered
	overTCP int                                  // questions
	closed  bool
	conns   []net.Conn // of the resolvers
}

func newDNSServer(t *testing.T) *dnsServer {
	t.Helper()
	s := &dnsServer{mute: make(map[dnsmessage.Type]bool), records: make(map[string][]dnsmessage.ResourceBody)}
	var err error
	if s.udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if s.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = s.udp.Close()
		_ = s.tcp.Close()
		// A net.Resolver goes on waiting for a reply after the context of the lookup has
		// ended, in the background.
		s.does(func() {
			s.closed = true
			for _, c := range s.conns {
				_ = c.Close()
			}
		})
		wg.Wait()
	})
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := s.udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := s.reply(buf[:n], false); reply != nil {
				_, _ = s.udp.WriteTo(reply, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := s.tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				var size [2]byte
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, query); err != nil {
					return
				}
				if reply := s.reply(query, true); reply != nil {
					binary.BigEndian.PutUint16(size[:], uint16(len(reply)))
					_, _ = c.Write(append(size[:], reply...))
				}
			})
		}
	})
	return s
}

// resolver returns a net.Resolver that asks only this server.
func (s *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		at := s.udp.LocalAddr()
		if strings.HasPrefix(network, "tcp") {
			at = s.tcp.Addr()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return nil, net.ErrClosed
		}
		c, err := (&net.Dialer{}).DialContext(ctx, at.Network(), at.String())
		if err == nil {
			s.conns = append(s.conns, c)
		}
		return c, err
	}}
}

// reply returns the reply to a query, or nil for none.
func (s *dnsServer) reply(query []byte, tcp bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if tcp {
		s.overTCP++
	}
	q := m.Questions[0]
	if s.mute[q.Type] {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	bodies, exists := s.records[q.Name.String()]
	switch {
	case s.rcode != 0:
		m.RCode = s.rcode
	case !exists:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range bodies {
		var kind dnsmessage.Type
		switch body.(type) {
		case *dnsmessage.AResource:
			kind = dnsmessage.TypeA
		case *dnsmessage.AAAAResource:
			kind = dnsmessage.TypeAAAA
		case *dnsmessage.SRVResource:
			kind = dnsmessage.TypeSRV
		}
		if kind == q.Type && m.RCode == 0 {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: kind, Class: dnsmessage.ClassINET, TTL: 1}, Body: body,
			})
		}
	}
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	if len(packed) > 512 && !tcp {
		m.Truncated, m.Answers = true, nil
		packed, _ = m.Pack()
	}
	return packed
}

// set replaces the addresses of a name.
func (s *dnsServer) set(name string, ips ...string) {
	all := []dnsmessage.ResourceBody{}
	for _, text := range ips {
		if ip := netip.MustParseAddr(text); ip.Is4() {
			all = append(all, &dnsmessage.AResource{A: ip.As4()})
		} else {
			all = append(all, &dnsmessage.AAAAResource{AAAA: ip.As16()})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = all
}

// does changes the server's behavior.
func (s *dnsServer) does(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// awaitUpdate returns the first update that ok accepts.
func awaitUpdate(t *testing.T, updates <-chan Update, ok func(Update) bool) Update {
	t.Helper()
	var last Update
	timeout := time.After(30 * time.Second)
	for {
		select {
		case last = <-updates:
			if ok(last) {
				return last
			}
		case <-timeout:
			t.Fatalf("no such update in 30 s; the last one is %+v", last)
		}
	}
}

// updatesOf watches r until the test ends.
func updatesOf(t *testing.T, r Resolver) <-chan Update {
	updates := make(chan Update, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Watch(ctx, func(u Update) {
			select {
			case updates <- u:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return updates
}

// has returns a condition: the update is without error and has these addresses, in any order.
func has(complete bool, addrs ...string) func(Update) bool {
	slices.Sort(addrs)
	return func(u Update) bool {
		var got []string
		for _, e := range u.Endpoints {
			got = append(got, e.Addr)
		}
		slices.Sort(got)
		return u.Err == nil && u.Complete == complete && slices.Equal(got, addrs)
	}
}

// TestDNSServer uses a net.Resolver and a DNS server.
func TestDNSServer(t *testing.T) {
	s := newDNSServer(t)
	quick := Polling{Interval: 20 * time.Millisecond, MinInterval: 10 * time.Millisecond, Timeout: 5 * time.Second}
	resolve := func(name string, p Polling) <-chan Update {
		return updatesOf(t, mustDNS(t, DNSConfig{Addr: name + ":443", Resolver: s.resolver(), Polling: p}, everywhere))
	}

	s.set("ws.test.", "127.0.0.1", "127.0.0.2")
	u := resolve("ws.test.", quick)
	first := awaitUpdate(t, u, has(true, "127.0.0.1:443", "127.0.0.2:443"))
	if e := first.Endpoints[0]; e.Name != "ws.test" {
		t.Errorf("the name of %+v is not ws.test", e)
	}
	s.set("ws.test.", "127.0.0.2", "127.0.0.3", "::1")
	awaitUpdate(t, u, has(true, "127.0.0.2:443", "127.0.0.3:443", "[::1]:443"))

	keeps := func(name, text string, is func(error) bool) {
		t.Helper()
		got := awaitUpdate(t, u, func(u Update) bool { return u.Err != nil })
		if len(got.Endpoints) != 3 || got.Complete || !is(got.Err) || !strings.Contains(got.Err.Error(), text) {
			t.Errorf("%s: the update is %+v", name, got)
		}
	}
	isDNS := func(err error) bool { var d *net.DNSError; return errors.As(err, &d) }
	s.does(func() { s.rcode = dnsmessage.RCodeServerFailure })
	keeps("SERVFAIL", "server misbehaving", isDNS)
	s.does(func() { s.rcode = dnsmessage.RCodeNameError })
	keeps("NXDOMAIN", "no such host", func(err error) bool { return notFound(err) })
	s.does(func() { s.rcode = 0 })
	awaitUpdate(t, u, has(true, "127.0.0.2:443", "127.0.0.3:443", "[::1]:443"))
	s.set("ws.test.") // the name exists, without addresses: Envoy #20890
	keeps("NODATA", "no such host", func(err error) bool { return notFound(err) })

	// The answer for AAAA is lost: the IPv6 endpoint stays, the IPv4 endpoints are used.
	s.set("ws.test.", "127.0.0.4", "::1")
	s.does(func() { s.mute[dnsmessage.TypeAAAA] = true })
	got := awaitUpdate(t, u, func(u Update) bool { return u.Err != nil && len(u.Endpoints) == 4 })
	if !errors.Is(got.Err, errLate) || got.Complete || got.Endpoints[0].Addr != "127.0.0.4:443" {
		t.Errorf("without an answer for AAAA the update is %+v", got)
	}
	s.does(func() { s.mute[dnsmessage.TypeAAAA] = false })
	awaitUpdate(t, u, has(true, "127.0.0.4:443", "[::1]:443"))

	// 64 addresses do not fit into a UDP packet: TCP brings all.
	var many, want []string
	for i := range 64 {
		many = append(many, fmt.Sprintf("127.0.1.%d", i+1))
		want = append(want, fmt.Sprintf("127.0.1.%d:443", i+1))
	}
	s.set("many.test.", many...)
	awaitUpdate(t, resolve("many.test.", quick), has(true, want...))
	s.does(func() {
		if s.overTCP == 0 {
			t.Error("no question came over TCP")
		}
	})
	quick.MaxAnswers = 64
	awaitUpdate(t, resolve("many.test.", quick), has(false, want...))
}

// TestSRVServer uses a net.Resolver and a DNS server.
func TestSRVServer(t *testing.T) {
	s := newDNSServer(t)
	put := func(records ...dnsmessage.SRVResource) {
		all := []dnsmessage.ResourceBody{}
		for _, r := range records {
			all = append(all, &r)
		}
		s.does(func() { s.records["_ws._tcp.example.test."] = all })
	}
	target := func(name string, priority, weight, port uint16) dnsmessage.SRVResource {
		return dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(name)}
	}
	r, err := SRV(SRVConfig{Service: "ws", Proto: "tcp", Domain: "example.test.", Resolver: s.resolver(),
		Polling: Polling{Interval: 20 * time.Millisecond, MinInterval: 10 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	put(target("b.example.test.", 20, 0, 8443), target("a.example.test.", 10, 7, 443))
	u := updatesOf(t, r)
	first := awaitUpdate(t, u, has(true, "a.example.test:443", "b.example.test:8443"))
	want := []Endpoint{
		{Addr: "a.example.test:443", Name: "a.example.test", Weight: 7, Priority: 10},
		{Addr: "b.example.test:8443", Name: "b.example.test", Priority: 20},
	}
	if !slices.Equal(first.Endpoints, want) {
		t.Errorf("got %+v, want %+v", first.Endpoints, want)
	}
	put(target(".", 0, 0, 0))
	if got := awaitUpdate(t, u, func(u Update) bool { return u.Err != nil }); !errors.Is(got.Err, ErrNotAvailable) || !slices.Equal(got.Endpoints, want) {
		t.Errorf("for the target . the update is %+v", got)
	}
	put(target("a.example.test.", 10, 7, 443))
	awaitUpdate(t, u, has(true, "a.example.test:443"))
}
