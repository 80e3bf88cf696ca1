package live

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"time"
)

// viewer is one who watches. Only the newest frame waits for one who is slow.
type viewer struct {
	view view
	next chan []byte
	last *update // guarded by Page.mu
}

var (
	errClosed = errors.New("the page is closed")
	errFull   = errors.New("too many watch already")
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
	switch {
	case p.shut:
		return errClosed
	case len(p.viewers) >= maxViewers:
		return errFull
	}
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

// collect updates everyone until c is stopped, one update in Config.Every, or in
// idleShare times as long as one takes: however many pools there are, and however
// slow, no more of a core goes into it. Who comes in between is shown the last one.
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
		every = max(p.cfg.Every, idleShare*time.Since(begun))
		next := time.NewTimer(every - time.Since(begun))
		for waiting := true; waiting; {
			select {
			case <-c.stop:
				next.Stop()
				return
			case <-next.C:
				waiting = false
			case <-c.kick:
				p.deliver(u)
			}
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

// deliver gives u to those who have not had it.
func (p *Page) deliver(u *update) {
	all := p.without(u)
	for _, v := range all { // first, so that a pool has the same figures for all of them
		u.lists(v.view.pool)
	}
	for _, v := range all {
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
}

func (p *Page) without(u *update) (all []*viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for v := range p.viewers {
		if v.last != u {
			v.last = u
			all = append(all, v)
		}
	}
	return all
}

// frame is the update as events, for everyone with that view.
func (u *update) frame(v view) []byte {
	if v.pool == "" {
		v = view{find: v.find}
	}
	if b, ok := u.frames[v]; ok {
		return b
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
	me := &viewer{view: v, next: make(chan []byte, 1)}
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
		case b := <-me.next:
			if !send(b) {
				return
			}
		}
	}
}
