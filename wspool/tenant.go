package wspool

import (
	"runtime"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// tenant is what a connection knows of the lease that runs. The caller has it
// behind a [Conn]; nothing that the pool holds leads to that, so that a Conn which
// its caller has lost can be found.
type tenant struct {
	lease    resource.Lease[*link] // none if detached
	link     *link
	detached bool // for OnConnect or a Health: there is no lease
	early    bool // for OnConnect: Exchange does not hold
	ended    atomic.Bool
	lost     runtime.Cleanup // calls dropped, if Config.Reclaim is set

	// Guarded by link.mu.
	running  int  // reads and writes that have not returned
	out, in  int  // messages written, and begun to be read
	awaiting bool // none has been read since the last was written
	writing  bool // a writer is open
	stale    bool // it has failed with ErrStale
	gaveUp   bool // link.taint is that a read was given up before a message began
	drained  bool // Drain has dropped messages, which are not among in
}

// expects reports whether a message that comes in now can be for c. The link is
// locked.
func (c *tenant) expects() bool {
	return c.out > 0 || c.detached || c.link.hub.cfg.Exchange == Unpaired
}

// newConn returns a Conn of l for its next tenant.
func newConn(l *link) *Conn {
	if l.hub.cfg.Reclaim {
		return &Conn{&tenant{link: l}}
	}
	both := new(struct {
		conn   Conn
		tenant tenant
	}) // in one piece, since neither is ever looked for without the other
	both.tenant.link = l
	both.conn.tenant = &both.tenant
	return &both.conn
}

// end ends the lease once, and looks for c no more.
func (c *Conn) end(err error, destroy bool, give func(resource.Lease[*link])) {
	defer runtime.KeepAlive(c)
	c.lost.Stop()
	c.tenant.end(err, destroy, give)
}
