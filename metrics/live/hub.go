package live

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"
)

// viewer is one who watches. Only the newest frame waits for one who is slow.
type viewer struct {
	view  view
	next  chan []byte
	gone  chan struct{} // closed when its place was given to another
	since time.Time     // when it came
	turn  uint64        // the viewers before it have smaller ones
	last  *update       // guarded by Page.mu
}

var (
	errClosed = errors.New("the page is closed")
	errFull   = errors.New("too many watch already")
	errViews  = errors.New("too many look at different things already")
)

// collector updates everyone while somebody watches.
type collector struct {
	stop chan struct{}
	kick chan struct{} // somebody came
}

// join makes v a viewer, and starts the collector for the first.
func (p *Page) join(v *viewer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return errClosed
	}
	if err := p.makeRoom(v); err != nil {
		return err
	}
	p.turns++
	v.since, v.turn = time.Now(), p.turns
	p.viewers[v] = struct{}{}
	if p.now != nil {
		select {
		case p.now.kick <- struct{}{}:
		default: // it will come for others, and see v too
		}
		return nil
	}
	c := &collector{stop: make(chan struct{}), kick: make(chan struct{}, 1)}
	p.now = c
	p.collectors.Go(func() { p.collect(c) })
	return nil
}

// makeRoom sees to it that v may be a viewer. There are so many places, and so
// many different views, and a viewer that never reads, whose frames fit into the
// buffers of the network, keeps its own for as long as it likes. So one that has had its place for
// longest gives it up to v, after leastStay; a browser comes back by itself. The
// page is locked.
func (p *Page) makeRoom(v *viewer) error {
	views := p.views()
	full, over := len(p.viewers) >= maxViewers, views[v.view] == 0 && len(views) >= maxViews
	if !full && !over {
		return nil
	}
	var oldest *viewer
	for o := range p.viewers {
		if (!over || views[o.view] == 1) && (oldest == nil || o.turn < oldest.turn) {
			oldest = o
		}
	}
	if oldest == nil || time.Since(oldest.since) < leastStay {
		if full {
			return errFull
		}
		return errViews
	}
	delete(p.viewers, oldest)
	close(oldest.gone)
	return nil
}

// views is how many look at what. The page is locked.
func (p *Page) views() map[view]int {
	all := make(map[view]int)
	for v := range p.viewers {
		all[v.view]++
	}
	return all
}

// leave lets the collector rest after the last.
func (p *Page) leave(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.viewers, v)
	if len(p.viewers) == 0 {
		p.rest()
	}
}

// rest ends the collector. The page is locked.
func (p *Page) rest() {
	if p.now != nil {
		close(p.now.stop)
		p.now = nil
	}
}

// collect updates everyone until c is stopped, one update in Config.Every. All that
// it does is charged: after work that took d it rests for idleShare-1 times as
// long, so that however many pools there are, however slow, and whoever comes and
// goes, no more of a core goes into it. A viewer who comes in between is shown the
// last update: at once if others look at the same, else when the work for others
// is paid for.
func (p *Page) collect(c *collector) {
	select {
	case p.turn <- struct{}{}: // one at a time, should a meter hang
		defer func() { <-p.turn }()
	case <-c.stop:
		return
	}
	every := p.cfg.Every
	for {
		begun := time.Now()
		u := p.update()
		u.every = every // as far as it is known
		if c.stopped() {
			return // others may have a newer one
		}
		p.deliver(u)
		took := time.Since(begun)
		every = max(p.cfg.Every, idleShare*took)
		if !p.welcome(c, u, begun.Add(every), begun.Add(idleShare*took)) {
			return
		}
	}
}

// welcome shows u to those who come until due, with no work before paid, and
// reports whether c goes on.
func (p *Page) welcome(c *collector, u *update, due, paid time.Time) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		newcomer := p.deliverKnown(u)
		now := time.Now()
		ready := !now.Before(paid)
		switch {
		case ready && !now.Before(due):
			return true
		case ready && newcomer != nil:
			p.give(u, newcomer)
			paid = now.Add(idleShare * time.Since(now))
			continue
		}
		wake := due
		if newcomer != nil || paid.After(due) {
			wake = paid
		}
		timer.Reset(wake.Sub(now))
		select {
		case <-c.stop:
			return false
		case <-timer.C:
		case <-c.kick:
		}
	}
}

