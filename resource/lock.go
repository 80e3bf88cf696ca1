package resource

// lock and unlock bracket every slow path. lock counts callers who meet; unlock
// sets slowPath as things stand and wakes those who were served meanwhile.
func (p *Pool[T]) lock() {
	if !p.mu.TryLock() {
		p.mu.Lock()
		p.idle.meet()
	}
}

func (p *Pool[T]) unlock() {
	p.setSlowPath()
	if p.sampler.begins {
		p.sampler.judge(&p.idle, p.leased(), p.cap.max, false)
	}
	if p.more && !p.working {
		p.working = true
		p.busy++
		go p.work()
	}
	arrange := queueOp[T]{p}.pending()
	if p.shared != nil {
		memberOf(p).offer()
	}
	ends := p.closed && !p.over && !arrange && p.cap.live == 0 && p.maker.lost == 0 && p.busy == 0
	if ends {
		p.over = true
		close(p.drained)
	}
	if arrange && p.shared != nil {
		// Whoever settles the total must not wait for a Queue.
		arrange = false
		p.busy++
		go func() {
			defer p.unbusy()
			queueOp[T]{p}.run()
		}()
	}
	woken := p.waiters.takeWoken()
	p.mu.Unlock()
	wakeAll(woken)
	if arrange {
		queueOp[T]{p}.run()
	}
	if p.shared != nil {
		p.shared.budget.Settle()
		if ends {
			go p.shared.drained(p)
		}
	}
}

// overfull is the bit of slowPath that says that the pool is closed, or has more
// than its maximum.
const overfull = 2

func (p *Pool[T]) setSlowPath() {
	var d uint32
	if p.waiters.n > 0 || p.closed || p.cap.over() || !p.ticking || p.cap.scarce() {
		d = 1
	}
	if p.closed || p.cap.over() {
		d |= overfull
	}
	old := p.slowPath.Load()
	if d |= old & timeNext; old != d {
		p.slowPath.Store(d)
	}
}
