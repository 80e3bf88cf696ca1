package claim

// At returns a Word in the pool's hands whose last lease had number gen.
func At(gen uint64) *Word {
	w := new(Word)
	w.v.Store(pack(gen, 0, 0))
	return w
}

// Raw returns the whole word, so that a test can see that nothing changed.
func (w *Word) Raw() uint64 { return w.v.Load() }
