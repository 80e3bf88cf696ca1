package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// site is a name with several addresses, 192.0.2.1 and so on, each of which does
// something else to connections.
type site struct {
	cfg   wspool.Config
	hosts []func(ctx context.Context) (net.Conn, error)

	mu    sync.Mutex
	dials []string // the addresses dialled, in order
}

// newSite returns one on a network in memory, whose DNS answer has a fixed order.
func newSite(t *testing.T, hosts ...func(ctx context.Context) (net.Conn, error)) *site {
	s := &site{hosts: hosts}
	s.cfg = wspool.Config{URL: "ws://service.test/", MaxSize: 1}
	s.cfg.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "service.test" {
			t.Errorf("looked up %q", host)
		}
		var all []netip.Addr
		for i := range s.hosts {
			all = append(all, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
		}
		return all, nil
	}
	s.cfg.NetDial = func(ctx context.Context, _, addr string) (net.Conn, error) {
		s.mu.Lock()
		s.dials = append(s.dials, addr)
		s.mu.Unlock()
		at, err := netip.ParseAddrPort(addr)
		if err != nil || at.Port() != 80 {
			t.Errorf("NetDial was given %q", addr)
			return nil, errors.New("no such address")
		}
		return s.hosts[at.Addr().As4()[3]-1](ctx)
	}
	return s
}

// dialled returns the last bytes of the addresses dialled since the last call.
func (s *site) dialled() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, addr := range s.dials {
		b.WriteString(strings.TrimSuffix(strings.TrimPrefix(addr, "192.0.2."), ":80"))
	}
	s.dials = nil
	return b.String()
}

// How the addresses of a site behave.

// blackHole does not even accept.
func blackHole(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }

func refusing(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }

// silent accepts and says nothing.
func silent(context.Context) (net.Conn, error) {
	ours, theirs := memnet.Pipe(1 << 12)
	go drainNet(theirs)
	return ours, nil
}

// hangsUp accepts and closes.
func hangsUp(context.Context) (net.Conn, error) {
	ours, theirs := memnet.Pipe(1 << 12)
	theirs.Close()
	return ours, nil
}

// serving is a peer's own dial.
func serving(p *peer) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return p.cfg.NetDial(ctx, "tcp", "") }
}

// The first addresses of a name are bad, each in its way, and the DNS answer has
// them first each time: the next is used within the usual time, and for a minute
// dials begin with it.
func TestDialRace_NextAddress(t *testing.T) {
	type host = func(context.Context) (net.Conn, error)
	const ms = time.Millisecond
	for _, tc := range []struct {
		name   string
		before []host
		known  bool // how long a handshake takes
		took   time.Duration
		dialed string
		again  string // the second dial
	}{
		{"silent", []host{silent}, false, time.Second, "12", "2"},
		{"silent, usual time known", []host{silent}, true, 250 * ms, "12", "2"},
		{"does not connect", []host{blackHole}, true, 250 * ms, "12", "2"},
		{"refuses", []host{refusing}, false, 0, "12", "2"},
		{"hangs up", []host{hangsUp}, false, 0, "12", "2"},
		{"two silent ones", []host{silent, silent}, true, 500 * ms, "123", "3"},
		{"one of each", []host{refusing, blackHole, hangsUp, silent}, true, 500 * ms, "12345", "5"},
		{"five silent ones", slices.Repeat([]host{silent}, 5), true, 1250 * ms, "123456", "6"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				good := listenMem(t, 1<<12, echo)
				good.refuse = func(http.ResponseWriter, *http.Request) bool { time.Sleep(ms); return false }
				s := newSite(t, append(tc.before, serving(good))...)
				first := s.hosts[0]
				if tc.known {
					s.hosts[0] = serving(good)
				}
				p := pool(t, s.cfg)
				if tc.known {
					acquire(t, p).Discard(nil)
					synctest.Wait()
					s.dialled()
					s.hosts[0] = first
				}
				began := time.Now()
				c := acquire(t, p)
				ask(t, c, "x")
				if took, d := time.Since(began)-ms, s.dialled(); took != tc.took || d != tc.dialed {
					t.Errorf("after %v by %q, want %v by %q", took, d, tc.took, tc.dialed)
				}
				c.Discard(nil)
				c = acquire(t, p)
				if d := s.dialled(); d != tc.again {
					t.Errorf("the second dial went to %q, want %q", d, tc.again)
				}
				c.Discard(nil)
				time.Sleep(2 * time.Minute)
				s.hosts[0] = serving(good)
				acquire(t, p).Discard(nil)
				if d := s.dialled(); d != "1" {
					t.Errorf("two minutes later a dial went to %q, want 1", d)
				}
			})
		})
	}
}

