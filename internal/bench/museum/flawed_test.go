package museum

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/respool/respool/internal/bench/peer"
)

// The peers that pass everything that the others fail at are no proof that an
// exhibit can fail: these two pools are. What one of them does wrong the other
// may do right, as some flaws hide others.
var (
	flawed = peer.Kind{Name: "flawed", Open: func(c peer.Config) (peer.Pool, error) { return openFlawed(c, false), nil }}
	other  = peer.Kind{Name: "flawed otherwise", Open: func(c peer.Config) (peer.Pool, error) { return openFlawed(c, true), nil }}
)

// A flawedPool looks for something idle, or room, every 300 ms, and counts
// nothing right.
type flawedPool struct {
	c     peer.Config
	other bool

	mu     sync.Mutex // held over makes
	idle   []*peer.Item
	back   []*peer.Item // released, and in one of the pools not idle for a while
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
		time.Sleep(flawedPoll) // the flaw: it polls, whoever gives back
		if ctx.Err() != nil {
			p.leave()
			return peer.Lease{}, ctx.Err()
		}
	}
}

// find takes what is idle, or makes one; else it returns nil.
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

// leave takes along what was released for the caller that leaves.
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

// Close forgets what is idle, without an end.
func (p *flawedPool) Close(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// Reset strands what is out, or lends it again.
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

// Resize waits for the holders.
func (p *flawedPool) Resize(max int) error {
	for {
		p.mu.Lock()
		if p.total <= max {
			p.c.Max = max
			p.mu.Unlock()
			return nil
		}
		p.mu.Unlock()
		time.Sleep(time.Millisecond) // a flaw: it polls, in real time
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

// Release looks at the age, without jitter, in one of the pools only.
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

// Destroy gives the place back first.
func (l *flawedLease) Destroy() {
	l.p.mu.Lock()
	l.p.total--
	l.p.mu.Unlock()
	go l.p.c.Destroy(l.it)
}

// greedy is puddle with a checker of ours that takes all that is idle and gives it
// back one after the other.
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
