package sched

// The hash of an operation depends on the goroutine's operations before it and on those by which
// others have changed the object before it. So two executions in which the same operations
// happened in the same order, except for the order of operations that do not depend on each other, have
// equal sums: they are in the same state, and what can follow is the same.

func mix(a, b uint64) uint64 {
	h := a*0x9E3779B97F4A7C15 ^ (b+0x632BE59BD9B4E019)*0xC2B2AE3D27D4EB4F
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	h ^= h >> 29
	h *= 0x94D049BB133111EB
	return h ^ h>>32
}

// advanceHash replaces the hash of a goroutine.
func (e *exec) advanceHash(me *g, hash uint64) {
	e.sum += mix(hash, 3) - mix(me.hash, 3)
	me.hash = hash
}

// touch notes an operation of me on o.
func (e *exec) touch(me *g, o *Obj, write bool) {
	if o.exec != e.number {
		*o = Obj{Busy: o.Busy, exec: e.number, sites: o.sites[:0]}
	}
	e.wake(o, write)
	if write {
		h := mix(mix(me.hash, o.write), o.reads)
		o.write, o.reads = h, 0
		e.advanceHash(me, h)
	} else {
		h := mix(mix(me.hash, o.write), 6)
		o.reads += h
		e.advanceHash(me, h)
	}
	if e.search.trace {
		e.note(o, write)
	}
	// Sites of objects that several goroutines use, and one writes, are conflicts: only before
	// them need a goroutine be preempted.
	o.written = o.written || write
	if o.by == nil {
		o.by = me
	} else if o.by != me {
		o.several = true
	}
	if o.several && o.written {
		if !o.known {
			o.known = true
			for _, at := range o.sites {
				e.search.conflict(at)
			}
		}
		e.search.conflict(At)
		return
	}
	for _, at := range o.sites {
		if at == At {
			return
		}
	}
	o.sites = append(o.sites, At)
}
