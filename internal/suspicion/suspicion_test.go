package suspicion_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/suspicion"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	quick = time.Millisecond
	usual = 300 * time.Millisecond
	slow  = 2 * time.Second
)

// event is one check: its end, since when its resource was idle, and what
// followed.
type event struct {
	what       string
	now, since int64
	took       time.Duration
	changed    bool // what the call reports
	active     bool // afterwards
}

func TestSuspicion(t *testing.T) {
	for name, events := range map[string][]event{
		"one quick failure": {
			{"failed", 10, 0, quick, false, false},
		},
		"one slow failure": {
			{"failed", 10, 0, slow, true, true},
		},
		"as long as a make is quick": {
			{"failed", 10, 0, usual, false, false},
		},
		"two quick failures": {
			{"failed", 10, 0, quick, false, false},
			{"failed", 11, 0, quick, true, true},
		},
		"a pass between quick failures": {
			{"failed", 10, 0, quick, false, false},
			{"passed", 11, 0, quick, false, false},
			{"failed", 12, 0, quick, false, false},
		},
		"a pass ends it": {
			{"failed", 10, 0, slow, true, true},
			{"passed", 11, 9, quick, true, false},
		},
		"a pass of a newer one does not": {
			{"failed", 10, 0, slow, true, true},
			{"passed", 11, 10, quick, false, true},
		},
		"more failures are no news": {
			{"failed", 10, 0, slow, true, true},
			{"failed", 12, 9, slow, false, true},
			{"passed", 13, 11, quick, false, true},
		},
		"a failure of a newer one is": {
			{"failed", 10, 0, slow, true, true},
			{"failed", 20, 11, quick, true, true},
			{"passed", 21, 19, quick, true, false},
		},
		"one cut short": {
			{"cut", 10, 0, slow, false, false},
		},
		"two cut short": {
			{"cut", 10, 0, slow, false, false},
			{"cut", 20, 0, slow, true, true},
		},
		"callers in a hurry": {
			{"cut", 10, 0, quick, false, false},
			{"cut", 20, 0, quick, false, false},
		},
		"a pass between two cut short": {
			{"cut", 10, 0, slow, false, false},
			{"passed", 15, 0, slow, false, false},
			{"cut", 20, 0, slow, false, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s suspicion.Suspicion
			for i, e := range events {
				var changed bool
				switch e.what {
				case "failed":
					changed = s.Failed(e.now, e.since, e.took, usual)
				case "cut":
					changed = s.Cut(e.now, e.since, e.took, usual)
				default:
					changed = s.Passed(e.since)
				}
				if changed != e.changed || s.Active() != e.active {
					t.Fatalf("event %d, %+v: changed %t, active %t", i, e, changed, s.Active())
				}
				if e.active && (!s.Covers(e.now-1) && e.changed || s.Covers(e.now)) {
					t.Errorf("event %d, %+v: covers the wrong ones", i, e)
				}
				if e.what == "passed" && !e.active && s.Alert() {
					t.Errorf("event %d, %+v: still alert", i, e)
				}
			}
			s.Clear()
			if s.Active() || s.Alert() || s.Covers(-1) {
				t.Error("not clear")
			}
		})
	}
}
