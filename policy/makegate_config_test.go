package policy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func TestMakeGate_Config(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  policy.MakeGateConfig
		says []string // none: it is good
	}{
		{name: "all wrong", cfg: policy.MakeGateConfig{Concurrent: 0, InitialBackoff: -1, MaxBackoff: -1, Multiplier: 0.5, Jitter: 2},
			says: []string{"policy: invalid MakeGateConfig", "Concurrent must be at least 1, got 0", "InitialBackoff must not be negative, got -1ns", "MaxBackoff must not be negative, got -1ns", "at least 1, got 0.5", "between 0 and 1, got 2"}},
		{name: "initial over max", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 2, MaxBackoff: 1}, says: []string{"InitialBackoff must be at most MaxBackoff 1ns, got 2ns"}},
		{name: "too long", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 1 << 62, MaxBackoff: 1 << 62}, says: []string{"MaxBackoff must be at most 87600h0m0s", "InitialBackoff must be at most 87600h0m0s"}},
		{name: "no numbers", cfg: policy.MakeGateConfig{Concurrent: 1, Multiplier: nan(), Jitter: nan()}, says: []string{"at least 1, got NaN", "between 0 and 1, got NaN"}},
		{name: "endless", cfg: policy.MakeGateConfig{Concurrent: 1, Multiplier: 1 / zero}, says: []string{"must be finite and at least 1, got +Inf"}},
		{name: "defaults", cfg: policy.MakeGateConfig{Concurrent: 1}},
		{name: "long initial", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: time.Hour}},
		{name: "short max", cfg: policy.MakeGateConfig{Concurrent: 1, MaxBackoff: time.Millisecond}},
		{name: "extremes", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 10 * 365 * 24 * time.Hour, Multiplier: 1e300, Jitter: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := policy.NewMakeGate(c.cfg)
			if (err == nil) != (c.says == nil) || (g == nil) != (err != nil) {
				t.Fatalf("%v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

// What zero means: the first and the last backoff.
func TestMakeGate_Defaults(t *testing.T) {
	for _, c := range []struct {
		name        string
		cfg         policy.MakeGateConfig
		first, last time.Duration
	}{
		{"both", policy.MakeGateConfig{}, policy.DefaultInitialBackoff, policy.DefaultMaxBackoff},
		{"long initial", policy.MakeGateConfig{InitialBackoff: time.Hour}, time.Hour, time.Hour},
		{"short max", policy.MakeGateConfig{MaxBackoff: time.Millisecond}, time.Millisecond, time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.Concurrent = 1
				g := newGate(t, c.cfg)
				for n := range 20 {
					middle := min(c.first<<n, c.last)
					end(wentWrong, g.begin(1)...)
					var r *resource.Rejection
					if _, err := g.Admit(context.Background(), resource.Request{}); !errors.As(err, &r) {
						t.Fatal(err)
					}
					j := time.Duration(policy.DefaultJitter * float64(middle))
					if r.RetryAfter < middle-j || r.RetryAfter > middle+j+1 {
						t.Fatalf("backoff %d is %v, want %v ± %v", n, r.RetryAfter, middle, j)
					}
					time.Sleep(r.RetryAfter)
				}
			})
		})
	}
}

var zero float64

func nan() float64 { return zero / zero }
