package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// A meter's own Snapshot and History are passed to Advise by [metrics.Meter.Advise]. Here
// they are made by hand: two minutes with 100 acquires a second, whose leases take from 27
// to 32 ms.
func ExampleAdvise() {
	var s metrics.Snapshot
	s.Max = 20
	s.Hold = metrics.Histogram{Count: 12_000, Sum: 12_000 * 30 * time.Millisecond, First: 99, Buckets: []int64{12_000}}
	s.Make = metrics.Histogram{Count: 20, Sum: 20 * 30 * time.Millisecond, First: 99, Buckets: []int64{20}}
	var h metrics.History
	for i := range 61 {
		h.Points = append(h.Points, metrics.Point{Time: time.Unix(int64(2*i), 0), Acquired: int64(200 * i)})
	}
	a, err := metrics.Advise(s, h, metrics.Goal{Wait: 10 * time.Millisecond, Quantile: 0.99})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.0f acquires a second, %.1f resources in use\n", a.Rate, a.Load)
	fmt.Printf("MaxSize %d, MinIdle %d, %d may wait\n", a.MaxSize, a.MinIdle, a.MaxWaiting)
	for _, p := range a.Curve[2:5] {
		fmt.Printf("size %d: 99 %% wait at most %v, %.0f %% wait at all\n", p.Size, p.Wait.Round(time.Millisecond), 100*p.Waited)
	}
	fmt.Println(a.Doubts)
	// Output:
	// 100 acquires a second, 3.0 resources in use
	// MaxSize 7, MinIdle 7, 2 may wait
	// size 6: 99 % wait at most 13ms, 9 % wait at all
	// size 7: 99 % wait at most 6ms, 3 % wait at all
	// size 8: 99 % wait at most 0s, 1 % wait at all
	// []
}

// A meter that has just been made has nothing to advise from.
func ExampleMeter_Advise() {
	meter, err := metrics.New("api", metrics.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer meter.Close()
	pool, err := resource.New(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 1, nil },
		MaxSize: 20,
		Trace:   meter.Trace(nil),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(context.Background())
	if err := meter.Watch(pool); err != nil {
		fmt.Println(err)
		return
	}

	advice, err := meter.Advise(metrics.Goal{Wait: 10 * time.Millisecond, Quantile: 0.99})
	switch {
	case errors.Is(err, metrics.ErrTooLittle):
		fmt.Println("ask again later")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Printf("MaxSize %d (%d to %d), MinIdle %d, at most %d waiting; doubts: %q\n",
			advice.MaxSize, advice.Low, advice.High, advice.MinIdle, advice.MaxWaiting, advice.Doubts)
	}
	// Output: ask again later
}