// An answer of the server is one, even if it is no 101: the other addresses are
// those of the same service.
func TestDialRace_AnswerEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		busy := listenMem(t, 1<<12, echo)
		busy.refuse = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
		s := newSite(t, serving(busy), serving(listenMem(t, 1<<12, echo)))
		if e := dialFails(t, s.cfg, "handshake"); e.Status != 503 || s.dialled() != "1" {
			t.Errorf("%v", e)
		}
	})
}

// Where no address serves, the error is that of the attempt that came furthest,
// at DialTimeout.
func TestDialRace_NoAddressServes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, refusing, silent, blackHole)
		s.cfg.DialTimeout = 7 * time.Second
		began := time.Now()
		e := dialFails(t, s.cfg, "handshake")
		if !errors.Is(e, resource.ErrMakeTimeout) || time.Since(began) != 7*time.Second {
			t.Errorf("%v after %v", e, time.Since(began))
		}
		s = newSite(t, refusing, refusing)
		if e := dialFails(t, s.cfg, "connect"); !strings.Contains(e.Error(), "refused") || s.dialled() != "12" {
			t.Errorf("%v", e)
		}
		s.cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
		if e := dialFails(t, s.cfg, "resolve"); !strings.Contains(e.Error(), "no such host") {
			t.Errorf("%v", e)
		}
	})
}

// The error of a dial is that of an attempt that ended by itself, even if a scout that was
// replaced had come further.
func TestDialRace_ReplacedScout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n atomic.Int32
		s := newSite(t, func(ctx context.Context) (net.Conn, error) {
			switch n.Add(1) {
			case 1: // TCP repeats its SYN until the host is found to be unreachable
				select {
				case <-time.After(3500 * time.Millisecond):
					return nil, errors.New("no route to host")
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			case 2:
				return silent(ctx)
			}
			return refusing(ctx)
		})
		if e := dialFails(t, s.cfg, "connect"); !strings.Contains(e.Error(), "no route to host") || errors.Is(e, context.Canceled) {
			t.Errorf("%v", e)
		}
		if n.Load() < 3 {
			t.Errorf("%d attempts: no scout was replaced", n.Load())
		}
	})
}

// Prepare runs for each attempt, since each sends a handshake: a ticket that counts
// once is new in each. Its failure costs that attempt alone.
func TestDialRace_Prepare(t *testing.T) {
	for name, breaks := range map[string]func(){"": func() {}, "panics": func() { panic("on purpose") }, "ends": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				good := listenMem(t, 1<<12, echo)
				var tickets []string
				good.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
					tickets = append(tickets, r.URL.RawQuery)
					return false
				}
				s := newSite(t, silent, silent, serving(good))
				var n atomic.Int64
				s.cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
					if n.Add(1) == 2 {
						breaks()
					}
					h.URL += fmt.Sprint("?ticket=", n.Load())
					return nil
				}
				p := pool(t, s.cfg)
				acquire(t, p).Release()
				if len(tickets) != 1 || tickets[0] != "ticket=3" {
					t.Errorf("the server got %q", tickets)
				}
			})
		})
	}
}

// addressless is a connection whose RemoteAddr does not return.
type addressless struct {
	net.Conn
	breaks func()
}

