package endpoint

import (
	"math"
	"strings"
	"testing"
)

func TestConstructorsPanicWithBadArguments(t *testing.T) {
	for name, f := range map[string]func(){
		"PeakEWMA decay":      func() { PeakEWMA(PeakEWMAConfig{Decay: -1}) },
		"PeakEWMA penalty":    func() { PeakEWMA(PeakEWMAConfig{Penalty: -1}) },
		"Zone nil":            func() { Zone("a", 1, nil) },
		"Zone small":          func() { Zone("a", 0.5, P2C()) },
		"Zone NaN":            func() { Zone("a", math.NaN(), P2C()) },
		"ConsecutiveFailures": func() { ConsecutiveFailures(0) },
		"SuccessRate volume":  func() { SuccessRate(SuccessRateConfig{MinVolume: -1}) },
		"SuccessRate one":     func() { SuccessRate(SuccessRateConfig{MinEndpoints: 1}) },
		"SuccessRate NaN":     func() { SuccessRate(SuccessRateConfig{Sigmas: math.NaN()}) },
		"SuccessRate gap":     func() { SuccessRate(SuccessRateConfig{MinGap: 2}) },
		"AnyOf":               func() { AnyOf(Never(), nil) },
	} {
		func() {
			defer func() {
				if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "endpoint: ") {
					t.Errorf("%s: the panic is %v", name, v)
				}
			}()
			f()
		}()
	}
}

func TestNamesOfStatesAndKinds(t *testing.T) {
	seen := make(map[string]bool)
	check := func(s string) {
		if s == "" || seen[s] || strings.Contains(s, "(") {
			t.Errorf("bad or repeated name %q", s)
		}
		seen[s] = true
	}
	for s := range statuses {
		check("status " + s.String())
	}
	for k := range kinds {
		check("kind " + k.String())
	}
	for k := range eventKinds {
		check("event " + k.String())
	}
	if Status(99).String() != "Status(99)" || Kind(99).String() != "Kind(99)" || EventKind(99).String() != "EventKind(99)" {
		t.Error("unknown values")
	}
}

func TestWhatEvidenceCountsAs(t *testing.T) {
	for _, tc := range []struct {
		e       Evidence
		n       int
		refusal bool
	}{
		{Evidence{Kind: DialFailed}, 1, false},
		{Evidence{Kind: DialFailed, Status: 503}, 1, false},
		{Evidence{Kind: DialFailed, Status: 500}, 1, false},
		{Evidence{Kind: DialFailed, Status: 499}, 1, true},
		{Evidence{Kind: DialFailed, Status: 401}, 1, true},
		{Evidence{Kind: DialFailed, Status: 429}, 1, true},
		{Evidence{Kind: CallFailed}, 1, false},
		{Evidence{Kind: Silence}, 3, false},
		{Evidence{Kind: Closed}, 1, false},
		{Evidence{Kind: Closed, Code: 1000}, 0, false},
		{Evidence{Kind: Closed, Code: 1001}, 0, false},
		{Evidence{Kind: Closed, Code: 1002}, 1, true},
		{Evidence{Kind: Closed, Code: 1003}, 1, true},
		{Evidence{Kind: Closed, Code: 1005}, 0, false},
		{Evidence{Kind: Closed, Code: 1006}, 1, false},
		{Evidence{Kind: Closed, Code: 1007}, 1, true},
		{Evidence{Kind: Closed, Code: 1008}, 1, true},
		{Evidence{Kind: Closed, Code: 1010}, 1, true},
		{Evidence{Kind: Closed, Code: 1011}, 1, false},
		{Evidence{Kind: Closed, Code: 1012}, 0, false},
		{Evidence{Kind: Closed, Code: 1013}, 1, false},
		{Evidence{Kind: Closed, Code: 1014}, 1, false},
		{Evidence{Kind: Closed, Code: 1015}, 1, true},
		{Evidence{Kind: Closed, Code: 4001}, 1, true},
		{Evidence{Kind: Success}, 0, false},
		{Evidence{Kind: Unanswered}, 0, false},
		{Evidence{Kind: Local}, 0, false},
		{Evidence{}, 0, false},
	} {
		if n, refusal := weigh(tc.e); n != tc.n || refusal != tc.refusal {
			t.Errorf("%+v counts as %d, refusal %v; want %d, %v", tc.e, n, refusal, tc.n, tc.refusal)
		}
	}
}
