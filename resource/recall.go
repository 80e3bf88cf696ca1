package resource

// recallChunk is how many resources a recallOp looks at under one hold of the lock (I12).
const recallChunk = 64

// recallOp asks the holders of resources for them: see [Config.Recall].
type recallOp[T any] struct{ p *Pool[T] }

// startLocked looks for leased resources that must not be lent again, or that are too many,
// and asks for them in the background.
func (op recallOp[T]) startLocked() {
	p := op.p
	if p.cfg.Recall == nil || len(p.registry.all) == 0 {
		return
	}
	p.busy++
	go op.walk(len(p.registry.all))
}

// walk asks for resources of the registry before that index. Those that were leased when it
// began are all there still, unless their lease has ended. It asks for those that will end in
// any case first, and then for as many others as are too many besides.
func (op recallOp[T]) walk(all int) {
	p := op.p
	defer p.unbusy()
	asked := 0
	for _, surplus := range []bool{false, true} {
		for from := all; from > 0; {
			p.mu.Lock() // not lock: that would count as contention
			some, first := p.registry.before(from, recallChunk)
			from = first
			for _, e := range some {
				if op.wantsLocked(e, surplus, asked) {
					asked++
				}
			}
			p.unlock()
		}
	}
}

// wantsLocked asks for e, if it will end in any case, or, in the second pass, if more leased
// resources are too many than were asked for. It reports whether its holder has been asked.
func (op recallOp[T]) wantsLocked(e *entry[T], surplus bool, asked int) bool {
	_, cause := e.whyInvalid()
	switch ends := e.invalid() || e.spared != nil; {
	case ends == surplus || surplus && asked >= op.surplusLocked():
		return false
	case surplus:
		cause = ErrResized
	case !e.invalid():
		cause = e.spared
	}
	return op.oneLocked(e, cause)
}

// surplusLocked returns how many leased resources must end after a Resize, if all that are
// idle or being created end first.
func (op recallOp[T]) surplusLocked() int {
	p := op.p
	return p.existLocked() - p.idlersLocked() - p.cap.max
}

// oneLocked asks for e, if it is leased. It reports whether the holder has been asked, now or
// before.
func (op recallOp[T]) oneLocked(e *entry[T], cause error) bool {
	w := e.word.Load()
	if op.p.cfg.Recall == nil || !w.Leased || e.loc == gone {
		return false
	}
	if lease := uint64(w.Leases); e.recalled != lease {
		e.recalled = lease
		op.p.busy++
		go op.call(e, lease, cause)
	}
	return true
}

// call asks the holder of that lease of e. A call on a goroutine of its own delays no other,
// whatever it does (I11).
func (op recallOp[T]) call(e *entry[T], lease uint64, cause error) {
	p := op.p
	defer p.unbusy()
	if e.word.Holds(lease) {
		_ = p.guard.call("Recall", func() { p.cfg.Recall(e.value, cause) })
	}
}

// preemptLocked asks for one leased resource for another key, unless one was asked for and
// has not come back. It prefers the one that was leased first, of a few: the next leases to
// end are those of callers that hold them for a short time.
func (op recallOp[T]) preemptLocked() {
	p := op.p
	if p.cfg.Recall == nil {
		return
	}
	now := p.clock.nowTick()
	var oldest *entry[T]
	longest := int64(-1)
	some, _ := p.registry.before(len(p.registry.all), recallChunk)
	for _, e := range some {
		w := e.word.Load()
		switch {
		case !w.Leased:
			continue
		case e.recalled == uint64(w.Leases):
			return
		}
		if t := w.Ticks(now); t > longest {
			oldest, longest = e, t
		}
	}
	switch {
	case oldest == nil:
	case p.cap.exceeds():
		op.oneLocked(oldest, ErrResized)
	default:
		op.oneLocked(oldest, ErrPreempted)
	}
}
