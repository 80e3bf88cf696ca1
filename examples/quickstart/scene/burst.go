package scene

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// limit is an admission: at most so many callers hold or wait for a connection at once,
// and further callers are refused at once.
type limit struct {
	slots             chan struct{}
	admitted, refused atomic.Int64
}

var errFull = errors.New("at the limit")

func newLimit(n int) *limit { return &limit{slots: make(chan struct{}, n)} }

func (l *limit) Admit(context.Context, resource.Request) (resource.Done, error) {
	select {
	case l.slots <- struct{}{}:
		l.admitted.Add(1)
		return func(resource.Outcome) { <-l.slots }, nil
	default:
		l.refused.Add(1)
		return nil, &resource.Rejection{Policy: "limit", Err: errFull}
	}
}

// together makes callers a burst: the admitted ones continue once every caller has
// asked. It belongs to this scene, and is no policy to copy.
type together struct {
	resource.Admission
	left atomic.Int64
	all  chan struct{}
}

func newTogether(a resource.Admission, callers int) *together {
	t := &together{Admission: a, all: make(chan struct{})}
	t.left.Store(int64(callers))
	return t
}

func (t *together) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	done, err := t.Admission.Admit(ctx, r)
	if t.left.Add(-1) == 0 {
		close(t.all)
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-t.all:
		return done, nil
	case <-ctx.Done():
		done(resource.Outcome{Verdict: resource.Ignored})
		return nil, ctx.Err()
	}
}

// burst is the result of callers that all begin at once.
type burst struct {
	Callers  int `json:"callers"`
	Limit    int `json:"limit"`
	Accepted int `json:"accepted"` // got a reply
	Refused  int `json:"refused"`
	Lost     int `json:"lost"` // accepted, and got no right reply
}

// burst sends one utterance from every client at once through a pool with an
// admission limit. It always has more callers than the limit.
func (r *run) burst(ctx context.Context) error {
	callers := max(r.set.clients, 2)
	slots := min(r.set.size, callers/2)
	admission := newLimit(slots)
	at, stop, err := r.server()
	if err != nil {
		return err
	}
	defer stop()
	at.Admission = newTogether(admission, callers)
	if at.Meter, err = r.meter("burst"); err != nil {
		return err
	}
	side, err := r.open(at.Server)
	if err != nil {
		return err
	}
	var done atomic.Int64
	all := crowd(r.set, r.seed, "burst", callers, 1, &done)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.talk(context.WithoutCancel(ctx), side, 1) })
	}
	wg.Wait()
	r.close("burst", side)
	b := &burst{Callers: callers, Limit: slots}
	for _, c := range all {
		b.Accepted += c.right
		b.Refused += c.refused
		b.Lost += c.lost + c.wrong
		if c.err != nil && b.Lost == 1 {
			r.problem("burst: %v", c.err)
		}
	}
	r.res.Burst = b
	r.progress.note("burst: %d of %d callers accepted, %d refused", b.Accepted, callers, b.Refused)
	r.burstAddsUp(b, admission, side.Stats())
	return nil
}

// burstAddsUp compares the results of the callers with the counts of the limit and of
// the pool.
func (r *run) burstAddsUp(b *burst, l *limit, stats wspool.Stats) {
	if b.Lost > 0 {
		r.problem("burst: %d utterances without a right reply", b.Lost)
	}
	want := func(what string, got, want int64) {
		if got != want {
			r.problem("burst: %s is %d, want %d", what, got, want)
		}
	}
	want("accepted + refused + lost", int64(b.Accepted+b.Refused+b.Lost), int64(b.Callers))
	want("callers admitted by the limit", l.admitted.Load(), int64(b.Limit))
	want("callers refused by the limit", l.refused.Load(), int64(b.Refused))
	want("callers rejected by the pool", stats.Rejected, int64(b.Refused))
	want("slots still taken", int64(len(l.slots)), 0)
}

func clientName(part string, i int) string { return fmt.Sprintf("%s-c%03d", part, i) }
