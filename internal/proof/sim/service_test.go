package sim_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A service with a number of servers, each with a random service time. Arrivals do not
// depend on the service (open loop): each caller arrives at its own instant, with a deadline
// after which the reply is useless.

// stream is one class of callers.
type stream struct {
	name    string
	rate    float64       // per second
	patient time.Duration // from the arrival to the deadline
	request resource.Request
}

// seen is the result of the callers of one stream that arrived after the start.
type seen struct {
	came    int
	good    int             // replies before the deadline
	late    int             // replies after it: wasted work
	refused int             // refused
	expired int             // left at their deadline
	waits   []time.Duration // of served callers
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
}

// capacity returns the capacity in requests per second.
func (s service) capacity() float64 { return float64(s.slots) / s.takes.Seconds() }

// arrival is the arrival of one caller.
type arrival struct {
	at     time.Duration
	takes  time.Duration // service time
	stream int
}

// arrivals draws the arrivals at a constant rate, no two at the same instant.
func (s service) arrivals(r *rand.Rand, streams []stream) (all []arrival) {
	sum := 0.0
	for _, f := range streams {
		sum += f.rate
	}
	for at := time.Duration(0); at < s.lasts; {
		at += 1 + time.Duration(r.ExpFloat64()/sum*float64(time.Second))
		pick, which := r.Float64()*sum, 0
		for pick > streams[which].rate && which < len(streams)-1 {
			pick -= streams[which].rate
			which++
		}
		takes := time.Duration((0.5 + r.Float64()) * float64(s.takes))
		all = append(all, arrival{at, takes, which})
	}
	return all
}

// run runs the callers on a pool and returns the results.
func (s service) run(t *testing.T, seed uint64, edit func(cfg *resource.Config[int]), streams ...stream) (all []*seen) {
	t.Helper()
	for range streams {
		all = append(all, &seen{})
	}
	come := s.arrivals(rand.New(rand.NewPCG(seed, 0)), streams)
	synctest.Test(t, func(t *testing.T) {
		cfg := resource.Config[int]{
			Make:    func(context.Context) (int, error) { return 1, nil },
			MaxSize: s.slots,
		}
		edit(&cfg)
		p, err := resource.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		began := time.Now()
		for _, a := range come {
			time.Sleep(a.at - time.Since(began))
			wg.Go(func() {
				o := call(p, streams[a.stream], a.takes)
				if a.at < s.start {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				all[a.stream].add(o)
			})
		}
		wg.Wait()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return all
}

// answer is the result of one caller.
type answer struct {
	wait time.Duration
	err  error
	late bool
}

// call runs one caller with a service time.
func call(p *resource.Pool[int], f stream, takes time.Duration) (o answer) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), f.patient)
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

func (s *seen) add(o answer) {
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
