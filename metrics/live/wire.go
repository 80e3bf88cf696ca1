package live

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/respool/respool/metrics"
)

// seconds is a duration that is a number of seconds in JSON, to the microsecond.
type seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) {
	us := time.Duration(s).Round(time.Microsecond)
	return strconv.AppendFloat(nil, us.Seconds(), 'f', -1, 64), nil
}

// overview is the event "pools".
type overview struct {
	Life  string    `json:"life"` // changes with a restart
	Time  time.Time `json:"time"`
	Every seconds   `json:"every_seconds"`
	Docs  string    `json:"docs"` // address before the name of a document
	Pools []summary `json:"pools"`
	More  int       `json:"more,omitempty"` // number of pools that match and are left out
}

// summary is one pool in the overview.
type summary struct {
	Name    string     `json:"name"`
	Problem string     `json:"problem,omitempty"` // why it cannot be shown
	Max     int        `json:"max"`
	Idle    int        `json:"idle"`
	Leased  int        `json:"leased"`
	Making  int        `json:"making"`
	Dying   int        `json:"destroying"`
	Lost    int        `json:"abandoned"`
	Waiting int        `json:"waiting"`
	Wanting int        `json:"wanting"`
	Oldest  seconds    `json:"oldest_wait_seconds"`
	Overdue int        `json:"overdue,omitempty"`        // leases that are held
	Outage  *seconds   `json:"outage_seconds,omitempty"` // how long; absent: there is none
	Cause   string     `json:"last_make_error,omitempty"`
	Counts  counts     `json:"counts"`
	Wait    *histogram `json:"wait,omitempty"`

	Failures map[string]int64 `json:"failed_by_reason,omitempty"` // acquires; without reasons of which there is none
	Quotas   []quota          `json:"quotas,omitempty"`           // shared with other processes

	Multiplexers []multiplexer `json:"multiplexers,omitempty"` // that share resources among calls
	Endpoints    *endpoints    `json:"endpoints,omitempty"`    // over which the pool is spread
	Layers       *layers       `json:"layers,omitempty"`       // sums over these

	Flags []flag `json:"flags,omitempty"` // what is wrong
}

// layers are metrics.Layers.
type layers struct {
	Multiplexers int   `json:"multiplexers"`
	InFlight     int   `json:"in_flight"`
	Orphans      int   `json:"orphans"`
	Waiting      int   `json:"waiting"`
	Answered     int64 `json:"answered"`
	NotSent      int64 `json:"not_sent"`
	MayHaveRun   int64 `json:"may_have_run"`
	Endpoints    int   `json:"endpoints"`
	Ejected      int   `json:"ejected"`
	Good         int64 `json:"good"`
	Bad          int64 `json:"bad"`
	Refused      int64 `json:"refused"`
}

// quota is a resource.SharedQuota.
type quota struct {
	Name       string   `json:"name"`
	Holder     string   `json:"holder"`
	Mode       string   `json:"mode,omitempty"`
	Granted    int      `json:"granted"`
	Held       int      `json:"held"`
	Want       int      `json:"want"`
	Target     int      `json:"target"`
	Limit      int      `json:"limit"`
	Highest    int      `json:"highest"`
	Total      int      `json:"total"`
	Holders    int      `json:"holders"`
	Waiting    int      `json:"waiting"`
	Learning   bool     `json:"learning,omitempty"`
	Lost       *seconds `json:"lost_seconds,omitempty"` // absent: the engine answers
	Cause      string   `json:"lost_cause,omitempty"`
	Over       int      `json:"over"`
	OverTotal  int64    `json:"over_total"`
	Closed     int64    `json:"closed"`
	Operations int64    `json:"operations"`
	Failed     int64    `json:"operations_failed"`
}

