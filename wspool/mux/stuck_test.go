package mux_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/wspool/mux"
)

// BenchmarkStuckSubscriber compares the 99th percentile of the calls beside a stream that is not read,
// and whose buffer is full, with that beside one that is read, in pairs on the same client. It prints
// the median of the ratios.
func BenchmarkStuckSubscriber(b *testing.B) {
	c, _ := newClient(b, listen(b, feed(false)), mux.Config{Codec: plain{}})
	ctx := context.Background()
	p99 := func(stuck bool) time.Duration {
		st, err := c.Stream(ctx, mux.Request{Body: "100000 0 1"}, mux.StreamConfig{Overflow: mux.DropOldest, Buffer: 10})
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for !stuck {
				if _, err := st.Next(ctx); err != nil {
					return
				}
			}
		})
		var mu sync.Mutex
		var all []time.Duration
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				for range 200 {
					began := time.Now()
					ask(b, c, "beside")
					took := time.Since(began)
					mu.Lock()
					all = append(all, took)
					mu.Unlock()
				}
			})
		}
		callers.Wait()
		st.Close()
		wg.Wait()
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	var ratios []float64
	for range 21 {
		read := p99(false)
		ratios = append(ratios, float64(p99(true))/float64(read))
	}
	slices.Sort(ratios)
	b.Logf("p99 beside a stuck subscriber: %.2f of that beside one that reads (%.2f to %.2f)", ratios[10], ratios[4], ratios[16])
}
