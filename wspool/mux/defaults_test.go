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

// Each figure of the text is the one that is named there.
func TestStats_String(t *testing.T) {
	s := Stats{
		Conns: make([]ConnStats, 1), InFlight: 2, Waiting: 3, Orphans: 4, Streams: 5, Acquired: 6, Calls: 7, NotSent: 8, MayHaveRun: 9,
		Messages: 10, Batches: 11, Retried: 12, Replayed: 13, Orphaned: 14, Late: 15, Unknown: 16, Bad: 17, Unwanted: 18,
		EventsDropped: 19, StreamDropped: 20, Gaps: 21, Resumes: 22, Panics: 23,
	}
	want := "1 connections, 2 in flight, 3 waiting, 4 orphans, 5 streams; 6 acquired, 7 answered, 8 not sent, 9 may have run, " +
		"10 messages in 11 writes, 12 retried, 13 replayed, 14 given up; 15 late, 16 unknown, 17 bad, 18 unwanted, " +
		"19 events and 20 stream messages dropped; 21 gaps, 22 resumes, 23 panics"
	if got := s.String(); got != want {
		t.Errorf("it is\n%s, want\n%s", got, want)
	}
}