func (c addressless) RemoteAddr() net.Addr { c.breaks(); return nil }

// RemoteAddr of a connection may panic, on a goroutine of the race too: the attempt goes on
// without the address. If RemoteAddr ends the goroutine it costs that attempt alone, whose
// connection is closed.
func TestDialRace_RemoteAddrBreaks(t *testing.T) {
	for name, tc := range map[string]struct {
		breaks func()
		before []func(context.Context) (net.Conn, error)
		dialed string
	}{
		"panics":                {func() { panic("on purpose") }, nil, "1"},
		"panics in a later one": {func() { panic("on purpose") }, []func(context.Context) (net.Conn, error){blackHole}, "12"},
		"ends a later one":      {runtime.Goexit, []func(context.Context) (net.Conn, error){blackHole}, "123"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				good := listenMem(t, 1<<12, echo)
				broken := func(ctx context.Context) (net.Conn, error) {
					c, err := serving(good)(ctx)
					return addressless{c, tc.breaks}, err
				}
				s := newSite(t, append(tc.before, broken, serving(good))...)
				c := acquire(t, pool(t, s.cfg))
				ask(t, c, "x")
				if d := s.dialled(); d != tc.dialed {
					t.Errorf("dialled %q, want %q", d, tc.dialed)
				}
				c.Release()
			})
		})
	}
}

// An attempt for which Prepare chooses TLS has another port, and so is not connected to the
// address that was looked up for the first one.
func TestDialRace_PrepareChoosesTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, silent, silent)
		var mu sync.Mutex
		var addrs []string
		s.cfg.NetDial = func(ctx context.Context, _, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			addrs = append(addrs, addr)
			return silent(ctx)
		}
		var n atomic.Int64
		s.cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
			if n.Add(1) > 1 {
				h.URL = "wss://service.test/"
			}
			return nil
		}
		s.cfg.DialTimeout = 1500 * time.Millisecond
		dialFails(t, s.cfg, "handshake")
		if !slices.Equal(addrs, []string{"192.0.2.1:80", "192.0.2.2:443"}) {
			t.Errorf("dialled %q", addrs)
		}
	})
}

// The proxy alone looks the name up, and it is dialled once.
func TestDialRace_NotThroughProxy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, silent)
		s.cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) { t.Error("looked up"); return nil, nil }
		var addrs []string
		s.cfg.NetDial = func(ctx context.Context, _, addr string) (net.Conn, error) {
			addrs = append(addrs, addr)
			return silent(ctx)
		}
		s.cfg.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})
		dialFails(t, s.cfg, "proxy")
		if !slices.Equal(addrs, []string{"proxy.test:3128"}) {
			t.Errorf("dialled %q", addrs)
		}
	})
}

// Over real sockets, with TLS: the certificate and the Host header are those of
// the name, whatever the address is.
func TestDialRace_TLSName(t *testing.T) {
	mute := serveTCP(t, drainNet)
	peer := listen(t, true, echo)
	hosts := make(chan string, 10)
	peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool { hosts <- r.Host; return false }
	good := strings.TrimPrefix(peer.cfg.URL, "wss://")
	cfg := peer.cfg
	cfg.URL = "wss://example.com/" // a name in the certificate of httptest
	cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2")}, nil
	}
	cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		to := map[string]string{"192.0.2.1:443": mute.String(), "[2001:db8::2]:443": good}[addr]
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	c := acquire(t, pool(t, cfg))
	ask(t, c, "x")
	if host := next(t, "handshake", hosts); host != "example.com" {
		t.Errorf("Host: %s", host)
	}
	c.Release()
}

// upstream is a server behind a proxy that waits for it, and answers 504 after 5
// s.
type upstream struct {
	*peer
	hangs  atomic.Bool
	asked  atomic.Int64 // handshakes
	open   atomic.Int64 // of those that wait, how many now
	most   atomic.Int64 // and at once
	status atomic.Int64 // what it answers at once; 0: it does not
}