func (c *collector) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// deliver gives u to everybody.
func (p *Page) deliver(u *update) {
	all := p.without(u)
	for _, v := range all { // first, so that a pool has the same figures for all of them
		u.lists(v.view.pool)
	}
	for _, v := range all {
		p.give(u, v)
	}
}

// deliverKnown gives u to those who have not had it and look at what others look
// at. It returns the first of the rest, nil if there is none.
func (p *Page) deliverKnown(u *update) (first *viewer) {
	for _, v := range p.without(u) {
		if u.knows(v.view) {
			p.give(u, v)
		} else if first == nil {
			first = v
		}
	}
	return first
}

// give shows u to v.
func (p *Page) give(u *update, v *viewer) {
	p.mu.Lock()
	u.limit = min(p.cfg.Limit, maxRows/max(1, len(p.views())))
	v.last = u
	p.mu.Unlock()
	b := u.frame(v.view)
	select {
	case <-v.next: // it was too slow for this one
	default:
	}
	select {
	case v.next <- b:
	default:
	}
}

// without lists those who have not had u, who came first in front.
func (p *Page) without(u *update) (all []*viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for v := range p.viewers {
		if v.last != u {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b *viewer) int { return cmp.Compare(a.turn, b.turn) })
	return all
}

// knows reports whether there is a frame for that view.
func (u *update) knows(v view) bool {
	_, ok := u.frames[v.base()]
	return ok
}

// base is the view without what makes no difference to it.
func (v view) base() view {
	if v.pool == "" {
		return view{find: v.find}
	}
	return v
}

// frame is the update as events, for everyone with that view.
func (u *update) frame(v view) []byte {
	v = v.base()
	if b, ok := u.frames[v]; ok {
		return b
	}
	if len(u.frames) > maxViews { // of some who have gone
		clear(u.frames)
	}
	var b []byte
	if v.pool == "" {
		g, _ := encode(u.pools(v.find)) // numbers, texts and a time of this page's: it cannot fail
		b = event("pools", g)
	} else {
		one := event("pool", u.pool(v)) // before what all have in common: it may ask for lists
		b = append(slices.Clip(u.frame(view{})), one...)
	}
	u.frames[v] = b
	return b
}

// event is one server-sent event. JSON has no line break.
func event(name string, data []byte) []byte {
	return bytes.Join([][]byte{[]byte("event: " + name + "\ndata: "), data, []byte("\n\n")}, nil)
}

// events streams to one viewer, until the request ends, the page is closed, or
// the viewer does not take a frame for as long as slowest.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	v, err := parseView(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // of nginx: pass it on as it comes
	if r.Method == http.MethodHead {
		return
	}
	me := &viewer{view: v.base(), next: make(chan []byte, 1), gone: make(chan struct{})}
	if err := p.join(me); err != nil {
		h.Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer p.leave(me)
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close") // the last deadline stays on it, and a browser has six
	}
	rc := http.NewResponseController(w)
	if err := rc.Flush(); errors.Is(err, http.ErrNotSupported) {
		http.Error(w, "nothing can be streamed here: what wraps the ResponseWriter has no Flush", http.StatusNotImplemented)
		return
	}
	// The server's own deadlines are for answers that end. A writer that knows
	// none keeps those that it has. In HTTP/2 a deadline ends the stream even
	// while nothing is written, so there is none between two frames.
	_ = rc.SetReadDeadline(time.Time{})
	limit := func() { _ = rc.SetWriteDeadline(time.Now().Add(slowest)) }
	defer limit() // for the end of the answer
	send := func(b []byte) bool {
		limit()
		if _, err := w.Write(b); err != nil || rc.Flush() != nil {
			return false
		}
		_ = rc.SetWriteDeadline(time.Time{})
		return true
	}
	if !send([]byte("retry: 1000\n\n")) {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-p.closed:
			return
		case <-me.gone:
			return
		case b := <-me.next:
			if !send(b) {
				return
			}
		}
	}
}
