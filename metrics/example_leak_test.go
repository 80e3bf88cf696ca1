package metrics_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	"github.com/respool/respool/resource"
)

// debug returns a handler for the pages of the operators, on a port of its own. Nothing
// that they show changes the pools.
func debug() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/debug/pools/", live.Handler(live.Config{}))                       // the live page
	mux.HandleFunc("/debug/leases", func(w http.ResponseWriter, _ *http.Request) { // for go tool pprof
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := metrics.WriteLeases(w); err != nil {
			log.Print(err)
		}
	})
	return mux
}

// forget acquires a lease and does not end it.
func forget(ctx context.Context, pool *resource.Pool[int]) {
	if _, err := pool.Acquire(ctx); err != nil {
		log.Fatal(err)
	}
}

// A leaked lease is found by the stack of its acquire, which a sampled lease has.
func ExampleWriteLeases_leak() {
	meter, err := metrics.New("api", metrics.Config{Overdue: time.Minute}) // no lease should last longer
	if err != nil {
		log.Fatal(err)
	}
	defer meter.Close()
	pool, err := resource.New(resource.Config[int]{
		Make:         func(context.Context) (int, error) { return 1, nil },
		MaxSize:      4,
		Trace:        meter.Trace(nil),
		SampleLeases: 1, // every lease has a stack, which costs about 1 µs for each
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := meter.Watch(pool); err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(debug())
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 2 {
		forget(ctx, pool)
	}
	for _, held := range meter.Snapshot(100).Held { // the longest first
		fmt.Printf("resource %d, lease %d, by %s\n", held.ID, held.Lease, path.Base(held.Stack[0].Func))
	}
	answer, err := http.Get(server.URL + "/debug/leases")
	if err != nil {
		log.Fatal(err)
	}
	answer.Body.Close()
	fmt.Println(answer.Status)

	cancel()
	fmt.Println(pool.Close(ctx)) // the two leases keep it from closing
	// Output:
	// resource 1, lease 1, by metrics_test.forget
	// resource 2, lease 1, by metrics_test.forget
	// 200 OK
	// resource: close: not everything has ended: context canceled
}
