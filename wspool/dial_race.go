package wspool

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/internal/growth"
	"github.com/respool/respool/resource"
)

const (
	// connectDelay is how long an attempt may take to connect before the next address is
	// tried in parallel: the Connection Attempt Delay of RFC 8305, section 5.
	connectDelay = 250 * time.Millisecond

	// maxAttempts is how many attempts of one dial run at once.
	maxAttempts = 4

	// scoutEvery is the longest time between two scouts, unless handshakes take longer.
	scoutEvery = time.Second
)

// errLost ends an attempt that is no longer needed: another attempt of the same dial was
// faster, or replaces it.
var errLost = errors.New("wspool: another attempt of the dial was used")

// race coordinates the attempts of one dial without a proxy. An attempt is a connection to
// one address, with TLS and the WebSocket handshake. Further attempts begin in parallel:
//
//   - to the next address of the name: if TCP has not connected in time, as in RFC 8305, if
//     a connection is accepted and then nothing arrives for longer than handshakes usually
//     take, and at once if the attempt fails without an answer;
//   - to the same addresses, once all have been tried and none has answered: a scout. It
//     finds out that a server that hung is back, while the attempts that began earlier still
//     hang. One dial of a pool sends scouts, one at a time, each replacing the one before.
//
// The first attempt that is answered with 101 wins. An answer other than 101 ends the dial,
// unless an attempt that began later runs: that has the usual time to win.
//
// The first attempt runs on the goroutine of Make, where a panic or Goexit of user code is
// contained already; the others run on goroutines of their own, and have ended when the dial
// returns.
type race struct {
	hub      *hub
	ctx      context.Context // the dial's
	first    *dialing
	url      *url.URL // the first attempt's; a redirect that it follows does not change it
	began    int64    // on the hub's clock
	attempts sync.WaitGroup
	done     chan struct{} // closed when the result is known

	lookups   context.Context // of look-ups during the race
	endLookup context.CancelFunc

	mu       sync.Mutex
	over     bool
	all      []*dialing // attempts, in the order in which they began
	running  int        // attempts and look-ups under way
	rest     []string   // addresses that have not been tried
	known    []string   // all addresses that were found
	looked   bool       // addresses were looked up
	winner   *dialing
	answered *dialing // the last attempt that got an answer other than 101
	scout    *dialing // the last scout
	scouts   int      // how many scouts there were
	sends    bool     // this dial is the one of the pool that sends scouts
	timer    *time.Timer
}

// compete runs the attempts of the dial whose first one is d. It returns the winner, or the
// attempt whose error explains best why there is none, with that error.
func (d *dialing) compete(ctx context.Context) (*dialing, error) {
	r := &race{hub: d.hub, ctx: ctx, first: d, url: d.url, began: d.hub.clock.Now(), done: make(chan struct{})}
	d.phase = "connect"
	if d.hub.cfg.Lookup != nil || d.hub.addresses.suspected(r.url.Hostname(), r.began) {
		r.looked = true
		all, err := r.find(ctx)
		if err != nil && d.hub.cfg.Lookup != nil {
			return d, err
		}
		r.known, r.rest = all, all
	}
	r.lookups, r.endLookup = context.WithCancel(ctx)
	defer r.stop() // also if user code ends the goroutine
	r.mu.Lock()
	r.addLocked(d)
	r.setTimerLocked()
	r.mu.Unlock()
	r.finish(d, d.reach(d.ctx, nil))
	<-r.done
	r.stop()
	return r.outcome()
}

// find returns the addresses of the host, silent ones last.
func (r *race) find(ctx context.Context) ([]string, error) {
	host, port := r.url.Hostname(), portOf(r.url)
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{net.JoinHostPort(host, port)}, nil
	}
	lookup := r.hub.cfg.Lookup
	if lookup == nil {
		lookup = r.hub.lookup
	}
	ips, err := lookup(ctx, host)
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return joined(r.hub.addresses.order(interleaved(ips), r.hub.clock.Now()), port), nil
}

