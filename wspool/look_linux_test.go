package wspool

import "testing"

// Before its first write a lease looks whether something has arrived, unless its acquire has
// looked within lookAge and the connection is as it was then.
func TestLookAge(t *testing.T) {
	p := belledPool(t, false, Config{}, drainBelled)
	c := belledConn(t, p)
	defer c.Release()
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looked == 0 {
		t.Error("the acquire has looked, and has not noted when")
	}
	now := l.hub.clock.Now()
	if l.looked = now - int64(lookAge); c.lookedLocked() {
		t.Error("a look counts after lookAge")
	}
	if l.looked = now + int64(belled); !c.lookedLocked() {
		t.Error("a look does not count within lookAge")
	}
	reader := l.watch.reader
	l.watch.reader = watcherReader
	if c.lookedLocked() {
		t.Error("a look counts though a watcher has begun to read since")
	}
	l.watch.reader = reader
}