func listenUpstream(t *testing.T) *upstream {
	u := &upstream{}
	var handlers sync.WaitGroup
	t.Cleanup(handlers.Wait) // after the peer's, which does not wait for them
	u.peer = listenMem(t, 1<<12, echo)
	u.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		handlers.Add(1)
		defer handlers.Done()
		u.asked.Add(1)
		time.Sleep(5 * time.Millisecond) // what the upstream takes to answer
		if s := u.status.Load(); s != 0 {
			w.WriteHeader(int(s))
			return true
		}
		if !u.hangs.Load() {
			return false
		}
		u.most.Store(max(u.most.Load(), u.open.Add(1)))
		defer u.open.Add(-1)
		select {
		case <-time.After(5 * time.Second):
			w.WriteHeader(http.StatusGatewayTimeout)
		case <-r.Context().Done():
		}
		return true
	}
	return u
}

// The server behind a proxy hangs for a while, and all dials of that time wait for
// their 504: once it is back it is found by a dial that begins beside them.
func TestDialRace_HangsBehindProxy(t *testing.T) {
	const ms = time.Millisecond
	for _, size := range []int{1, 2, 4, 16} {
		for _, tc := range []struct {
			name   string
			outage bool // before it hangs it refuses
			hangs  time.Duration
			within time.Duration // after it is back
		}{
			{"short", false, 600 * ms, 500 * ms},
			{"for 3 s", false, 3 * time.Second, 1100 * ms},
			{"prober", true, 600 * ms, 1100 * ms},
			{"prober, for 3 s", true, 3 * time.Second, 1100 * ms},
		} {
			t.Run(fmt.Sprintf("%s, %d", tc.name, size), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					u := listenUpstream(t)
					u.cfg.MaxSize = size
					p := pool(t, u.cfg)
					acquire(t, p).Discard(nil)
					if tc.outage {
						u.status.Store(502)
						for range 10 {
							if _, err := p.Acquire(t.Context()); err == nil {
								t.Fatal("a lease")
							}
							time.Sleep(50 * ms)
						}
					}
					u.status.Store(0)
					u.hangs.Store(true)
					back := time.Now().Add(tc.hangs)
					time.AfterFunc(tc.hangs, func() { u.hangs.Store(false) })
					firstAnswer(t, p)
					if late := time.Since(back); late > tc.within {
						t.Errorf("answered %v after the server was back, want %v at most", late, tc.within)
					}
				})
			})
		}
	}
}

// While a server hangs, few handshakes are sent to it however many callers wait.
func TestDialRace_ScoutsAreFew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := listenUpstream(t)
		u.cfg.MaxSize = 16
		p := pool(t, u.cfg)
		acquire(t, p).Discard(nil)
		u.hangs.Store(true)
		u.asked.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for ctx.Err() == nil {
					_ = say(ctx, p, "x")
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		all.Wait()
		t.Logf("%d handshakes, %d at once", u.asked.Load(), u.most.Load())
		if n := u.asked.Load(); n > 120 || u.most.Load() > 18 {
			t.Errorf("%d handshakes in 30 s, %d at once", n, u.most.Load())
		}
	})
}

// A handshake that is slow for once gets no second one where a younger dial has
// been answered.
func TestDialRace_NoScoutWhereServerAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked atomic.Int64
		peer := listenMem(t, 1<<12, echo)
		peer.refuse = func(http.ResponseWriter, *http.Request) bool {
			if asked.Add(1) == 2 {
				time.Sleep(8 * time.Second)
			}
			time.Sleep(time.Millisecond)
			return false
		}
		p := pool(t, peer.cfg)
		acquire(t, p).Discard(nil)
		acquire(t, p).Release() // by a make that begins when the second one is late
		time.Sleep(time.Minute)
		if n := asked.Load(); n != 3 {
			t.Errorf("%d handshakes, want 3", n)
		}
	})
}