// addLocked notes that d begins, to the next address if one is known.
func (r *race) addLocked(d *dialing) {
	if len(r.rest) > 0 {
		d.target, r.rest = r.rest[0], r.rest[1:]
	} else if len(r.known) > 0 { // a scout
		d.target = r.known[r.scouts%len(r.known)]
	}
	if at, err := netip.ParseAddrPort(d.target); err == nil {
		d.at = at.Addr()
	}
	d.ctx, d.cancel = context.WithCancelCause(r.ctx)
	d.began = r.hub.clock.Now()
	r.all = append(r.all, d)
	r.running++
}

// launchLocked begins another attempt.
func (r *race) launchLocked() *dialing {
	d := &dialing{hub: r.hub, cfg: r.first.cfg, ticket: r.first.ticket, start: r.first.start, server: hostPort(r.url)}
	r.addLocked(d)
	r.attempts.Go(func() {
		err := errBrokenOff // if user code ends the goroutine
		defer func() {
			if p := recover(); p != nil {
				err = &resource.PanicError{Where: "Make", Value: p, Stack: debug.Stack()}
			}
			r.finish(d, err)
		}()
		err = d.attempt(d.ctx)
	})
	return d
}

// attempt is an attempt after the first: a handshake of its own, for which Prepare is
// called again.
func (d *dialing) attempt(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if hostPort(d.url) != d.server { // Prepare has chosen another one
		d.target = ""
		d.moved.Store(true)
	}
	through, err := d.proxy(ctx)
	if err != nil {
		return err
	}
	return d.reach(ctx, through)
}

// finish notes that d has ended with err.
func (r *race) finish(d *dialing, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.err, d.ended = err, true
	r.running--
	switch {
	case err == nil && !r.over:
		r.winner = d
		r.endLocked()
	case err == nil:
		d.err = errLost
		d.drop()
	default:
		d.drop()
		if d.answer != nil && !r.over {
			r.answered = d
			if at := slices.Index(r.all, d); !slices.ContainsFunc(r.all[at:], func(o *dialing) bool { return !o.ended }) {
				r.endLocked()
			}
		}
	}
	r.nextLocked(d.answer == nil && !d.scout)
}

// nextLocked continues after an attempt or a look-up has ended. more says that another
// address is to be tried.
func (r *race) nextLocked(more bool) {
	switch {
	case r.over:
		return
	case r.ctx.Err() != nil:
		if r.running == 0 {
			r.endLocked()
		}
		return
	case more && r.answered == nil && r.anotherLocked():
	case r.running == 0:
		r.endLocked()
		return
	}
	r.setTimerLocked()
}

// anotherLocked begins an attempt to the next address, or a look-up of addresses. It
// returns false if neither is possible.
func (r *race) anotherLocked() bool {
	if r.running >= maxAttempts {
		return false
	}
	if len(r.rest) > 0 {
		r.noteLocked()
		r.launchLocked()
		return true
	}
	remote := r.first.remote.Load()
	if r.looked || remote == nil {
		return false
	}
	// NetDial was given the name. If it connected to one of the name's own addresses it can
	// be given the next one. If it connected anywhere else (a tunnel, a proxy of its own,
	// memory) it is given the name again.
	r.looked = true
	r.running++
	r.attempts.Go(func() {
		all, err := r.find(r.lookups)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.running--
		if at := slices.Index(all, remote.String()); err == nil && at >= 0 {
			r.known = all
			r.rest = slices.Delete(slices.Clone(all), at, at+1)
		}
		r.nextLocked(true)
	})
	return true
}

// setTimerLocked has onTimer called at the time of the next decision.
func (r *race) setTimerLocked() {
	now := r.hub.clock.Now()
	at := min(r.addressDueLocked(), r.scoutDueLocked())
	if r.answered != nil {
		at = r.answerDueLocked()
	}
	wait := time.Duration(at - now)
	if wait <= 0 { // a decision was due, and its attempt could not begin
		wait = r.hub.usual.patience()
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.onTimer)
	} else {
		r.timer.Reset(wait)
	}
}

// addressDueLocked returns when the next address is to be tried.
func (r *race) addressDueLocked() int64 {
	last := r.all[len(r.all)-1]
	if r.looked && len(r.rest) == 0 {
		return forever
	}
	delay := r.hub.usual.patience()
	if r.looked && !last.connected.Load() {
		delay = connectDelay
	}
	return last.began + int64(delay)
}

