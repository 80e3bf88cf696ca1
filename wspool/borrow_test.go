package wspool_test

import (
	"testing"
	"time"
)

// The server ends all connections at once, among them more than a caller may see
// die that were dialled ahead and never used: the caller gets one that is dialled
// afterwards, whether it comes before the pool has heard of the deaths or when it
// has.
func TestAcquire_ManyUnusedDieAtOnce(t *testing.T) {
	for i := range 20 {
		peer := listen(t, false, echo)
		peer.cfg.MaxSize, peer.cfg.MinIdle = 8, 8
		p := pool(t, peer.cfg)
		for end := time.Now().Add(patience); p.Stats().Idle < 8 || peer.open() < 8; {
			if time.Now().After(end) {
				t.Fatalf("%v", p.Stats())
			}
			time.Sleep(time.Millisecond) // a poll with a bound
		}
		peer.cut() // the pool dials again at once
		if i%2 == 1 {
			for end := time.Now().Add(patience); p.Stats().Doomed < 8; {
				if time.Now().After(end) {
					t.Fatalf("%v", p.Stats())
				}
				time.Sleep(time.Millisecond) // a poll with a bound
			}
		}
		c, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "hello")
		c.Release()
	}
}
