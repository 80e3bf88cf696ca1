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

// A service of so many places, each of which takes its time for each request.
// Callers come whether or not it keeps up, as they do in life: each at its own
// instant, with a deadline, after which the answer is worth nothing.

// stream is one kind of callers.
type stream struct {
	name    string
	rate    float64       // a second
	patient time.Duration // from coming to the deadline
	request resource.Request
}

// seen is what became of the callers of one stream who came after the start.
type seen struct {
	came    int
	good    int             // answered before their deadline
	late    int             // answered after it: the work was for nothing
	refused int             // told so
	expired int             // left at their deadline
	waits   []time.Duration // of those who got a place
}

// p99 is the 99th percentile of the waits.
func (s *seen) p99() time.Duration { return quantile(s.waits, 0.99) }

// share is how many of those that came were answered in time.
func (s *seen) share() float64 { return float64(s.good) / float64(max(1, s.came)) }

// service is what is asked for.
type service struct {
	places int
	takes  time.Duration // a request, in the mean: half to one and a half of it
	lasts  time.Duration // callers come
	start  time.Duration // from here on they count
}

// capacity is how many the service can answer a second.
func (s service) capacity() float64 { return float64(s.places) / s.takes.Seconds() }

// arrival is one caller to come.
type arrival struct {
	at     time.Duration
	takes  time.Duration // to answer
	stream int
}

// arrivals draws when callers come, at a constant rate, no two at one instant.
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

// run lets the callers come to a pool and returns what became of them.
func (s service) run(t *testing.T, seed uint64, edit func(cfg *resource.Config[int]), streams ...stream) (all []*seen) {
	t.Helper()
	for range streams {
		all = append(all, &seen{})
	}
	come := s.arrivals(rand.New(rand.NewPCG(seed, 0)), streams)
	synctest.Test(t, func(t *testing.T) {
		cfg := resource.Config[int]{
			Make:    func(context.Context) (int, error) { return 1, nil },
			MaxSize: s.places,
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

// answer is what one caller got.
type answer struct {
	wait time.Duration
	err  error
	late bool
}

// call is one caller, with work that takes so long.
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
