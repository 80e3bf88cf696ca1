package sim_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/proof/sim"
	"github.com/respool/respool/resource"
)

// A Recorder records the callers of a pool: those that wait too, with the time of their arrival.
func TestRecorder(t *testing.T) {
	come := sim.Arrivals(rand.New(rand.NewPCG(1, 0)), sim.Steady(300), sim.Exponential(10*time.Millisecond), time.Second)
	synctest.Test(t, func(t *testing.T) {
		r := sim.NewRecorder()
		p, err := resource.New(resource.Config[int]{
			MaxSize: 3, Trace: r.Trace(), SampleLeases: 1,
			Make: func(context.Context) (int, error) { return 0, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		began := time.Now()
		for _, a := range come {
			time.Sleep(a.At - time.Since(began))
			wg.Go(func() {
				l, err := p.Acquire(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(a.Hold)
				l.Release()
			})
		}
		wg.Wait()
		if p.Stats().Waited == 0 {
			t.Error("no caller has waited")
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		got := r.Arrivals()
		if len(got) != len(come) {
			t.Fatalf("%d callers were recorded, want %d", len(got), len(come))
		}
		for i, a := range got {
			if (a.At-come[i].At).Abs() > time.Microsecond || (a.Hold-come[i].Hold).Abs() > time.Microsecond {
				t.Errorf("caller %d: %+v, want %+v", i, a, come[i])
			}
		}
	})
}
