package cluster

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// field is a distribution of connections, for the rebalancer alone.
type field []share

func newField(have ...int) (f field) {
	for _, n := range have {
		f = append(f, share{have: n, max: 1000, weight: 1})
	}
	return f
}

// run steps r for that long and carries out what it decides. It returns when connections moved.
func (f field) run(r *rebalancer, now time.Time, d time.Duration) (moves []time.Duration) {
	for t := time.Duration(0); t < d; {
		from, to, ok, wait := r.step(now.Add(t), f)
		if ok {
			f[from].have--
			f[to].have++
			moves = append(moves, t)
		}
		t += wait
	}
	return moves
}

func newRebalancer(r Rebalance) *rebalancer {
	c := Config{Rebalance: r}.withDefaults()
	return &rebalancer{cfg: c.Rebalance}
}

// An endpoint that joins ten others with 200 connections has its share within a minute, and no ten
// seconds see more than a tenth of the connections move.
func TestRebalanceEleventh(t *testing.T) {
	f := newField(20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 0)
	moves := f.run(newRebalancer(Rebalance{}), time.Unix(0, 0), 2*time.Minute)
	if moves[0] < 30*time.Second || moves[len(moves)-1] > time.Minute {
		t.Errorf("moves from %v to %v", moves[0], moves[len(moves)-1])
	}
	for i, at := range moves {
		if i >= 20 && at-moves[i-20] < 10*time.Second {
			t.Errorf("21 moves within %v", at-moves[i-20])
		}
	}
	for i, s := range f {
		if s.have < 18 || s.have > 19 {
			t.Errorf("endpoint %d has %d of 200", i, s.have)
		}
	}
	if len(moves) != 18 {
		t.Errorf("%d moves for 18 connections", len(moves))
	}
}

// A distribution within the tolerance, or outside of it for too short a time, moves nothing.
func TestRebalanceTolerance(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRebalancer(Rebalance{})
	if moves := newField(12, 8, 10, 10).run(r, now, time.Hour); moves != nil {
		t.Errorf("within the tolerance: %v", moves)
	}
	if moves := newField(1, 0, 1, 0).run(r, now, time.Hour); moves != nil {
		t.Errorf("two connections among four: %v", moves)
	}
	f := newField(20, 0, 10, 10)
	for range 10 {
		if moves := f.run(r, now, 29*time.Second); moves != nil {
			t.Errorf("after less than 30 s: %v", moves)
		}
		now = now.Add(29 * time.Second)
		newField(10, 10, 10, 10).run(r, now, time.Second)
		now = now.Add(time.Second)
	}
}

// Random distributions become even within what one connection can change, with as many moves as
// that takes and no more, and stay so; the rate is kept.
func TestRebalanceRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("RESPOOL_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for range rounds {
		have := make([]int, 1+rnd.IntN(12))
		for i := range have {
			have[i] = rnd.IntN(40)
		}
		f := newField(have...)
		sum := 0.0
		for i := range f {
			f[i].weight = []float64{0, 0.5, 1, 1, 1, 3}[rnd.IntN(6)]
			sum += f[i].weight
		}
		total, room := 0, 0
		for i := range f {
			if rnd.IntN(4) == 0 {
				f[i].max = max(1, f[i].have-rnd.IntN(3)+rnd.IntN(6))
			}
			total += f[i].have
			if f[i].weight > 0 {
				room += f[i].max
			}
		}
		if room < total { // nowhere to move to, or not for all
			f.run(newRebalancer(Rebalance{}), time.Unix(0, 0), time.Hour)
			for i, s := range f {
				if s.have > max(s.max, have[i]) {
					t.Fatalf("%v: endpoint %d has %d of %d", have, i, s.have, s.max)
				}
			}
			continue
		}
		fair := fair(f, total)
		needed := 0.0
		outside := false
		for i, s := range f {
			d := float64(s.have) - fair[i]
			needed += max(0, d)
			outside = outside || math.Abs(d) >= 1 && math.Abs(d) > fair[i]*DefaultTolerance
		}
		r := newRebalancer(Rebalance{})
		moves := f.run(r, time.Unix(0, 0), time.Hour)
		limit := max(1, total/10)
		for i, at := range moves {
			if i >= limit && at-moves[i-limit] < 10*time.Second {
				t.Fatalf("%v: %d moves within %v", have, limit+1, at-moves[i-limit])
			}
		}
		if sum == 0 || !outside {
			if len(moves) > 0 {
				t.Fatalf("%v: %d moves", have, len(moves))
			}
			continue
		}
		for i, s := range f {
			if d := math.Abs(float64(s.have) - fair[i]); d > 1+1e-9 || s.have > max(s.max, have[i]) {
				t.Fatalf("%v: endpoint %d has %d of %d, its share is %v", have, i, s.have, s.max, fair[i])
			}
		}
		if float64(len(moves)) > math.Ceil(needed)+float64(len(f)) {
			t.Fatalf("%v: %d moves for a surplus of %v", have, len(moves), needed)
		}
		if more := f.run(r, time.Unix(7200, 0), time.Hour); len(more) > 0 {
			t.Fatalf("%v: %d moves afterwards", have, len(more))
		}
	}
}

func TestApportion(t *testing.T) {
	f := newField(0, 0, 0)
	f[0].weight, f[1].weight, f[2].weight = 2, 1, 0
	f[0].max = 8
	for n, want := range map[int][3]int{0: {0, 0, 0}, 1: {1, 0, 0}, 2: {1, 1, 0}, 3: {2, 1, 0}, 10: {7, 3, 0}, 13: {8, 5, 0}, 20: {8, 12, 0}, 5000: {8, 1000, 0}} {
		if got := apportion(f, n); [3]int(got) != want {
			t.Errorf("%d: %v, want %v", n, got, want)
		}
	}
}

// The largest durations work like very long ones.
func TestRebalance_Forever(t *testing.T) {
	for _, c := range []struct {
		cfg   Rebalance
		moves int
	}{
		{Rebalance{Every: math.MaxInt64, After: time.Second}, 1},
		{Rebalance{Every: math.MaxInt64, After: time.Second, Part: 1}, 1}, // the pace is a fortieth of Every
		{Rebalance{Every: time.Second, After: math.MaxInt64}, 0},
		{Rebalance{Every: math.MaxInt64, After: math.MaxInt64}, 0},
	} {
		r, f, now := newRebalancer(c.cfg), newField(40, 0), time.Now()
		moves := 0
		for range 20 {
			from, to, ok, wait := r.step(now, f)
			if ok {
				f[from].have--
				f[to].have++
				moves++
			}
			if wait <= 0 {
				t.Errorf("%+v: it is to be called again after %v", c.cfg, wait)
			}
			now = now.Add(time.Second)
		}
		if moves != c.moves {
			t.Errorf("%+v: %d moves in 20 s, want %d", c.cfg, moves, c.moves)
		}
	}
}
