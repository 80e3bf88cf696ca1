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
	// connectDelay is how long an attempt may take to connect before the next
	// address is tried beside it: the Connection Attempt Delay of RFC 8305,
	// section 5.
	connectDelay = 250 * time.Millisecond

	// maxAttempts is how many attempts of one dial run at once.
	maxAttempts = 4

	// scoutEvery is the longest time between two scouts, unless handshakes take
	// longer than that.
	scoutEvery = time.Second
)

// errLost ends an attempt that is no longer of use: another attempt of the same
// dial was faster, or replaces it.
var errLost = errors.New("wspool: another attempt of the dial is used")

// race is the attempts of one dial without a proxy. An attempt is a connection to
// one address, with TLS and the WebSocket handshake. Others begin beside it:
//
//   - to the next address of the name, as RFC 8305 has it, but not only while TCP
//     connects: also where a connection is accepted and then nothing comes for
//     longer than handshakes usually take, and at once if the attempt fails
//     without an answer;
//   - to the same addresses, once all have been tried and none has answered: a
//     scout. It finds out that a server that hung is back while the dials that
//     began before still hang. One dial of a pool sends scouts, one at a time,
//     each replacing the one before.
//
// The first attempt that is answered with 101 wins. Another answer ends the dial,
// unless a younger attempt runs, which then has the usual time to do better.
//
// The first attempt runs on the goroutine of Make, so that the user's code in it
// may do there what it likes; the others run on goroutines of their own, and have
// ended when the dial returns.
type race struct {
	hub   *hub
	ctx   context.Context // the dial's
	first *dialing
	began int64 // on the hub's clock
	lanes sync.WaitGroup
	done  chan struct{} // closed when the outcome is known

	mu       sync.Mutex
	over     bool
	all      []*dialing // attempts, in the order in which they began
	running  int        // attempts, and look-ups
	rest     []string   // addresses still to be tried
	known    []string   // all addresses that were found
	looked   bool       // they were looked for
	winner   *dialing
	answered *dialing // the last attempt that got an answer other than 101
	scout    *dialing // the last scout
	scouts   int      // how many there were
	sends    bool     // this dial is the pool's that sends scouts
	timer    *time.Timer
}

// compete runs the attempts of the dial whose first one is d, and returns the one
// that won, or the one that says best why none did, with its error.
func (d *dialing) compete(ctx context.Context) (*dialing, error) {
	r := &race{hub: d.hub, ctx: ctx, first: d, began: d.hub.clock.Now(), done: make(chan struct{})}
	d.phase = "connect"
	if d.hub.cfg.Lookup != nil || d.hub.addresses.suspected(d.url.Hostname(), r.began) {
		r.looked = true
		all, err := r.find(ctx)
		if err != nil && d.hub.cfg.Lookup != nil {
			return d, err
		}
		r.known, r.rest = all, all
	}
	defer r.stop() // also if the user's code breaks the attempt off
	r.mu.Lock()
	r.add(d)
	r.setTimer()
	r.mu.Unlock()
	r.finish(d, d.reach(d.ctx, nil))
	<-r.done
	r.stop()
	return r.outcome()
}

// find returns the addresses of the host, those known to be silent last.
func (r *race) find(ctx context.Context) ([]string, error) {
	host, port := r.first.url.Hostname(), portOf(r.first.url)
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
	ips = r.hub.addresses.order(interleaved(ips), r.hub.clock.Now())
	all := make([]string, len(ips))
	for i, ip := range ips {
		all[i] = net.JoinHostPort(ip.String(), port)
	}
	return all, nil
}

