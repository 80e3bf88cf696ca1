package wspool

import (
	"sync"

	"github.com/respool/respool/resource"
)

// roster is the connections that there are, of all pools that share it, from their
// dial to the end of their closing.
type roster struct {
	mu    sync.Mutex
	links map[*link]struct{}
	over  bool // CloseNow was called
}

// add adds a new link, which is not shared yet.
func (r *roster) add(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.links == nil {
		r.links = make(map[*link]struct{})
	}
	r.links[l] = struct{}{}
	l.cut = r.over
}

func (r *roster) remove(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, l)
}

// all returns those that there are now.
func (r *roster) all() []*link {
	r.mu.Lock()
	defer r.mu.Unlock()
	links := make([]*link, 0, len(r.links))
	for l := range r.links {
		links = append(links, l)
	}
	return links
}

// cutOff has all be closed without a farewell when their time comes, and at once
// those that are being closed.
func (r *roster) cutOff() {
	for _, l := range r.all() {
		l.cutOff()
	}
}

// endNow ends all: leases too, whose holders hear so from [ErrReleased].
func (r *roster) endNow() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	for _, l := range r.all() {
		l.cutOff()
		l.endNow(resource.ErrClosed)
	}
}

// cutOff has l closed without a farewell, at once if it is being closed.
func (l *link) cutOff() {
	l.mu.Lock()
	l.cut = true
	giveUp := l.giveUp
	l.mu.Unlock()
	if giveUp != nil {
		giveUp()
	}
}

// endNow takes l out of use, and ends its lease.
func (l *link) endNow(cause error) {
	l.mu.Lock()
	c := l.tenant
	if c == nil || c.detached {
		l.closing = true // nobody is lent it any more
		l.mu.Unlock()
		l.fail(cause)
		return
	}
	l.mu.Unlock()
	c.end(cause, true, func(lease resource.Lease[*link]) { lease.Discard(cause) })
}
