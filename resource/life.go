package resource

import (
	"context"
	"math"
	"sync"

	"github.com/jackc/puddle/v2"
)

// life is where resources live: every one is made, counted, hijacked and
// destroyed by puddle. puddle finds a resource that is to be removed by going
// through the list of all that it has, so the time to destroy n of them would
// grow with n². Therefore life has many puddle pools and keeps each of them
// small.
//
// puddle's own bound is out of the way: the pool's maximum changes, and is kept
// before puddle is asked. So nobody blocks in puddle.
type life[V any] struct {
	construct puddle.Constructor[V]
	destruct  puddle.Destructor[V]

	mu     sync.Mutex // a leaf: nothing else is locked while it is held
	shards []*shard[V]
	room   []*shard[V] // those with less than shardSize resources
}

// shardSize is how many resources a puddle pool has at most, apart from those
// that puddle is about to remove.
const shardSize = 256

// shard is one of life's puddle pools.
type shard[V any] struct {
	puddle *puddle.Pool[V]
	n      int // resources that exist or are being made; guarded by life's mu
}

// resident is a resource as life has it.
type resident[V any] struct {
	res   *puddle.Resource[V]
	shard *shard[V]
}

// make makes a resource. ctx is what the constructor gets, on this goroutine:
// Acquire would start another. puddle puts what was constructed among its idle
// ones, which are only such, and make takes one of these out: not always the same
// if others are made at once, so the caller goes by the value.
func (l *life[V]) make(ctx context.Context) (resident[V], error) {
	s := l.enter()
	err := s.puddle.CreateResource(ctx)
	if err != nil {
		l.leave(s)
		return resident[V]{}, err
	}
	res, err := s.puddle.TryAcquire(ctx)
	if err != nil {
		panic("resource: bug: puddle has nothing idle: " + err.Error()) // each make takes one after it has added one
	}
	return resident[V]{res, s}, nil
}

// enter finds a shard that has room for one more.
func (l *life[V]) enter() *shard[V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.room) == 0 {
		s := l.newShard()
		l.shards, l.room = append(l.shards, s), append(l.room, s)
	}
	last := len(l.room) - 1
	s := l.room[last]
	if s.n++; s.n == shardSize {
		l.room[last] = nil
		l.room = l.room[:last]
	}
	return s
}

func (l *life[V]) newShard() *shard[V] {
	pool, err := puddle.NewPool(&puddle.Config[V]{
		Constructor: l.construct,
		Destructor:  l.destruct,
		MaxSize:     math.MaxInt32,
	})
	if err != nil {
		panic("resource: bug: " + err.Error()) // only if MaxSize is less than 1
	}
	return &shard[V]{puddle: pool}
}

// leave notes that one of s is gone, or was not made. Of one that is destroyed
// destruct says so, with leave, when it has done what it waits for: what is left
// to puddle then is short.
func (l *life[V]) leave(s *shard[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.n == shardSize {
		l.room = append(l.room, s)
	}
	s.n--
}

// destroy has r destroyed on a goroutine of its own.
func (l *life[V]) destroy(r resident[V]) { r.res.Destroy() }

// hijack lets go of r.
func (l *life[V]) hijack(r resident[V]) {
	r.res.Hijack()
	l.leave(r.shard)
}

// close waits for the last steps of puddle's goroutines. Nothing exists any more
// and nothing is made.
func (l *life[V]) close() {
	l.mu.Lock()
	shards := l.shards
	l.mu.Unlock()
	for _, s := range shards {
		s.puddle.Close()
	}
}
