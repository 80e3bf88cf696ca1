package live

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"
)

// viewer is an open stream. If it is slow, the newest frame replaces one that it has
// not taken.
type viewer struct {
	view  view
	next  chan []byte
	gone  chan struct{} // closed when the viewer is dropped for another viewer
	since time.Time     // when it joined
	turn  uint64        // ordinal of the viewer, starting at 1
	last  *update       // guarded by Page.mu
}

var (
	errClosed = errors.New("the page is closed")
	errFull   = errors.New("too many pages are open")
	errViews  = errors.New("too many different views are open")
)

// collector updates all viewers while there are any.
type collector struct {
	stop chan struct{}
	kick chan struct{} // a viewer has joined
}

// join makes v a viewer, and starts the collector for the first.
func (p *Page) join(v *viewer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return errClosed
	}
	if err := p.makeRoomLocked(v); err != nil {
		return err
	}
	p.turns++
	v.since, v.turn = time.Now(), p.turns
	p.viewers[v] = struct{}{}
	if p.now != nil {
		select {
		case p.now.kick <- struct{}{}:
		default: // a kick is pending, and v will be seen with it
		}
		return nil
	}
	c := &collector{stop: make(chan struct{}), kick: make(chan struct{}, 1)}
	p.now = c
	p.collectors.Go(func() { p.collect(c) })
	return nil
}

// makeRoomLocked frees a position for v, or returns why there is none: there are at most
// maxViewers viewers and maxViews different views. A viewer that never reads is not
// found by its writes while the buffers of the network take its frames, so the
// viewer that came first is dropped for v once it has stayed for leastStay; its
// browser reconnects.
func (p *Page) makeRoomLocked(v *viewer) error {
	views := p.viewsLocked()
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

// viewsLocked returns the number of viewers of each view.
func (p *Page) viewsLocked() map[view]int {
	all := make(map[view]int)
	for v := range p.viewers {
		all[v.view]++
	}
	return all
}

// leave removes v. The last viewer stops the collector.
func (p *Page) leave(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.viewers, v)
	if len(p.viewers) == 0 {
		p.stopLocked()
	}
}

// stopLocked stops the collector.
func (p *Page) stopLocked() {
	if p.now != nil {
		close(p.now.stop)
		p.now = nil
	}
}

// collect updates all viewers until c is stopped, once in Config.Every. After work
// that took d, the first frame of a new viewer included, the collector rests for
// idleShare-1 times d, so it uses at most 1/idleShare of a core, regardless of the
// number and speed of pools and of how often viewers reconnect. A viewer
// that joins between two updates gets the last one: at once if its frame exists,
// otherwise after that rest.
func (p *Page) collect(c *collector) {
	select {
	case p.turn <- struct{}{}: // one at a time, even if a meter hangs
		defer func() { <-p.turn }()
	case <-c.stop:
		return
	}
	every := p.cfg.Every
	for {
		begun := time.Now()
		u := p.update()
		u.every = every // of the update before
		if c.stopped() {
			return // a later collector may have delivered a newer update
		}
		p.deliver(u)
		took := time.Since(begun)
		every = max(p.cfg.Every, idleShare*took)
		if !p.welcome(c, u, begun.Add(every), begun.Add(idleShare*took)) {
			return
		}
	}
}

// welcome gives u to the viewers that join until due, builds no frame before paid,
// and returns false if c was stopped.
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

// deliver gives u to all viewers.
func (p *Page) deliver(u *update) {
	all := p.without(u)
	for _, v := range all { // first, so that all viewers see the same figures of a pool
		u.lists(v.view.pool)
	}
	for _, v := range all {
		p.give(u, v)
	}
}

// deliverKnown gives u to the viewers that lack it and whose frame exists. It
// returns the first of the other viewers that lack it, nil if there is none.
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
	u.limit = min(p.cfg.Limit, maxRows/max(1, len(p.viewsLocked())))
	v.last = u
	p.mu.Unlock()
	b := u.frame(v.view)
	select {
	case <-v.next: // v was too slow for this frame
	default:
	}
	select {
	case v.next <- b:
	default:
	}
}

// without returns the viewers that lack u, in the order in which they joined.
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

// base returns the view without the fields that do not change its frame.
func (v view) base() view {
	if v.pool == "" {
		return view{find: v.find}
	}
	return v
}

// frame returns the update as events, for all viewers with that view.
func (u *update) frame(v view) []byte {
	v = v.base()
	if b, ok := u.frames[v]; ok {
		return b
	}
	if len(u.frames) > maxViews { // viewers have left
		clear(u.frames)
	}
	var b []byte
	if v.pool == "" {
		g, _ := encode(u.pools(v.find)) // cannot fail: numbers, texts and a time
		b = event("pools", g)
	} else {
		one := event("pool", u.pool(v)) // before the overview, since it may ask for lists
		b = append(slices.Clip(u.frame(view{})), one...)
	}
	u.frames[v] = b
	return b
}

// event returns a server-sent event. JSON has no line break.
func event(name string, data []byte) []byte {
	return bytes.Join([][]byte{[]byte("event: " + name + "\ndata: "), data, []byte("\n\n")}, nil)
}

// events streams to one viewer until the request ends, the page is closed, or a write
// takes longer than slowest.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	v, err := parseView(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // for nginx: do not buffer
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
		h.Set("Connection", "close") // a deadline stays on the connection; a browser opens another
	}
	rc := http.NewResponseController(w)
	if err := rc.Flush(); errors.Is(err, http.ErrNotSupported) {
		http.Error(w, "cannot stream: a wrapper of the ResponseWriter has no Flush", http.StatusNotImplemented)
		return
	}
	// The deadlines of the server are for answers that end. A ResponseWriter without
	// deadlines returns an error, which is ignored. In HTTP/2 a deadline ends the
	// stream even while nothing is written, so there is none between two frames.
	_ = rc.SetReadDeadline(time.Time{})
	limit := func() { _ = rc.SetWriteDeadline(time.Now().Add(slowest)) }
	defer limit() // for the end of the response
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
