package resource

import (
	"sync/atomic"
	"unsafe"
)

// permit is where a resource keeps the Done of the Admission that let its holder
// in. Of two copies of a lease that are released at once, the one that is too
// late may read it while the next holder's is written, so both are atomic; and
// who was not too late has read it before the lease ended, so its own.
//
// A Done that was used is not cleared, which would cost an exchange each way: it
// stays until the next one, and most Admissions give the same one each time.
type permit struct {
	p unsafe.Pointer // a Done: func values are single pointers
}

func (c *permit) load() Done {
	p := atomic.LoadPointer(&c.p)
	return *(*Done)(unsafe.Pointer(&p))
}

func (c *permit) store(d Done) {
	if p := *(*unsafe.Pointer)(unsafe.Pointer(&d)); atomic.LoadPointer(&c.p) != p {
		atomic.StorePointer(&c.p, p)
	}
}