// multiplexer is a resource.Multiplexer.
type multiplexer struct {
	Name          string     `json:"name"`
	Held          int        `json:"held"`
	Draining      int        `json:"draining"`
	Limit         int        `json:"limit"`
	InFlight      int        `json:"in_flight"`
	Busiest       int        `json:"busiest"`
	Waiting       int        `json:"waiting"`
	Oldest        seconds    `json:"oldest_wait_seconds"`
	Orphans       int        `json:"orphans"`
	MaxOrphans    int        `json:"max_orphans"`
	Streams       int        `json:"streams"`
	Queued        int        `json:"queued_bytes"`
	Acquired      int64      `json:"acquired"`
	Calls         int64      `json:"calls"`
	NotSent       int64      `json:"not_sent"`
	MayHaveRun    int64      `json:"may_have_run"`
	Writes        int64      `json:"writes"`
	Messages      int64      `json:"messages"`
	Retried       int64      `json:"retried"`
	Replayed      int64      `json:"replayed"`
	Orphaned      int64      `json:"orphaned"`
	Late          int64      `json:"late"`
	Unknown       int64      `json:"unknown"`
	Bad           int64      `json:"bad"`
	Unwanted      int64      `json:"unwanted"`
	EventsDropped int64      `json:"events_dropped"`
	StreamDropped int64      `json:"stream_dropped"`
	Resumes       int64      `json:"resumes"`
	Gaps          int64      `json:"gaps"`
	Panics        int64      `json:"panics"`
	Took          *histogram `json:"took,omitempty"`     // on the page of the pool
	Conns         []muxConn  `json:"conns,omitempty"`    // on the page of the pool
	Settings      []setting  `json:"settings,omitempty"` // on the page of the pool
}

// muxConn is a resource.MultiplexedResource.
type muxConn struct {
	ID        uint64 `json:"id"`
	InFlight  int    `json:"in_flight"`
	Orphans   int    `json:"orphans"`
	Streams   int    `json:"streams"`
	Queued    int    `json:"queued_bytes"`
	Draining  bool   `json:"draining,omitempty"`
	Cause     string `json:"cause,omitempty"`
	Dedicated bool   `json:"dedicated,omitempty"`
	Calls     int64  `json:"calls"`
	Writes    int64  `json:"writes"`
	Messages  int64  `json:"messages"`
	Late      int64  `json:"late"`
	Unknown   int64  `json:"unknown"`
	Bad       int64  `json:"bad"`
}

// endpoints are resource.Endpoints.
type endpoints struct {
	Matched       int        `json:"matched"`
	Ejected       int        `json:"ejected"`
	Priority      int        `json:"priority"`
	Panic         bool       `json:"panic,omitempty"`
	Failovers     int64      `json:"failovers"`
	Failbacks     int64      `json:"failbacks"`
	Updates       int64      `json:"updates"`
	UpdatesFailed int64      `json:"updates_failed"`
	ResolverErr   string     `json:"resolver_error,omitempty"`
	Moved         int64      `json:"moved"`
	MovesFailed   int64      `json:"moves_failed"`
	Rows          []endpoint `json:"rows,omitempty"` // on the page of the pool
}

// endpoint is a resource.EndpointInfo.
type endpoint struct {
	Addr      string  `json:"addr"`
	Zone      string  `json:"zone,omitempty"`
	Priority  int     `json:"priority"`
	Status    string  `json:"status"`
	Cause     string  `json:"cause,omitempty"`
	For       seconds `json:"for_seconds"`
	Ranked    bool    `json:"ranked,omitempty"`
	Failing   bool    `json:"failing,omitempty"`
	Ejected   bool    `json:"ejected,omitempty"`
	Share     float64 `json:"share"`
	Load      int     `json:"load"`
	Latency   seconds `json:"latency_seconds"`
	Idle      int     `json:"idle"`
	Leased    int     `json:"leased"`
	Shared    int     `json:"shared"`
	Making    int     `json:"making"`
	Begun     int64   `json:"begun"`
	Good      int64   `json:"good"`
	Bad       int64   `json:"bad"`
	Refused   int64   `json:"refused"`
	Ejections int64   `json:"ejections"`
	Probes    int64   `json:"probes"`
	Moved     int64   `json:"moved"`
}

// counts are counters of resource.Stats.
type counts struct {
	Acquired    int64   `json:"acquired"`
	Released    int64   `json:"released"`
	Waited      int64   `json:"waited"`
	WaitTime    seconds `json:"wait_seconds"`
	Canceled    int64   `json:"canceled"`
	Rejected    int64   `json:"rejected"`
	Unserved    int64   `json:"unserved"` // acquires that failed, without those that did not want to wait
	Made        int64   `json:"made"`
	MakeTime    seconds `json:"make_seconds"`
	Failed      int64   `json:"failed"`
	Refused     int64   `json:"refused"`
	Destroyed   int64   `json:"destroyed"`
	Hijacked    int64   `json:"hijacked"`
	Evicted     int64   `json:"evicted"`
	Unhealthy   int64   `json:"unhealthy"`
	Invalidated int64   `json:"invalidated"`
	Panics      int64   `json:"panics"`
}

