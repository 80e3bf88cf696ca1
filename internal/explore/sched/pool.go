package sched

// Pool holds values for reuse. A goroutine gets back what it put there itself, the last first, as is
// usual for sync.Pool; so a Pool orders nothing between goroutines.
type Pool struct{ New func() any }

// Get takes out a value; nil, or a new one, if there is none.
func (p *Pool) Get() any {
	if e := live(); e != nil && e.cur != nil {
		if some := e.cur.caches[p]; len(some) > 0 {
			v := some[len(some)-1]
			e.cur.caches[p] = some[:len(some)-1]
			return v
		}
	}
	if p.New != nil {
		return p.New()
	}
	return nil
}

// Put adds a value.
func (p *Pool) Put(v any) {
	if e := live(); e != nil && v != nil && e.cur != nil {
		if e.cur.caches == nil {
			e.cur.caches = make(map[*Pool][]any)
		}
		e.cur.caches[p] = append(e.cur.caches[p], v)
	}
}
