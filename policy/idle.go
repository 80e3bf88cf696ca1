package policy

import (
	"time"

	"github.com/respool/respool/resource"
)

// MaxIdle evicts resources that have been idle for d, when they are about to be
// lent and in the sweep. It is for what the other side drops after a while
// unused: all idle ones may go at once, and those that Config.MinIdle keeps ready
// too, in whose place others are made: in a quiet hour all of them, each d. The
// idleTimeout of HikariCP and the MaxConnIdleTime of pgxpool, which keep a minimum,
// are [SoftIdle]. Its cause is [ErrMaxIdle]. Panics if d is not positive.
func MaxIdle(d time.Duration) resource.Eviction {
	var m misuse
	m.unless(d > 0, "the idle time is %v, not more than 0", d)
	m.report("MaxIdle")
	return &maxIdle{d}
}

// All evictions are pointers: called through the interface, a method of a value
// would first copy the Info once more.
type maxIdle struct{ d time.Duration }

func (m *maxIdle) Evict(i resource.Info) error {
	if i.Idle >= m.d {
		return ErrMaxIdle
	}
	return nil
}

// SoftIdle evicts resources that have been idle for d, in the sweep, while more
// than floor are idle: of each 64 that it looks at together those idle longest
// go, floor stay, and none that a caller has found is taken from him. It gives
// back what a burst of work has left. With Config.MinIdle as the floor it is what
// an idle timeout usually is, such as the idleTimeout of HikariCP with its
// minimumIdle; a floor below MinIdle ends what is then made anew. Together with a
// larger [MaxIdle], by [AnyOf], it makes the usual pair of a soft and a hard limit.
// Its cause is [ErrSoftIdle]. Panics if d is not positive or floor negative.
func SoftIdle(d time.Duration, floor int) resource.Eviction {
	var m misuse
	m.unless(d > 0, "the idle time is %v, not more than 0", d)
	m.unless(floor >= 0, "the floor is %d, not at least 0", floor)
	m.report("SoftIdle")
	return &softIdle{d, floor}
}

type softIdle struct {
	d     time.Duration
	floor int
}

func (s *softIdle) Evict(i resource.Info) error {
	if i.Idle >= s.d && i.Idlers > s.floor { // outside the sweep Idlers is 0
		return ErrSoftIdle
	}
	return nil
}
