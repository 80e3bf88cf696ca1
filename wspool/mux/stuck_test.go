package mux_test

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/wspool/mux"
)

// BenchmarkStuckSubscriber compares the 99th percentile of the calls of 16 callers beside a stream that
// is not read, and whose buffer is full, with that beside a stream that is read, and with that beside no
// stream: on the same connection, in rounds of three turns whose order changes. The server sends a
// message of the stream each millisecond. It reports the medians of the ratios of the rounds, and prints
// the ratios between which these medians are with a certainty of 95 %. -benchtime=201x makes 201 rounds,
// which are enough to fail if the ratio is above its goal.
func BenchmarkStuckSubscriber(b *testing.B) {
	c, _ := newClient(b, listen(b, feed(false)), mux.Config{Codec: plain{}, MaxConns: 1})
	ctx := context.Background()
	calls := func() (p99 time.Duration) {
		all := make([]time.Duration, 16*200)
		var callers sync.WaitGroup
		for i := range 16 {
			callers.Go(func() {
				for k := range 200 {
					began := time.Now()
					ask(b, c, "beside")
					all[i*200+k] = time.Since(began)
				}
			})
		}
		callers.Wait()
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	subscribe := func() *mux.Stream {
		st, err := c.Stream(ctx, mux.Request{Body: "1000000 0 1"}, mux.StreamConfig{Overflow: mux.DropOldest, Buffer: 10})
		if err != nil {
			b.Fatal(err)
		}
		return st
	}
	turns := []func() time.Duration{
		func() time.Duration { calls(); return calls() },
		func() time.Duration { // beside a stream that is read
			st := subscribe()
			var reader sync.WaitGroup
			reader.Go(func() {
				for range st.All(ctx) {
				}
			})
			defer reader.Wait()
			defer st.Close()
			calls()
			return calls()
		},
		func() time.Duration { // beside a stream that is not read
			st := subscribe()
			defer st.Close()
			dropped := c.Stats().StreamDropped
			calls()
			for c.Stats().StreamDropped == dropped { // its buffer is not full yet
				calls()
			}
			return calls()
		},
	}
	var alone, read []float64
	rounds := 0
	for b.Loop() {
		var p99 [3]float64
		for i := range turns {
			turn := (i + rounds) % 3
			p99[turn] = float64(turns[turn]())
		}
		rounds++
		alone, read = append(alone, p99[2]/p99[0]), append(read, p99[2]/p99[1])
	}
	const goal, enough = 1.2, 31
	for name, ratios := range map[string][]float64{"read": read, "absent": alone} {
		slices.SortFunc(ratios, cmp.Compare[float64])
		low := max(0, int(float64(rounds)-1.96*math.Sqrt(float64(rounds)))/2) // of a binomial distribution
		high := rounds - 1 - low
		b.ReportMetric(ratios[rounds/2], "stuck/"+name)
		b.Logf("p99 beside a stuck subscriber: %.3f of that beside one that is %s (%.3f to %.3f), %d rounds", ratios[rounds/2], name, ratios[low], ratios[high], rounds)
		if rounds >= enough && ratios[low] > goal {
			b.Errorf("it is certainly more than %.1f of that beside one that is %s", goal, name)
		}
	}
}
