package wspool_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/respool/respool/wspool"
)

// Without a NetDial, over real sockets: the first address of the name accepts and
// stays silent each time.
func TestDialRace_RealAddresses(t *testing.T) {
	var peer *peer
	var l net.Listener
	var err error
	for l == nil { // until a port is free on both addresses
		peer = listen(t, false, echo)
		good := netip.MustParseAddrPort(strings.TrimPrefix(peer.cfg.URL, "ws://"))
		l, err = net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), good.Port()).String())
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { l.Close() }) // the kernel accepts for it
	cfg := wspool.Config{URL: strings.Replace(peer.cfg.URL, "127.0.0.1", "service.test", 1), MaxSize: 4}
	cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	p := pool(t, cfg)
	for range 10 {
		c := acquire(t, p)
		ask(t, c, "x")
		c.Discard(nil)
	}
	if s := p.Stats(); s.Failed > 0 {
		t.Errorf("%v", s)
	}
}
