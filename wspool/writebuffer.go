package wspool

import "sync"

// bufferPools has a *sync.Pool for each Config.WriteFrameSize: gorilla uses a
// buffer of a pool as it finds it.
var bufferPools sync.Map

// writeBuffers is where connections have buffers for frames of that size from.
func writeBuffers(size int) *sync.Pool {
	p, ok := bufferPools.Load(size)
	if !ok {
		p, _ = bufferPools.LoadOrStore(size, new(sync.Pool))
	}
	return p.(*sync.Pool)
}
