package wsconn

import "sync"

// writeBuffers maps a buffer size to its *sync.Pool. One pool per size is needed
// because gorilla uses a pooled buffer without checking its size.
var writeBuffers sync.Map

// WriteBuffers returns the pool of write buffers of that size, shared by all
// connections of the process.
func WriteBuffers(size int) *sync.Pool {
	p, ok := writeBuffers.Load(size)
	if !ok {
		p, _ = writeBuffers.LoadOrStore(size, new(sync.Pool))
	}
	return p.(*sync.Pool)
}
