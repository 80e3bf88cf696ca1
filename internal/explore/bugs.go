package explore

// Bugs are the planted bugs: single places of the protocol that are wrong. A test shows that a scene
// finds each.
var Bugs = []Bug{
	// internal/claim: the word.
	{"Take without compare-and-swap", "word-take-return-claim", Edit{"internal/claim/claim.go", `	idle = int64((uint64(tick) - v>>tickShift) & tickMask)
	return gen, idle, w.v.CompareAndSwap(v, pack(gen, tick, leased|parked))`, `	idle = int64((uint64(tick) - v>>tickShift) & tickMask)
	w.v.Store(pack(gen, tick, leased|parked))
	return gen, idle, true`}},
	{"Take does not count the lease", "word-stale", Edit{"internal/claim/claim.go", `	gen = (v>>genShift + 1) & genMask
	idle = int64((uint64(tick) - v>>tickShift) & tickMask)
	return`, `	gen = v >> genShift & genMask
	idle = int64((uint64(tick) - v>>tickShift) & tickMask)
	return`}},
	{"Claim without compare-and-swap", "word-take-return-claim", Edit{"internal/claim/claim.go", `		if w.v.CompareAndSwap(v, v&^open) {`, `		w.v.Store(v &^ open)
		if true {`}},
	{"End without compare-and-swap", "word-end", Edit{"internal/claim/claim.go", `		if w.v.CompareAndSwap(v, v&^leased) {`, `		w.v.Store(v &^ leased)
		if true {`}},
	{"End without the lease number", "stale-release", Edit{"internal/claim/claim.go", `		if v&leased == 0 || !is(v, gen) {
			return false
		}
		if w.v.CompareAndSwap(v, v&^leased)`, `		if v&leased == 0 {
			return false
		}
		if w.v.CompareAndSwap(v, v&^leased)`}},
	{"Return without compare-and-swap", "word-stale", Edit{"internal/claim/claim.go", `	return w.v.CompareAndSwap(v, pack(gen, tick, open|parked))`, `	w.v.Store(pack(gen, tick, open|parked))
	return true`}},
	{"Return without the lease number", "stale-release", Edit{"internal/claim/claim.go", `	if v&flags != leased|parked || !is(v, gen) {`, `	if v&flags != leased|parked {`}},
	{"Return ignores that the resource is invalidated", "word-invalidate", Edit{"internal/claim/claim.go", `	if v&flags != leased|parked || !is(v, gen) {`, `	if v&(leased|parked) != leased|parked || !is(v, gen) {`}},
	{"Invalidate in two steps", "word-invalidate", Edit{"internal/claim/claim.go", `w.v.Or(invalidated)`, `w.v.Store(w.v.Load() | invalidated)`}},
	{"Lend does not count the lease", "stale-release", Edit{"internal/claim/claim.go", `	v := w.mine("lend")
	gen := (v>>genShift + 1) & genMask`, `	v := w.mine("lend")
	gen := v >> genShift & genMask`}},

	// resource: the hit path against the slow path.
	{"a release does not look at slowPath again", "release-wait", Edit{"resource/lease.go", `		if l.e.word.Return(l.n, tick) {
			if p.slowPath.Load() != 0 {`, `		if l.e.word.Return(l.n, tick) {
			if false {`}},
	{"a release with a permit does not look at slowPath again", "permit-wait", Edit{"resource/lease.go", `	if p.slowPath.Load() != 0 {
		b := p.settle(e)
		p.policies.giveBack(done, Outcome{Verdict: OK})`, `	if false {
		b := p.settle(e)
		p.policies.giveBack(done, Outcome{Verdict: OK})`}},
	{"a waiter does not set slowPath", "release-wait", Edit{"resource/dispatch.go", `	if p.waiters.n > 0 || p.closed ||`, `	if p.closed ||`}},
	{"a waiter looks at the local slots before it sets slowPath", "release-wait", Edit{"resource/acquire.go", `	p.setSlowPathLocked()
	p.idle.flushSlots(0)
	p.serveAndGrowLocked()`, `	p.idle.flushSlots(0)
	p.setSlowPathLocked()
	p.serveAndGrowLocked()`}},
	{"a waiter does not look at the local slots", "release-wait", Edit{"resource/acquire.go", `	p.setSlowPathLocked()
	p.idle.flushSlots(0)
	p.serveAndGrowLocked()`, `	p.setSlowPathLocked()
	p.serveAndGrowLocked()`}},
	{"settle does not claim the resource", "try-settle", Edit{"resource/lease.go", `	if p.slots[e.slot].e.Load() == e && p.idle.claimSlot(e.slot) == e {`, `	if p.slots[e.slot].e.Load() == e {`}},
	{"settle serves no waiter if another goroutine has moved the resource", "all-idle", Edit{"resource/lease.go", `	} else {
		p.serveAndGrowLocked()
	}
	b := p.handOff.take()`, `	}
	b := p.handOff.take()`}},
	{"a resource that leaves its slot keeps the mark of it", "release-wait", Edit{"resource/idle.go", `	e.word.Unpark()
	e.loc = moving`, `	e.loc = moving`}},
	{"a waiter that is served stays in the queue", "release-wait", Edit{"resource/dispatch.go", `	p.departLocked(w, now)
	e.granted = now`, `	e.granted = now`}},
	{"of several waiters that are served at once one is woken", "close-waiters", Edit{"resource/waiters.go", `			w.ready <- struct{}{} // likewise
		}
		w = next`, `			w.ready <- struct{}{} // likewise
		}
		_ = next
		w = nil`}},
	{"a canceled waiter does not take over what it was sent", "cancel", Edit{"resource/acquire.go", `			<-w.ready // the goroutine that took it out of the queue is about to send
`, ``}},
	{"a canceled waiter keeps the resource that it was lent", "cancel", Edit{"resource/acquire.go", `		if lease.e != nil {
			lease.drop(nil)
		}
		return s.gaveUp()`, `		return s.gaveUp()`}},

	// resource: the ends of resources.
	{"an invalidation takes a leased resource", "release-invalidate", Edit{"resource/dispatch.go", `	if e.listed() || e.loc == inSlot && e.word.Claim() {
		p.retireLocked(e, cause, why)`, `	if e.listed() || e.loc == inSlot {
		p.retireLocked(e, cause, why)`}},
	{"a Reset leaves the resources in local slots", "release-reset", Edit{"resource/pool.go", `			e.cause, e.fate = cause, fateOther
			e.word.Invalidate()`, `			e.cause, e.fate = cause, fateOther`}},
	{"a Resize looks at the local slots before it sets slowPath", "resize-held", Edit{"resource/pool.go", `	p.setSlowPathLocked()
	if p.cap.over() {`, `	if p.cap.over() {`}},
	{"a free slot does not call for a creation", "release-invalidate", Edit{"resource/life.go", `	p.reaper.ended(p.reaper.running(p.cap.dying))
	p.changed = true`, `	p.reaper.ended(p.reaper.running(p.cap.dying))`}},
	{"a hijacked slot does not call for a creation", "hijack", Edit{"resource/lease.go", `	p.cap.free()
	p.changed = true
	p.unlock()
	p.life.hijack(e.res)`, `	p.cap.free()
	p.unlock()
	p.life.hijack(e.res)`}},
	{"Stats is not answered if it asks while the lock is released", "stats", Edit{"resource/stats.go", `		if m.asked.Load() == nil || !m.mu.TryLock() {
			return
		}`, `		return`}},

	// resource: permits.
	{"the permit is read after the lease has ended", "permit-wait", Edit{"resource/lease.go", `	done := e.done.load() // before another lease begins
	if !e.word.Return(l.n, tick) {
		l.finish(nil, Outcome{Verdict: OK})
		return
	}`, `	if !e.word.Return(l.n, tick) {
		l.finish(nil, Outcome{Verdict: OK})
		return
	}
	done := e.done.load()`}},
	{"a permit is given back twice", "permit-wait", Edit{"resource/lease.go", `	p.policies.giveBack(done, o)
	if b != nil {`, `	p.policies.giveBack(done, o)
	p.policies.giveBack(done, o)
	if b != nil {`}},
	{"a hijacked slot is free before its permit", "quota-hijack", Edit{"resource/lease.go", `	defer l.forget()
	defer p.policies.giveBack(e.quota, Outcome{Verdict: OK})
	defer p.policies.giveBack(done, Outcome{Verdict: OK})`, `	defer p.policies.giveBack(e.quota, Outcome{Verdict: OK})
	defer p.policies.giveBack(done, Outcome{Verdict: OK})
	defer l.forget()`}},

	{"a destroyed resource's slot is free before its permit", "quota-discard", Edit{"resource/life.go", `	p.policies.giveBackIsolated(e.quota, Outcome{Verdict: OK})
	p.life.leave(e.res.shard)
	op := reapOp[T]{p}
	if p.cfg.Trace.Destroyed == nil {
		op.ended(slotFree)
		return
	}`, `	p.life.leave(e.res.shard)
	op := reapOp[T]{p}
	if p.cfg.Trace.Destroyed == nil {
		op.ended(slotFree)
		p.policies.giveBackIsolated(e.quota, Outcome{Verdict: OK})
		return
	}`}},

	{"WithinDeadline counts below its limit without compare-and-swap", "deadline-permit", Edit{"policy/deadline.go", `			if l.inFlight.CompareAndSwap(n, n+1) {
				return l.done, nil
			}
			continue`, `			l.inFlight.Store(n + 1)
			return l.done, nil`}},
	{"WithinDeadline counts at its limit without compare-and-swap", "deadline-permit", Edit{"policy/deadline.go", `				return nil, reject("deadline", wait, ErrTooLate)
			}
		}
		if l.inFlight.CompareAndSwap(n, n+1) {`, `				return nil, reject("deadline", wait, ErrTooLate)
			}
		}
		if l.inFlight.Store(n + 1); true {`}},

	// resource: a caller in several lines.
	{"an acquire counts itself and does not look whether its key is being forgotten", "keyed-forget", Edit{"resource/keyed.go", `		if !s.over.Load() {
			return true // forget`, `		if true {
			return true // forget`}},
	{"a key is forgotten under an acquire that has counted itself", "keyed-forget", Edit{"resource/keyed.go", `	if s.over.Store(true); s.inside.Load() > 0 {`,
		`	if s.over.Store(true); false {`}},
	{"forget looks for acquires before it says so", "keyed-forget", Edit{"resource/keyed.go", `	if s.over.Store(true); s.inside.Load() > 0 {
		s.over.Store(false)
		return
	}`, `	if s.inside.Load() > 0 {
		return
	}
	s.over.Store(true)`}},
	{"a waiter that is dropped is not marked", "any-twice", Edit{"resource/dispatch.go", `		w.passedOver = true
		p.departLocked(w, now)
		w, more = p.waiters.first(r, now)`, `		p.departLocked(w, now)
		w, more = p.waiters.first(r, now)`}},
	{"a caller that was served leaves only the line that served it", "any-twice", Edit{"resource/any.go", `				op.leave()
				op.serve(l)`, `				op.left = true
				op.serve(l)`}},
	{"a caller that gives up ignores what a line has sent", "any-cancel", Edit{"resource/any.go", `		} else if lease.e != nil {
			lease.drop(nil)
		}
	}
}

// ask`, `		} else {
			_ = lease
		}
	}
}

// ask`}},

	// internal/budget: the total of several keys.
	{"Settle does not look at pending again", "keyed-give-way", Edit{"internal/budget/settle.go", `		b.arbiter.Unlock()
	}
}

// continueSettling`, `		b.arbiter.Unlock()
		return
	}
}

// continueSettling`}},
	{"pending is cleared after the pass", "keyed-give-way", Edit{"internal/budget/settle.go", `	for steps++; steps < maxSteps && b.step(); steps++ {
	}
	b.mu.Lock()
	b.unfinished`, `	for steps++; steps < maxSteps && b.step(); steps++ {
	}
	b.pending.Store(false)
	b.mu.Lock()
	b.unfinished`}},
	{"an offer of a member that had nothing idle is ignored", "keyed-give-way", Edit{"internal/budget/share.go", `	if _, noIdle := b.noIdle[s]; noIdle {`, `	if false {
		noIdle := true
		_ = noIdle`}},
	{"a freed slot does not have the budget settle", "keyed-give-way", Edit{"internal/budget/share.go", `	if b.needed > 0 || b.scarce.Load() {
		b.pending.Store(true)
	}`, `	if false {
		b.pending.Store(true)
	}`}},
	{"a goroutine that continues a Settle does not look again", "budget-continue", Edit{"internal/budget/settle.go", `	b.arbiter.Unlock()
	b.Settle()`, `	b.arbiter.Unlock()`}},
	{"a claim does not have the budget settle", "keyed-give-way", Edit{"internal/budget/share.go", `	b.updateLocked(s)
	b.pending.Store(true)
}

// holdLocked`, `	b.updateLocked(s)
}

// holdLocked`}},

	// wspool: the watcher against a lease.
	{"a lease begins although a message has arrived", "lease-twice", Edit{"wspool/link.go", `	if !l.lookLocked() {
		return false
	}
	l.looked = began`, `	l.looked = began`}},
	{"what the kernel holds does not count as arrived", "watch-close", Edit{"wspool/internal/wsconn/rawconn.go", ` && (w.socket == nil || w.socket.empty())
}

// Readable`, `
}

// Readable`}},
	{"a lease does not look before its first write", "watch-message", Edit{"wspool/write.go", `	if !c.expects() && !c.lookedLocked() && !l.lookLocked() {
		return errNotYet
	}
`, ``}},
	{"the watcher gives a message to a lease that has written nothing", "watch-message", Edit{"wspool/watch.go", `	case l.lease != nil && l.lease.expects():`, `	case l.lease != nil:`}},
	{"the watcher does not tell the lease that its message has begun", "watch-message", Edit{"wspool/watch.go", `		l.hub.monitor.unwatched(&l.node)
	}
	l.signalLocked()`, `		l.hub.monitor.unwatched(&l.node)
	}`}},
	{"the watcher is not stopped before the lease reads", "watch-message", Edit{"wspool/read.go", `	case l.watch.reader == noReader:
		l.disarmLocked()`, `	case l.watch.reader != leaseReader:
		l.disarmLocked()`}},
	{"a tick has a connection watched that is being read", "watch-tick", Edit{"wspool/watch.go", `	if l.watchableLocked() && l.hub.monitor.overdue`, `	if l.end.usable() && l.hub.monitor.overdue`}},

	// wspool/mux: a canceled call against the batch.
	{"the context is not looked at again when a message is added to the batch", "mux-cancel", Edit{"wspool/mux/conn.go", `	if ctx.Err() != nil { // without the lock: it may be a method of the user
		return false
	}
	c.mu.Lock()
	if c.state == ended {`, `	c.mu.Lock()
	if c.state == ended {`}},
	{"the writer stops writing after it has found the batch empty", "mux-cancel", Edit{"wspool/mux/conn.go", `			c.writing = false
			c.unlock(false)
			return
		}
		if i == rounds {`, `			c.unlock(false)
			c.mu.Lock()
			c.writing = false
			c.mu.Unlock()
			return
		}
		if i == rounds {`}},
	{"a canceled call stays in the batch", "mux-cancel", Edit{"wspool/mux/conn.go", `	if c.out.remove(func(p *parcel) bool { return p.id == id }) {
		if e != nil {`, `	if e != nil && e.state == queued {
		if e != nil {`}},
	{"a canceled call that is being sent counts as not sent", "mux-cancel", Edit{"wspool/mux/conn.go", `	k.fate = ErrMayHaveRun
	if !held {`, `	k.fate = ErrNotSent
	if !held {`}},
	{"the slot of a canceled call that was sent is free at once", "mux-cancel", Edit{"wspool/mux/conn.go", `		c.slots.abandon(id, c.client.ticks.Load(), subscribed)
		c.stats.orphaned++`, `		c.slots.release(id)
		c.stats.orphaned++`}},
	{"a canceled caller that reads does not hand the reading over", "mux-cancel", Edit{"wspool/mux/conn.go", `		c.waiters.remove(w)
		c.relayLocked()
		c.unlock(false)`, `		c.waiters.remove(w)
		c.unlock(false)`}},
}
