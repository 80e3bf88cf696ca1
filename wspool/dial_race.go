package wspool

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

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
