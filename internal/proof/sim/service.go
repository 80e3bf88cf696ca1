package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// A service with a number of servers, each with a random service time. Arrivals do not
// depend on the service (open loop): each caller arrives at its own instant, with a deadline
// after which the reply is useless.

// stream is one class of callers.
type stream struct {
	name    string
	rate    Rate
	patient time.Duration // from the arrival to the deadline
	work    time.Duration // the part of it that is left for the work, not for the wait
	request resource.Request
	retries int           // how often a caller that got no reply in time tries again
	pause   time.Duration // before that
}

// seen is the result of the callers of one stream that arrived after the start.
type seen struct {
	came    int
	good    int             // replies before the deadline
	late    int             // replies after it: wasted work
	refused int             // refused
	expired int             // left at their deadline
	waits   []time.Duration // of served callers
	goods   timeline        // replies before the deadline, from the beginning on
	waited  timeline        // waits of served callers
	tries   timeline        // acquires
}

// p99 is the 99th percentile of the waits.
func (s *seen) p99() time.Duration { return quantile(s.waits, 0.99) }

// share is the fraction of the callers that got a reply in time.
func (s *seen) share() float64 { return float64(s.good) / float64(max(1, s.came)) }

// service is the configuration of the service.
type service struct {
	slots int
	takes time.Duration // mean service time; uniform between 0.5 and 1.5 times that
	lasts time.Duration // duration of the arrivals
	start time.Duration // callers are counted from here on
	every time.Duration // interval of the timelines
}

// shop is a service of 16 servers, or more if there are more clients.
func (s *Stage) shop() service {
	return service{
		slots: max(4, s.scaled(16)), takes: 10 * time.Millisecond,
		lasts: 4 * time.Second, start: time.Second, every: 100 * time.Millisecond,
	}
}

// capacity returns the capacity in requests per second.
func (s service) capacity() float64 { return float64(s.slots) / s.takes.Seconds() }

// full returns the number of requests that the service can serve while callers are counted.
func (s service) full() float64 { return s.capacity() * (s.lasts - s.start).Seconds() }

// client is one client of a service.
type client struct {
	Arrival
	stream int
}

// clients draws the clients of all streams, no two at the same instant.
func (s service) clients(r *rand.Rand, streams []stream) (all []client) {
	peak := 0.0
	for _, f := range streams {
		peak += f.rate.Peak
	}
	which := make(map[time.Duration]int)
	pick := 0
	sum := Rate{peak, func(at time.Duration) float64 {
		now := 0.0
		for _, f := range streams {
			now += f.rate.At(at)
		}
		x := r.Float64() * now
		pick = 0
		for x > streams[pick].rate.At(at) && pick < len(streams)-1 {
			x -= streams[pick].rate.At(at)
			pick++
		}
		which[at] = pick
		return now
	}}
	for _, a := range Arrivals(r, sum, Uniform(s.takes), s.lasts) {
		all = append(all, client{a, which[a.At]})
	}
	return all
}

// play runs the clients on a pool and returns the results.
func (s service) play(st *Stage, variant string, edit func(cfg *resource.Config[int]), streams ...stream) (all []*seen) {
	for range streams {
		all = append(all, &seen{goods: timeline{every: s.every}, waited: timeline{every: s.every}, tries: timeline{every: s.every}})
	}
	come := s.clients(st.rand(0), streams)
	st.bubble(variant, func(t *testing.T) {
		cfg := resource.Config[int]{
			Make:    func(context.Context) (int, error) { return 1, nil },
			MaxSize: s.slots,
		}
		edit(&cfg)
		p := newPool(t, cfg)
		var mu sync.Mutex
		var wg sync.WaitGroup
		began := time.Now()
		for i, c := range come {
			time.Sleep(c.At - time.Since(began))
			wg.Go(func() {
				f := streams[c.stream]
				for try := 0; ; try++ {
					at := time.Since(began)
					o := call(p, f, c.Hold)
					mu.Lock()
					all[c.stream].add(o, at, time.Since(began), c.At >= s.start)
					mu.Unlock()
					if o.good() || try == f.retries {
						return
					}
					time.Sleep(f.pause + instant(i%1000))
				}
			})
		}
		wg.Wait()
		closePool(t, p)
	})
	return all
}

// answer is the result of one call.
type answer struct {
	wait time.Duration
	err  error
	late bool
}

func (o *answer) good() bool { return o.err == nil && !o.late }

// call makes one call with a service time.
func call(p *resource.Pool[int], f stream, takes time.Duration) (o answer) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), f.patient-f.work)
	defer cancel()
	l, err := p.AcquireWith(ctx, f.request)
	if o.wait, o.err = time.Since(began), err; err != nil {
		return o
	}
	time.Sleep(takes)
	l.Release()
	o.late = time.Since(began) > f.patient
	return o
}

// add adds a call that began at one instant and ended at another.
func (s *seen) add(o answer, from, until time.Duration, counts bool) {
	s.tries.add(from, 1)
	if o.err == nil {
		s.waited.wait(from, o.wait)
	}
	if o.good() {
		s.goods.add(until, 1)
	}
	if !counts {
		return
	}
	s.came++
	switch {
	case errors.Is(o.err, context.DeadlineExceeded):
		s.expired++
		return
	case o.err != nil:
		s.refused++
		return
	case o.late:
		s.late++
	default:
		s.good++
	}
	s.waits = append(s.waits, o.wait)
}

// newPool returns a pool, or fails the test.
func newPool[T any](t *testing.T, cfg resource.Config[T]) *resource.Pool[T] {
	t.Helper()
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closePool closes a pool that nothing is leased of.
func closePool[T any](t *testing.T, p *resource.Pool[T]) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// instant returns the i-th of many instants within a millisecond: the order of goroutines
// that wake at the same virtual instant is undefined.
func instant(i int) time.Duration { return time.Duration(i) * time.Microsecond }

// upTo returns a random duration below d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
