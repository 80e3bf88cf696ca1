package mux

import (
	"reflect"
	"testing"
)

// Zero values stand for the documented ones, and other values for themselves.
func TestConfig_Defaults(t *testing.T) {
	got := Config{}.withDefaults()
	got.Codec, got.Name, got.Trace = nil, "", nil
	want := Config{
		MaxConns: 1, MaxInFlight: DefaultMaxInFlight, GrowAt: DefaultGrowAt, MaxOrphans: DefaultMaxOrphans, MaxBatch: DefaultMaxBatch,
		Bulk: DefaultBulk, EventBuffer: DefaultEventBuffer, MaxAsks: DefaultMaxAsks, OrphanWait: DefaultOrphanWait,
		IdleAfter: DefaultIdleAfter, DrainWait: DefaultDrainWait, ReplayRatio: DefaultReplayRatio,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the zero Config is\n%+v, want\n%+v", got, want)
	}
	set := Config{
		Name: "n", MaxConns: 2, MaxInFlight: 3, GrowAt: 4, MaxOrphans: 5, MaxBatch: 6, Bulk: -1, EventBuffer: 7, MaxAsks: 8,
		OrphanWait: -1, IdleAfter: -1, DrainWait: 9, ReplayRatio: -1, Trace: &Trace{},
	}
	if got := set.withDefaults(); !reflect.DeepEqual(got, set) {
		t.Errorf("it is\n%+v, want\n%+v", got, set)
	}
}