// scoutDueLocked returns when the first or the next scout is due.
func (r *race) scoutDueLocked() int64 {
	patience := int64(r.hub.usual.patience())
	last := r.all[len(r.all)-1]
	switch {
	case r.scouts > 0:
		step := min(patience<<min(r.scouts-1, 8), int64(scoutEvery))
		return last.began + max(patience, step)
	case len(r.known) > 1:
		return last.began + patience
	}
	return last.began + 2*patience // later: a dial that begins in parallel may find the same
}

// answerDueLocked returns when the dial ends with the answer that it got.
func (r *race) answerDueLocked() int64 {
	return r.all[len(r.all)-1].began + int64(r.hub.usual.patience())
}

// onTimer begins another attempt, or ends the race, if it is time.
func (r *race) onTimer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.hub.clock.Now()
	switch {
	case r.over || r.ctx.Err() != nil:
		return
	case r.answered != nil:
		if now >= r.answerDueLocked() {
			r.endLocked()
			return
		}
	case now >= r.addressDueLocked() && r.anotherLocked():
	case now >= r.scoutDueLocked() && r.mayScoutLocked():
		if r.scout != nil && !r.scout.ended {
			r.scout.cancel(errLost)
		}
		r.scout = r.launchLocked()
		r.scout.scout = true
		r.scouts++
	}
	r.setTimerLocked()
}

// mayScoutLocked reports whether this dial is to send scouts.
func (r *race) mayScoutLocked() bool {
	if r.hub.usual.upSince(r.began) { // the server has answered attempts that began later
		return false
	}
	if !r.sends {
		r.sends = r.hub.scouting.CompareAndSwap(false, true)
	}
	return r.sends
}

// endLocked announces the result by closing done, and cancels the attempts and the look-up
// that still run.
func (r *race) endLocked() {
	r.over = true
	r.timer.Stop()
	r.endLookup()
	for _, d := range r.all {
		if !d.ended {
			d.cancel(errLost)
		}
	}
	close(r.done)
}

// stop ends the race, if it has not ended, and waits for its goroutines.
func (r *race) stop() {
	r.mu.Lock()
	if !r.over {
		r.endLocked()
	}
	if r.sends {
		r.sends = false
		r.hub.scouting.Store(false)
	}
	r.mu.Unlock()
	r.attempts.Wait()
}

// outcome returns the winner, or the attempt that came furthest, and its error. A scout that
// another one has replaced does not count: its error says only that it was canceled. outcome
// records which addresses did not answer. No attempt runs any more.
func (r *race) outcome() (*dialing, error) {
	best := r.winner
	if best == nil {
		best = r.answered
	}
	if best == nil {
		best = r.first
		for _, d := range r.all {
			if context.Cause(d.ctx) != errLost && reached(d.phase) > reached(best.phase) {
				best = d
			}
		}
	}
	if len(r.known) > 1 {
		r.noteLocked()
	}
	return best, best.err
}

// reached orders the phases of an attempt.
func reached(phase string) int {
	return slices.Index([]string{"prepare", "proxy", "connect", "tls", "handshake", "subprotocol"}, phase)
}

// drop closes the connection of an attempt that has not won.
func (d *dialing) drop() {
	if d.raw != nil {
		d.raw.Close()
		d.stop()
		d.raw = nil
	}
}

// silentFor is how long an address that stayed silent while another one of its name
// answered is tried last.
const silentFor = time.Minute

// maxSilent is how many addresses are remembered.
const maxSilent = 256

// addressBook remembers which addresses of a name stayed silent, so that the next dial
// begins with another one (RFC 8305, section 4). Its zero value is empty.
type addressBook struct {
	mu     sync.Mutex
	silent map[netip.Addr]int64 // until when, on the hub's clock
	hosts  map[string]int64     // hosts that have a silent address; likewise
}

// suspected reports whether host has an address that stayed silent.
func (b *addressBook) suspected(host string, now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hosts[host] > now
}

// order returns ips with silent ones last, and of these the one silent for longest first.
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