// detail is the event "pool".
type detail struct {
	summary
	Gone      bool             `json:"gone,omitempty"` // no such pool
	Time      time.Time        `json:"time"`
	Hold      *histogram       `json:"hold"`
	Make      *histogram       `json:"make"`
	Check     *histogram       `json:"check"`
	Close     *histogram       `json:"destroy"`
	Destroyed map[string]int64 `json:"destroyed_by_cause"`
	Refused   map[string]int64 `json:"refused_by_policy"`
	Outages   int64            `json:"outages"`
	Resources resources        `json:"resources"`
	Held      held             `json:"held"`
	Waiters   waiters          `json:"waiters"`
	Policies  []policy         `json:"policies"`
	Facts     []fact           `json:"facts"`
	Settings  []setting        `json:"settings"`
	Events    []happening      `json:"events"`
}

// histogram has the buckets and some quantiles of a metrics.Histogram.
type histogram struct {
	Count   int64   `json:"count"`
	Sum     seconds `json:"sum_seconds"`
	P50     seconds `json:"p50_seconds"`
	P90     seconds `json:"p90_seconds"`
	P99     seconds `json:"p99_seconds"`
	Zero    int64   `json:"zero"`
	First   int     `json:"first"`
	Buckets []int64 `json:"buckets"`
}

type resources struct {
	Seen    int    `json:"seen"`    // searched
	Matched int    `json:"matched"` // number of those with the state and the text
	Rows    []item `json:"rows"`
}

type item struct {
	ID          uint64   `json:"id"`
	State       string   `json:"state"`
	Lease       uint64   `json:"lease,omitempty"` // ordinal of the current lease
	Age         seconds  `json:"age_seconds"`
	Idle        *seconds `json:"idle_seconds,omitempty"`
	Held        *seconds `json:"held_seconds,omitempty"`
	Shared      bool     `json:"shared,omitempty"`
	Leases      int64    `json:"leases"`
	Detail      string   `json:"detail,omitempty"`
	Invalidated string   `json:"invalidated,omitempty"`
}

type held struct {
	Matched int     `json:"matched"`
	Rows    []lease `json:"rows"`
	// Stacks are indexed by the rows: most leases have one of a few stacks.
	Stacks [][]frame `json:"stacks"`
}

type lease struct {
	ID      uint64  `json:"id"`
	Lease   uint64  `json:"lease"`
	For     seconds `json:"for_seconds"`
	Class   string  `json:"class,omitempty"`
	Overdue bool    `json:"overdue,omitempty"`
	Shared  bool    `json:"shared,omitempty"`
	Stack   int     `json:"stack"` // index in stacks; -1: unknown
}

type frame struct {
	Func string `json:"func"`
	File string `json:"file"`
	Line int    `json:"line"`
}

type waiters struct {
	Matched int      `json:"matched"`
	Rows    []waiter `json:"rows"`
}

type waiter struct {
	Waited   seconds `json:"waited_seconds"`
	Class    string  `json:"class,omitempty"`
	Priority int     `json:"priority,omitempty"`
	Cost     int     `json:"cost,omitempty"`
}

type policy struct {
	Moment string `json:"moment"`
	Type   string `json:"type"`
	State  string `json:"state,omitempty"`
}

type fact struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
	Level bool   `json:"level,omitempty"`
}

// setting is a resource.Setting.
type setting struct {
	Of      string `json:"of"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default bool   `json:"default,omitempty"`
}

type happening struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
	More int64     `json:"more,omitempty"` // events of its kind and label within a second
}

// encode fails on values that a Meter of the user may return: a year with five digits,
// or a State that does not exist.
func encode(v any) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panicked: %v", r)
		}
	}()
	return json.Marshal(v)
}

// maxText bounds texts of the user, in bytes.
const maxText = 400

// cut shortens a text at the boundary of a character.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func toHistogram(h metrics.Histogram) *histogram {
	return &histogram{
		Count: h.Count, Sum: seconds(h.Sum), Zero: h.Zero, First: h.First, Buckets: h.Buckets,
		P50: seconds(h.Quantile(0.50)), P90: seconds(h.Quantile(0.90)), P99: seconds(h.Quantile(0.99)),
	}
}
