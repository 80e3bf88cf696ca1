package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/respool/respool/internal/bench/peer"
)

// These two pools prove that cases can fail which every real peer passes. There are
// two because some flaws hide others.
var (
	flawed = peer.Kind{Name: "flawed", Open: func(c peer.Config) (peer.Pool, error) { return openFlawed(c, false), nil }}
	other  = peer.Kind{Name: "flawed otherwise", Open: func(c peer.Config) (peer.Pool, error) { return openFlawed(c, true), nil }}
)

// A flawedPool polls for an idle item, or room for one, every 300 ms, and miscounts.
type flawedPool struct {
	c     peer.Config
	other bool

	mu     sync.Mutex // held during makes
	idle   []*peer.Item
	back   []*peer.Item // released; in one of the pools not idle until later
	backAt time.Time
	total  int
	closed bool
	made   map[int]time.Time
	reset  map[int]bool // made before the last Reset
}

func openFlawed(c peer.Config, other bool) *flawedPool {
	return &flawedPool{c: c, other: other, made: map[int]time.Time{}, reset: map[int]bool{}}
}

const flawedPoll = 300 * time.Millisecond

var errClosed = errors.New("closed")

func (p *flawedPool) Acquire(ctx context.Context) (peer.Lease, error) {
	for {
		it, err := p.find(ctx)
		if err != nil {
			return peer.Lease{}, err
		}
		if it != nil {
			return peer.Lend(&flawedLease{p, it}), nil
		}
		time.Sleep(flawedPoll) // the flaw: no release wakes it
		if ctx.Err() != nil {
			p.leave()
			return peer.Lease{}, ctx.Err()
		}
	}
}

// find takes an idle item, or makes one if there is room; else it returns nil.
func (p *flawedPool) find(ctx context.Context) (*peer.Item, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if time.Since(p.backAt) > flawedPoll/3 {
		p.idle, p.back = append(p.idle, p.back...), nil
	}
	if n := len(p.idle); n > 0 {
		it := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return it, nil
	}
	if p.total >= p.c.Max {
		return nil, nil
	}
	it, err := p.c.Make(ctx)
	if err != nil {
		return nil, err
	}
	p.total++
	p.made[it.ID] = time.Now()
	return it, nil
}

// leave loses the item that was released for the caller that leaves.
func (p *flawedPool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = nil
}

func (p *flawedPool) Warm(ctx context.Context, n int) error {
	var held []peer.Lease
	for range n {
		l, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		held = append(held, l)
	}
	for _, l := range held {
		l.Release()
	}
	return nil
}

// Close forgets the idle items without destroying them.
func (p *flawedPool) Close(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// Reset strands the leased items, or lends them again.
func (p *flawedPool) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.made {
		p.reset[id] = true
	}
	p.idle = nil
	if p.other {
		p.total = 0
	}
}

// Resize waits for the holders, which is the flaw.
func (p *flawedPool) Resize(max int) error {
	for {
		p.mu.Lock()
		if p.total <= max {
			p.c.Max = max
			p.mu.Unlock()
			return nil
		}
		p.mu.Unlock()
		time.Sleep(time.Millisecond) // polls: the pool has no event for it
	}
}

func (p *flawedPool) Count() (total, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total, len(p.idle)
}

type flawedLease struct {
	p  *flawedPool
	it *peer.Item
}

func (l *flawedLease) Item() *peer.Item { return l.it }

// Release checks the age, without jitter, in one of the pools only.
func (l *flawedLease) Release() {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.other && p.reset[l.it.ID]: // dropped
	case p.other && p.c.MaxAge > 0 && time.Since(p.made[l.it.ID]) > p.c.MaxAge:
		p.total--
		go p.c.Destroy(l.it)
	case p.other:
		p.back, p.backAt = append(p.back, l.it), time.Now()
	default:
		p.idle = append(p.idle, l.it)
	}
}

// Destroy frees the slot before the item is destroyed.
func (l *flawedLease) Destroy() {
	l.p.mu.Lock()
	l.p.total--
	l.p.mu.Unlock()
	go l.p.c.Destroy(l.it)
}

// greedy is puddle with a checker that acquires all idle items and releases them one
// by one.
var greedy = peer.Kind{Name: "greedy", Open: func(c peer.Config) (peer.Pool, error) {
	check := c.Check
	c.Check = nil
	p, err := peer.Puddle.Open(c)
	if err == nil && check != nil {
		go checkAll(p.(allIdle), check, c.CheckEvery)
	}
	return p, err
}}

type allIdle interface {
	AcquireAllIdle() []*puddle.Resource[*peer.Item]
}

func checkAll(p allIdle, check func(*peer.Item) error, every time.Duration) {
	for range time.Tick(every) {
		for _, r := range p.AcquireAllIdle() {
			if check(r.Value()) != nil {
				r.Destroy()
			} else {
				r.ReleaseUnused()
			}
		}
	}
}