// note records how the attempts of a dial of host fare, during the race or at its end. An
// attempt that has had connectDelay without an answer, or has failed without one, shows
// that its address is silent. winner is nil while there is none.
func (b *addressBook) note(host string, now int64, winner netip.Addr, attempts []addressFact) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.silent == nil {
		b.silent, b.hosts = map[netip.Addr]int64{}, map[string]int64{}
	}
	if len(b.silent) >= maxSilent || len(b.hosts) >= maxSilent {
		clear(b.silent)
		clear(b.hosts)
	}
	for _, f := range attempts {
		switch {
		case f.at == winner: // the address has answered another attempt
		case f.silent || now-f.began >= int64(connectDelay):
			b.silent[f.at] = now + int64(silentFor)
			b.hosts[host] = now + int64(silentFor)
		}
	}
}

// addressFact is how an attempt without an answer fares.
type addressFact struct {
	at     netip.Addr
	began  int64
	silent bool // it has failed
}

// noteLocked records in the address book how the attempts fare.
func (r *race) noteLocked() {
	var winner netip.Addr // the zero Addr is the address of no attempt
	if r.winner != nil {
		winner, _ = r.addressLocked(r.winner)
	}
	var facts []addressFact
	for _, d := range r.all {
		if at, ok := r.addressLocked(d); ok && !(d.ended && d.answer != nil) {
			facts = append(facts, addressFact{at, d.began, d.ended && d.err != nil && context.Cause(d.ctx) == nil})
		}
	}
	r.hub.addresses.note(r.url.Hostname(), r.hub.clock.Now(), winner, facts)
}

// addressLocked returns the address that d was given, or else the one to which NetDial
// connected, if that is an address of the name: the next dial may be given the others in its
// place. An attempt that has moved to another server has none.
func (r *race) addressLocked(d *dialing) (netip.Addr, bool) {
	if d.moved.Load() {
		return netip.Addr{}, false
	}
	if d.at.IsValid() {
		return d.at, true
	}
	if remote := d.remote.Load(); remote != nil && slices.Contains(r.known, remote.String()) {
		return remote.Addr(), true
	}
	return netip.Addr{}, false
}

// lookedUp returns where to connect for u, where no race chooses an address: its host by
// name, or the addresses that Config.Lookup returns, silent ones last.
func (h *hub) lookedUp(ctx context.Context, u *url.URL) ([]string, error) {
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || h.cfg.Lookup == nil {
		return []string{hostPort(u)}, nil
	}
	ips, err := h.cfg.Lookup(ctx, u.Hostname())
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "no such host", Name: u.Hostname(), IsNotFound: true}
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return joined(h.addresses.order(interleaved(ips), h.clock.Now()), portOf(u)), nil
}

// joined returns ips, each with the port.
func joined(ips []netip.Addr, port string) []string {
	all := make([]string, len(ips))
	for i, ip := range ips {
		all[i] = net.JoinHostPort(ip.String(), port)
	}
	return all
}

// remoteOf returns the TCP address of c's peer, if there is one. Like peerOf, it calls a
// method that may panic.
func remoteOf(c net.Conn) (at netip.AddrPort, ok bool) {
	defer func() { _ = recover() }()
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return at, false
	}
	at = tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), true
}

// lookup is the default of Config.Lookup.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// interleaved returns ips with the two address families alternating, beginning with the
// family of the first (RFC 8305, section 4).
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

// portOf returns the port of u.
func portOf(u *url.URL) string {
	_, port, _ := net.SplitHostPort(hostPort(u))
	return port
}

// handshakes is how long the successful attempts of a pool's dials took, up to the 101.
type handshakes struct {
	mu    sync.Mutex
	gauge growth.Gauge
	up    int64 // when the last successful attempt began
}

// succeeded adds one.
func (h *handshakes) succeeded(began, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gauge.Made(time.Duration(now - began))
	h.up = max(h.up, began)
}

// patience returns how long an attempt may take before others begin in parallel.
func (h *handshakes) patience() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gauge.Patience()
}

// upSince reports whether an attempt that began later than then has succeeded.
func (h *handshakes) upSince(then int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up > then
}
