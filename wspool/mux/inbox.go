package mux

// inbox holds the messages that wait for the user's functions, in the order of arrival. Its
// user serializes the calls.
type inbox struct {
	waiting []incoming
	limit   int
	maxAsks int
	asks    int  // requests that OnRequest answers, or whose answer is not written yet
	serving bool // a goroutine takes messages out
}

// incoming is a message for OnEvent, or for OnRequest.
type incoming struct {
	m   Message
	ask bool
}

// offer adds m, unless too many wait. start says that a goroutine must serve from now on.
func (b *inbox) offer(m incoming) (added, start bool) {
	if len(b.waiting) >= b.limit {
		return false, false
	}
	b.waiting = append(b.waiting, m)
	return true, b.start()
}

// start reports whether a goroutine must begin to serve.
func (b *inbox) start() bool {
	if b.serving || len(b.waiting) == 0 || b.waiting[0].ask && b.asks >= b.maxAsks {
		return false
	}
	b.serving = true
	return true
}

// next takes out the next message, for the goroutine that serves. If it returns false that
// must stop.
func (b *inbox) next() (m incoming, ok bool) {
	b.serving = false
	if !b.start() {
		return m, false
	}
	m = b.waiting[0]
	b.waiting[0] = incoming{}
	if b.waiting = b.waiting[1:]; len(b.waiting) == 0 {
		b.waiting = nil
	}
	if m.ask {
		b.asks++
	}
	return m, true
}

// answered notes that a request needs nothing more, and reports whether a goroutine must
// begin to serve.
func (b *inbox) answered() bool {
	b.asks--
	return b.start()
}
