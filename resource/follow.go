package resource

// SizeFollower is what an [Admission] may implement besides Admit, where what it
// admits follows from how many resources the pool may have: so [Pool.Resize] is
// not undone by a limit that was set for the size before.
//
// FollowSize is called for the Admission, the MakeGate and the Quota of a pool
// whose maximum was changed, with the maximum before and now, before Resize
// returns. The pool makes one call at a time, in the order of the changes, and holds no lock
// meanwhile. Changes that were made while a call ran may come as one. A panic in
// it is contained.
type SizeFollower interface {
	FollowSize(from, to int)
}

// sizeNews is what the policies that follow the maximum know of it. Its user holds
// the pool's lock.
type sizeNews struct {
	told    int  // the maximum that they know
	telling bool // a goroutine tells them
}

// next returns the change to tell, if there is one and no other goroutine tells.
func (n *sizeNews) next(max int) (from int, ok bool) {
	if n.telling || n.told == max {
		return 0, false
	}
	from = n.told
	n.told, n.telling = max, true
	return from, true
}

// tellSize tells the policies that follow the maximum how it was changed. A Resize
// at the same time leaves its change to the goroutine that tells already, so that
// the last call has the last maximum.
func (p *Pool[T]) tellSize() {
	for {
		p.lock()
		max := p.cap.max
		from, ok := p.size.next(max)
		if ok {
			p.busy++
		}
		p.unlock()
		if !ok {
			return
		}
		for _, a := range []Admission{p.cfg.Admission, p.cfg.MakeGate, p.cfg.Quota} {
			if f, follows := a.(SizeFollower); follows {
				_ = p.guard.isolate("FollowSize", func() { f.FollowSize(from, max) })
			}
		}
		p.lock()
		p.size.telling = false
		p.busy--
		p.unlock()
	}
}
