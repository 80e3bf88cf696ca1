package budget

import "time"

// patience is how long, at least, and half as long again at most, what is dying
// counts as on its way back. A place whose thing takes longer to end, as one may
// that hangs, is waited for no more: something else gives way.
const patience = time.Second

// generations is how many there are of what is dying and waited for.
const generations = 3

// ends counts what is dying by its age.
type ends struct {
	young [generations]int // since the last, the last but one, … tick of the clock
	stuck int              // for longer
	clock *time.Timer      // nil: nothing has died yet
	ticks bool             // it is to fire
}

// coming is how many places are on their way back.
func (e *ends) coming() (n int) {
	for _, m := range e.young {
		n += m
	}
	return n
}

// end counts one out. Which it was is not known: the youngest, since most take
// no time, and what is mistaken for stuck costs less than to wait for what is.
func (e *ends) end() {
	for i := range e.young {
		if e.young[i] > 0 {
			e.young[i]--
			return
		}
	}
	e.stuck--
}

// age makes all a tick older.
func (e *ends) age() {
	e.stuck += e.young[generations-1]
	copy(e.young[1:], e.young[:])
	e.young[0] = 0
}

// begin counts n in. b is locked.
func (b *Budget) begin(n int) {
	b.dying.young[0] += n
	if b.dying.ticks {
		return
	}
	b.dying.ticks = true
	if b.dying.clock == nil {
		b.dying.clock = time.AfterFunc(patience/(generations-1), b.tick)
	} else {
		b.dying.clock.Reset(patience / (generations - 1))
	}
}

// tick is called by the clock, while something young is dying. Of a member it is
// known only when the last began to.
func (b *Budget) tick() {
	b.mu.Lock()
	b.dying.age()
	for s := range b.ending {
		if b.now()-s.died >= patience {
			delete(b.ending, s)
			s.stuck = s.dying
			b.place(s)
		}
	}
	if b.dying.ticks = b.dying.coming()+len(b.ending) > 0; b.dying.ticks {
		b.dying.clock.Reset(patience / (generations - 1))
	}
	b.pending.Store(true)
	b.mu.Unlock()
	b.Settle()
}