// add notes that d begins, to the next address if one is known. r is locked.
func (r *race) add(d *dialing) {
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

// launch begins another attempt. r is locked.
func (r *race) launch() *dialing {
	d := &dialing{hub: r.hub, cfg: r.first.cfg, ticket: r.first.ticket, start: r.first.start, host: r.first.url.Host}
	r.add(d)
	r.lanes.Go(func() {
		err := errBrokenOff // if the user's code ends the goroutine
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

// attempt is an attempt beside the first one: a handshake of its own, for which
// Prepare is asked anew.
func (d *dialing) attempt(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if d.url.Host != d.host { // Prepare sends this one elsewhere
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
		r.end()
	case err == nil:
		d.err = errLost
		d.drop()
	default:
		d.drop()
		if d.answer != nil && !r.over {
			r.answered = d
			if at := slices.Index(r.all, d); !slices.ContainsFunc(r.all[at:], func(o *dialing) bool { return !o.ended }) {
				r.end()
			}
		}
	}
	r.next(d.answer == nil && !d.scout)
}

// next goes on after an attempt or a look-up has ended. more says that its end
// calls for another address. r is locked.
func (r *race) next(more bool) {
	switch {
	case r.over:
		return
	case r.ctx.Err() != nil:
		if r.running == 0 {
			r.end()
		}
		return
	case more && r.answered == nil && r.another():
	case r.running == 0:
		r.end()
		return
	}
	r.setTimer()
}

// another begins an attempt to the next address, or to look for addresses, if
// there is any. r is locked.
func (r *race) another() bool {
	if r.running >= maxAttempts {
		return false
	}
	if len(r.rest) > 0 {
		r.hub.addresses.note(r)
		r.launch()
		return true
	}
	remote := r.first.remote.Load()
	if r.looked || remote == nil {
		return false
	}
	// NetDial was given the name. If it led to one of the name's own addresses
	// then it dials them, and can be given the next one. If it led anywhere
	// else (a tunnel, a proxy of its own, memory) it keeps being given the name.
	r.looked = true
	r.running++
	r.lanes.Go(func() {
		all, err := r.find(r.ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.running--
		if at := slices.Index(all, remote.String()); err == nil && at >= 0 {
			r.known = all
			r.rest = slices.Delete(slices.Clone(all), at, at+1)
		}
		r.next(true)
	})
	return true
}

// setTimer has late called when it is time for something. r is locked.
func (r *race) setTimer() {
	now := r.hub.clock.Now()
	at := min(r.addressDue(), r.scoutDue())
	if r.answered != nil {
		at = r.answerDue()
	}
	wait := time.Duration(at - now)
	if wait <= 0 { // it may not be done yet
		wait = r.hub.usual.patience()
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.late)
	} else {
		r.timer.Reset(wait)
	}
}

// addressDue is when the last attempt has had the time after which the next
// address is tried. r is locked.
func (r *race) addressDue() int64 {
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

// scoutDue is when the first or the next scout is due. r is locked.
func (r *race) scoutDue() int64 {
	patience := int64(r.hub.usual.patience())
	last := r.all[len(r.all)-1]
	switch {
	case r.scouts > 0:
		step := min(patience<<min(r.scouts-1, 8), int64(scoutEvery))
		return last.began + max(patience, step)
	case len(r.known) > 1:
		return last.began + patience
	}
	return last.began + 2*patience // a make that begins beside this one may do as well
}

// answerDue is when the dial ends with the answer that it got. r is locked.
func (r *race) answerDue() int64 {
	return r.all[len(r.all)-1].began + int64(r.hub.usual.patience())
}

// late is called when it may be time for another attempt, or for the end.
func (r *race) late() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.hub.clock.Now()
	switch {
	case r.over || r.ctx.Err() != nil:
		return
	case r.answered != nil:
		if now >= r.answerDue() {
			r.end()
			return
		}
	case now >= r.addressDue() && r.another():
	case now >= r.scoutDue() && r.mayScout():
		if r.scout != nil {
			r.scout.cancel(errLost)
		}
		r.scout = r.launch()
		r.scout.scout = true
		r.scouts++
	}
	r.setTimer()
}

// mayScout reports whether this dial is to send scouts. r is locked.
func (r *race) mayScout() bool {
	if r.hub.usual.upSince(r.began) { // the server answers dials that began later
		return false
	}
	if !r.sends {
		r.sends = r.hub.scouting.CompareAndSwap(false, true)
	}
	return r.sends
}

// end has the outcome known, and ends what runs still. r is locked.
func (r *race) end() {
	r.over = true
	r.timer.Stop()
	for _, d := range r.all {
		if !d.ended {
			d.cancel(errLost)
		}
	}
	close(r.done)
}

// stop ends the race, if it has not, and waits for what runs.
func (r *race) stop() {
	r.mu.Lock()
	if !r.over {
		r.end()
	}
	if r.sends {
		r.sends = false
		r.hub.scouting.Store(false)
	}
	r.mu.Unlock()
	r.lanes.Wait()
}

// outcome returns the winner, or the attempt that came furthest, and its error.
// It notes which addresses did not answer. Nothing runs any more.
func (r *race) outcome() (*dialing, error) {
	best := r.winner
	if best == nil {
		best = r.answered
	}
	if best == nil {
		best = r.first
		for _, d := range r.all {
			if reached(d.phase) > reached(best.phase) {
				best = d
			}
		}
	}
	if len(r.known) > 1 || r.winner != nil && r.winner.remote.Load() != nil {
		r.hub.addresses.note(r)
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
