package endpoint

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// The largest duration in a field works like a very long one: nothing that it delays happens at
// once, and the Set does not wake without a pause.
func TestSet_Forever(t *testing.T) {
	for name, set := range map[string]func(*SetConfig, time.Duration){
		"Interval":      func(c *SetConfig, d time.Duration) { c.Interval = d },
		"ProbeDelay":    func(c *SetConfig, d time.Duration) { c.ProbeDelay = d },
		"MaxProbeDelay": func(c *SetConfig, d time.Duration) { c.ProbeDelay, c.MaxProbeDelay = d, d },
		"ProbeTimeout":  func(c *SetConfig, d time.Duration) { c.ProbeTimeout = d },
		"SlowStart":     func(c *SetConfig, d time.Duration) { c.SlowStart = d },
		"FailbackAfter": func(c *SetConfig, d time.Duration) { c.FailbackAfter = d },
		"Penalty":       func(c *SetConfig, d time.Duration) { c.Balancer = PeakEWMA(PeakEWMAConfig{Penalty: d, Decay: d}) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, d := range []time.Duration{1000 * time.Hour, math.MaxInt64 - 1, math.MaxInt64} {
				synctest.Test(t, func(t *testing.T) {
					sweeps := 0
					cfg := SetConfig{MaxEjected: 1, PanicBelow: -1, Ejector: countingEjector{ConsecutiveFailures(5), &sweeps}}
					set(&cfg, d)
					st := newStage(t, cfg, primaries()...)
					defer st.close()
					pass(time.Minute)
					st.downAll("p1", "p2")
					st.answer(append(primaries(), Endpoint{Addr: "p3"})...)
					st.Observe("p3", Evidence{Kind: Connected})
					st.setDown("p1", false)
					st.setDown("p2", false)
					pass(time.Hour)
					st.mu.Lock()
					probes := st.probes["p1"] + st.probes["p2"] + st.probes["p3"]
					st.mu.Unlock()
					if delayed := name == "ProbeDelay" || name == "MaxProbeDelay"; delayed != (probes == 0) || probes > 60 {
						t.Errorf("%v: %d probes", d, probes)
					}
					if (name == "Interval") != (sweeps == 0) || sweeps > 400 {
						t.Errorf("%v: %d sweeps", d, sweeps)
					}
					if s := st.state("p3"); name == "SlowStart" && (s.Status != SlowStart || s.Share > 0.11) {
						t.Errorf("%v: an hour after its first connection: %+v", d, s)
					}
					if s := st.state("p1"); name == "Penalty" && (s.Latency < 0 || math.IsNaN(s.Share)) {
						t.Errorf("%v: after failures: %+v", d, s)
					}
					st.Set.mu.Lock()
					next := st.roster.next(st.now()) - st.now()
					st.Set.mu.Unlock()
					if next <= 0 {
						t.Errorf("%v: it wakes again after %v", d, next)
					}
				})
			}
		})
	}
}

// countingEjector counts the calls of Sweep.
type countingEjector struct {
	Ejector
	sweeps *int
}

func (e countingEjector) Sweep(r []Record, causes []error) {
	*e.sweeps++
	e.Ejector.Sweep(r, causes)
}

// A latency decays also if it is the largest.
func TestPeakEWMA_Longest(t *testing.T) {
	var l live
	c := PeakEWMAConfig{Decay: math.MaxInt64}
	l.observe(math.MaxInt64, time.Second, c)
	l.observe(1, 2*time.Second, c)
	if v := l.latency.Load(); v <= 0 {
		t.Errorf("the latency is %d", v)
	}
}
