package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/proof/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer collects the output of a run.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// brief are settings for a run of d.
func brief(t *testing.T, d time.Duration) settings {
	return settings{
		length: d, check: d / 2, seed: testkit.Seed(t), progress: time.Hour,
		callers: 4, think: 4 * time.Millisecond, only: partNames(), looks: defaultLooks,
	}
}

var figures = regexp.MustCompile(`: (\d+) operations, \d+ failed, (\d+) dials, (\d+) faults, .* (\d+) checkpoints, 0 violations`)

// All sections together hold their guarantees.
func TestSoak(t *testing.T) {
	var out buffer
	d := 3 * time.Second
	if testing.Short() {
		d = time.Second
	}
	passed := run(t.Context(), brief(t, d), &out)
	f := figures.FindStringSubmatch(out.String())
	if !passed || f == nil {
		t.Fatal(out.String())
	}
	t.Log(out.String())
	for i, least := range []int{20, 10, 5, 2} {
		if n, _ := strconv.Atoi(f[i+1]); n < least {
			t.Errorf("figure %d of the verdict is %d, want at least %d", i+1, n, least)
		}
	}
}

// A canceled run ends with a verdict.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := brief(t, time.Hour)
	s.only = []string{"plain"}
	s.progress = 50 * time.Millisecond
	var out buffer
	lines := writer(func(p []byte) {
		if strings.Contains(string(p), "ops/s") {
			cancel()
		}
		out.Write(p)
	})
	if !run(ctx, s, lines) || figures.FindString(out.String()) == "" {
		t.Error(out.String())
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// A planted fault ends the run with a violation that tells of it.
func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		plant fault
		only  string
		want  string
		long  bool
	}{
		{plantCrossed, "plain", "I13: call", false},
		{plantCrossed, "hand", "I13: a call", false},
		{plantCrossed, "mux", "I13: call", false},
		{plantTwoHolders, "plain", "I2: a session is lent", false},
		{plantGoroutine, "plain", "drift at rest: ", false},
		{plantDescriptor, "plain", "drift at rest: ", true},
		{plantLease, "plain", "does not come to rest: ", true},
		{plantPermit, "sessions", "does not come to rest: I4", true},
		{plantTwice, "mux", "has run 2 times, at most", true},
	} {
		t.Run(fmt.Sprint(c.plant, "/", c.only), func(t *testing.T) {
			if c.long && testing.Short() {
				t.Skip("takes seconds")
			}
			if c.plant == plantDescriptor && descriptors() == 0 {
				t.Skip("the system does not tell how many descriptors are open")
			}
			s := brief(t, time.Minute)
			s.check, s.only, s.plant = 300*time.Millisecond, []string{c.only}, c.plant
			if c.plant == plantLease || c.plant == plantPermit {
				s.looks = 200
			}
			if c.plant == plantGoroutine || c.plant == plantDescriptor {
				s.looks = 1000
			}
			var out buffer
			if run(t.Context(), s, &out) || !strings.Contains(out.String(), c.want) {
				t.Errorf("want %q in\n%.3000s", c.want, out.String())
			}
			if !strings.Contains(out.String(), "-seed "+strconv.FormatUint(s.seed, 10)) {
				t.Errorf("no seed in\n%.3000s", out.String())
			}
		})
	}
}

// idle is a server without connections, which notes its faults.
type idle struct{ all []string }

func (*idle) addr() string    { return "127.0.0.1:1" }
func (*idle) open() int       { return 0 }
func (*idle) accepted() int64 { return 0 }
func (*idle) heal()           {}
func (*idle) close()          {}

func (s *idle) misbehave(r *rand.Rand) string {
	s.all = append(s.all, fmt.Sprint(r.Uint64()))
	return "misbehaves"
}

// The seed repeats a script of faults.
func TestScriptRepeats(t *testing.T) {
	script := func(seed uint64) []string {
		s := new(idle)
		l := newLoad(settings{}, io.Discard, func() {})
		x, err := newTarget("idle", l.journal, s, true, rand.New(rand.NewPCG(seed, 1)))
		if err != nil {
			t.Fatal(err)
		}
		defer x.close()
		for i := range 1000 {
			x.step(time.Now().Add(time.Duration(i) * time.Second))
		}
		return s.all
	}
	a, b, c := script(1), script(1), script(2)
	if len(a) < 30 || fmt.Sprint(a) != fmt.Sprint(b) || fmt.Sprint(a) == fmt.Sprint(c) {
		t.Errorf("%d faults, %d again, %d with another seed", len(a), len(b), len(c))
	}
}

// The heap drifts if it grows beyond the limit, whatever single points do.
func TestHeapDrift(t *testing.T) {
	points := func(n int, perPoint, jump float64) (all []point) {
		r := rand.New(rand.NewPCG(1, 1))
		for i := range n {
			heap := 10<<20 + float64(i)*perPoint + r.Float64()*(1<<20)
			if i%5 == 0 {
				heap += jump
			}
			all = append(all, point{at: warmUp + time.Duration(i)*time.Minute, heap: int64(heap)})
		}
		return all
	}
	for name, c := range map[string]struct {
		all   []point
		grows bool
	}{
		"flat":     {points(49, 0, 0), false},
		"outliers": {points(49, 0, 8<<20), false},
		"grows":    {points(49, 60<<10, 0), true},
		"shrinks":  {points(49, -60<<10, 0), false},
		"few":      {points(11, 1<<20, 0), false},
		"none":     {nil, false},
	} {
		if d := heapDrift(c.all, warmUp); d.grows() != c.grows {
			t.Errorf("%s: %v", name, d)
		}
	}
	if d := heapDrift(append([]point{{heap: 1}}, points(49, 0, 0)...), warmUp); d.points != 49 {
		t.Errorf("%d points, one of them from the warm-up", d.points)
	}
}

func TestLeftover(t *testing.T) {
	was := point{goroutines: 10, descriptors: 20}
	for _, c := range []struct {
		goroutines, descriptors int
		left                    bool
	}{{10, 20, false}, {13, 23, false}, {5, 5, false}, {14, 20, true}, {10, 24, true}} {
		if text := leftover(was, point{goroutines: c.goroutines, descriptors: c.descriptors}); (text != "") != c.left {
			t.Errorf("%+v: %q", c, text)
		}
	}
}

func TestLatencies(t *testing.T) {
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0.5, time.Millisecond}, {0.99, time.Second}} {
		var l latencies
		if n, d := l.take(0.99); n != 0 || d != 0 {
			t.Errorf("of none: %d, %v", n, d)
		}
		for range 98 {
			l.add(time.Millisecond)
		}
		l.add(time.Second)
		l.add(time.Hour)
		if n, d := l.take(c.q); n != 100 || d < c.want || d > c.want*12/10 {
			t.Errorf("%v of %d is %v, want %v", c.q, n, d, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	var out bytes.Buffer
	s, err := parse([]string{"-for", "8h", "-seed", "7"}, &out)
	if err != nil || s.length != 8*time.Hour || s.seed != 7 || s.check != time.Minute || len(s.only) != len(parts) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := parse([]string{"-for", "20s", "-only", "mux"}, &out); err != nil || s.seed == 0 || s.check != 5*time.Second || len(s.only) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	for flag, want := range map[string]string{
		"-for 1ms": "-for", "-check 1ms": "-check", "-callers 0": "-callers", "-think -1s": "-think", "-only x": "-only", "x": "flags only",
	} {
		if _, err := parse(strings.Fields(flag), &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if status := program([]string{"-for", "1ms"}, io.Discard, &out); status != 2 {
		t.Errorf("status %d", status)
	}
}
