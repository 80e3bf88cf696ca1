package metrics

import (
	"encoding/json"
	"time"

	"github.com/respool/respool/metrics/internal/spread"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// MarshalJSON returns s as an object. Names begin with a lower-case letter. A duration
// is a number of seconds with a fraction, a time has the format of RFC 3339 and is
// omitted if zero, an error is its text, at most 200 bytes of printable characters. What looks
// like a secret is removed from texts of errors, events, labels, settings and policies; names,
// classes and the result of [resource.Config] Describe are as they were given.
// Lists and maps are never null. For a histogram see [Histogram.MarshalJSON].
func (s Snapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonSnapshot{
		Name: s.Name, Time: s.Time,
		Load: jsonLoad(s.Load), Counters: countersOf(&s.Stats),
		Outage: jsonOutage{
			Now: s.Outage, Since: s.Since, Count: s.Outages, LastMake: text.Of(s.LastMake),
		},
		MinIdle: s.MinIdle, OldestWait: seconds(s.OldestWait),
		Wait: s.Wait, Hold: s.Hold, Make: s.Make, Check: s.Check, Close: s.Close,
		Destroyed: labels(s.Destroyed), Refused: labels(s.Refused),
		Overdue:   s.Overdue,
		Resources: list(s.Resources, resourceOf),
		Waiting:   list(s.Waiting, waitingOf),
		Policies:  list(s.Policies, policyOf),
		Quotas:    list(s.Quotas, quotaOf),

		Multiplexers: list(s.Multiplexers, multiplexerOf),
		Endpoints:    endpointsOf(s.Endpoints),

		Facts:    list(s.Facts, func(f resource.Fact) jsonFact { return jsonFact(f) }),
		Settings: list(s.Settings, settingOf),

		Held:   list(s.Held, heldOf),
		Events: list(s.Events, eventOf),
	})
}

// MarshalJSON returns the fields of h, its mean and some quantiles: {"count", "sum",
// "zero", "first", "buckets", "mean", "p50", "p90", "p99", "p999"}, durations in
// seconds. They are those of all values that h has, for a [Meter] since it was made; for a
// period subtract the buckets of two snapshots.
func (h Histogram) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonHistogram{
		Count: h.Count, Sum: seconds(h.Sum), Zero: h.Zero, First: h.First, Buckets: list(h.Buckets, func(n int64) int64 { return n }),
		Mean: seconds(h.Mean()), P50: seconds(h.Quantile(0.5)), P90: seconds(h.Quantile(0.9)),
		P99: seconds(h.Quantile(0.99)), P999: seconds(h.Quantile(0.999)),
	})
}

type jsonHistogram struct {
	Count   int64   `json:"count"`
	Sum     seconds `json:"sum"`
	Zero    int64   `json:"zero"`
	First   int     `json:"first"`
	Buckets []int64 `json:"buckets"`
	Mean    seconds `json:"mean"`
	P50     seconds `json:"p50"`
	P90     seconds `json:"p90"`
	P99     seconds `json:"p99"`
	P999    seconds `json:"p999"`
}

// seconds is a duration that is a number of seconds in JSON.
type seconds time.Duration

func (s seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

type jsonSnapshot struct {
	Name       string           `json:"name"`
	Time       time.Time        `json:"time,omitzero"`
	Load       jsonLoad         `json:"load"`
	Counters   jsonCounters     `json:"counters"`
	Outage     jsonOutage       `json:"outage"`
	MinIdle    int              `json:"minIdle"`
	OldestWait seconds          `json:"oldestWait"`
	Wait       Histogram        `json:"wait"`
	Hold       Histogram        `json:"hold"`
	Make       Histogram        `json:"make"`
	Check      Histogram        `json:"check"`
	Close      Histogram        `json:"close"`
	Destroyed  map[string]int64 `json:"destroyed"`
	Refused    map[string]int64 `json:"refused"`
	Overdue    int              `json:"overdue"`
	Resources  []jsonResource   `json:"resources"`
	Waiting    []jsonWaiting    `json:"waiting"`
	Policies   []jsonPolicy     `json:"policies"`
	Quotas     []jsonQuota      `json:"quotas"`

	Multiplexers []jsonMultiplexer `json:"multiplexers"`
	Endpoints    jsonEndpoints     `json:"endpoints"`

	Facts    []jsonFact    `json:"facts"`
	Settings []jsonSetting `json:"settings"`
	Held     []jsonHeld    `json:"held"`
	Events   []jsonEvent   `json:"events"`
}

type jsonLoad struct {
	Max        int `json:"max"`
	Idle       int `json:"idle"`
	Leased     int `json:"leased"`
	Making     int `json:"making"`
	Destroying int `json:"destroying"`
	Hanging    int `json:"hanging"`
	Abandoned  int `json:"abandoned"`
	Waiting    int `json:"waiting"`
	Wanting    int `json:"wanting"`
}

type jsonCounters struct {
	Acquired int64   `json:"acquired"`
	Released int64   `json:"released"`
	Waited   int64   `json:"waited"`
	WaitTime seconds `json:"waitTime"`

	WaitsServed     int64   `json:"waitsServed"`
	WaitsServedTime seconds `json:"waitsServedTime"`
	WaitsFailed     int64   `json:"waitsFailed"`
	WaitsFailedTime seconds `json:"waitsFailedTime"`
	AcquireTime     seconds `json:"acquireTime"`

	Begun     jsonBegun `json:"begun"`
	Withdrawn int64     `json:"withdrawn"`

	Failures map[string]int64 `json:"failures"` // acquires, by resource.Reason

	Canceled    int64   `json:"canceled"`
	Rejected    int64   `json:"rejected"`
	Made        int64   `json:"made"`
	MakeTime    seconds `json:"makeTime"`
	Failed      int64   `json:"failed"`
	Refused     int64   `json:"refused"`
	Destroyed   int64   `json:"destroyed"`
	Hijacked    int64   `json:"hijacked"`
	Evicted     int64   `json:"evicted"`
	Unhealthy   int64   `json:"unhealthy"`
	Invalidated int64   `json:"invalidated"`
	Panics      int64   `json:"panics"`

	ReleaseFailed int64 `json:"releaseFailed"`
}

type jsonBegun struct {
	Callers      int64 `json:"callers"`
	NoWait       int64 `json:"noWait"`
	MinIdle      int64 `json:"minIdle"`
	Warm         int64 `json:"warm"`
	MakeOne      int64 `json:"makeOne"`
	Replacements int64 `json:"replacements"`
}

func countersOf(s *resource.Stats) jsonCounters {
	failures := map[string]int64{}
	for reason, n := range s.Failures.All() {
		failures[reason.String()] = n
	}
	return jsonCounters{
		Acquired: s.Acquired, Released: s.Released, Waited: s.Waited, WaitTime: seconds(s.WaitTime),
		Failures: failures, Canceled: s.Canceled, Rejected: s.Rejected, Made: s.Made, MakeTime: seconds(s.MakeTime),
		Failed: s.Failed, Refused: s.Refused, Destroyed: s.Destroyed, Hijacked: s.Hijacked,
		Evicted: s.Evicted, Unhealthy: s.Unhealthy, Invalidated: s.Invalidated, Panics: s.Panics,
		ReleaseFailed: s.ReleaseFailed,
		WaitsServed:   s.WaitsServed, WaitsServedTime: seconds(s.WaitsServedTime),
		WaitsFailed: s.WaitsFailed, WaitsFailedTime: seconds(s.WaitsFailedTime),
		AcquireTime: seconds(s.AcquireTime), Begun: jsonBegun(s.Begun), Withdrawn: s.Withdrawn,
	}
}

type jsonOutage struct {
	Now      bool      `json:"now"`
	Since    time.Time `json:"since,omitzero"`
	Count    int64     `json:"count"`
	LastMake string    `json:"lastMake"` // error of the last creation; "" if it succeeded
}

type jsonResource struct {
	ID          uint64  `json:"id"`
	State       string  `json:"state"`
	Lease       uint64  `json:"lease"` // ordinal of the current lease, for Reclaim; 0 unless leased
	Age         seconds `json:"age"`
	Idle        seconds `json:"idle"`
	Leases      int64   `json:"leases"`
	Checked     seconds `json:"checked"`
	Failures    int     `json:"failures"`
	Held        seconds `json:"held"`
	Shared      bool    `json:"shared"`
	Invalidated string  `json:"invalidated"`
	Detail      string  `json:"detail"`
}

func resourceOf(r resource.ResourceInfo) jsonResource {
	return jsonResource{
		ID: r.ID, State: r.State.String(), Lease: r.Lease, Age: seconds(r.Age), Idle: seconds(r.Idle), Leases: r.Leases,
		Checked: seconds(r.Checked), Failures: r.Failures, Held: seconds(r.Held), Shared: r.Shared, Invalidated: text.Of(r.Invalidated), Detail: text.Clean(r.Detail, text.MaxError),
	}
}

type jsonWaiting struct {
	Waited       seconds `json:"waited"`
	Class        string  `json:"class"`
	Priority     int     `json:"priority"`
	Cost         int     `json:"cost"`
	MinRemaining seconds `json:"minRemaining"`
	Fresh        bool    `json:"fresh"`
}

func waitingOf(w resource.WaiterInfo) jsonWaiting {
	return jsonWaiting{
		Waited: seconds(w.Waited), Class: text.Clean(w.Request.Class, text.MaxLabel), Priority: w.Request.Priority,
		Cost: w.Request.Cost, MinRemaining: seconds(w.Request.MinRemaining), Fresh: w.Request.Fresh,
	}
}

type jsonPolicy struct {
	Moment string `json:"moment"`
	Type   string `json:"type"`
	State  string `json:"state"`
}

func policyOf(p resource.PolicyState) jsonPolicy {
	return jsonPolicy{p.Moment, text.Clean(p.Type, text.MaxError), text.Discreet(p.State)}
}

type jsonQuota struct {
	Name       string  `json:"name"`
	Holder     string  `json:"holder"`
	Mode       string  `json:"mode"`
	Granted    int     `json:"granted"`
	Held       int     `json:"held"`
	Want       int     `json:"want"`
	Target     int     `json:"target"`
	Limit      int     `json:"limit"`
	Highest    int     `json:"highest"`
	Total      int     `json:"total"`
	Holders    int     `json:"holders"`
	Waiting    int     `json:"waiting"`
	Learning   bool    `json:"learning"`
	Lost       seconds `json:"lost"`
	LostCause  string  `json:"lostCause"`
	Over       int     `json:"over"`
	OverTotal  int64   `json:"overTotal"`
	Closed     int64   `json:"closed"`
	Operations int64   `json:"operations"`
	Failed     int64   `json:"failed"`
}

func quotaOf(q resource.SharedQuota) jsonQuota {
	return jsonQuota{
		Name: text.Clean(q.Name, text.MaxError), Holder: text.Clean(q.Holder, text.MaxError), Mode: text.DiscreetTo(q.Mode, text.MaxLabel),
		Granted: q.Granted, Held: q.Held, Want: q.Want, Target: q.Target, Limit: q.Limit, Highest: q.Highest,
		Total: q.Total, Holders: q.Holders, Waiting: q.Waiting, Learning: q.Learning, Lost: seconds(q.Lost), LostCause: text.Of(q.LostCause),
		Over: q.Over, OverTotal: q.OverTotal, Closed: q.Closed, Operations: q.Operations, Failed: q.Failed,
	}
}

type jsonMultiplexer struct {
	Name          string         `json:"name"`
	Held          int            `json:"held"`
	Draining      int            `json:"draining"`
	Limit         int            `json:"limit"`
	InFlight      int            `json:"inFlight"`
	Busiest       int            `json:"busiest"`
	Waiting       int            `json:"waiting"`
	OldestWait    seconds        `json:"oldestWait"`
	Orphans       int            `json:"orphans"`
	MaxOrphans    int            `json:"maxOrphans"`
	Streams       int            `json:"streams"`
	Queued        int            `json:"queued"`
	Acquired      int64          `json:"acquired"`
	Calls         int64          `json:"calls"`
	NotSent       int64          `json:"notSent"`
	MayHaveRun    int64          `json:"mayHaveRun"`
	Batches       int64          `json:"batches"`
	Messages      int64          `json:"messages"`
	Retried       int64          `json:"retried"`
	Replayed      int64          `json:"replayed"`
	Orphaned      int64          `json:"orphaned"`
	Late          int64          `json:"late"`
	Unknown       int64          `json:"unknown"`
	Bad           int64          `json:"bad"`
	Unwanted      int64          `json:"unwanted"`
	EventsDropped int64          `json:"eventsDropped"`
	StreamDropped int64          `json:"streamDropped"`
	Resumes       int64          `json:"resumes"`
	Gaps          int64          `json:"gaps"`
	Panics        int64          `json:"panics"`
	Took          Histogram      `json:"took"`
	Resources     []jsonMuxShare `json:"resources"`
	Settings      []jsonSetting  `json:"settings"`
}

type jsonMuxShare struct {
	ID        uint64 `json:"id"`
	InFlight  int    `json:"inFlight"`
	Orphans   int    `json:"orphans"`
	Streams   int    `json:"streams"`
	Queued    int    `json:"queued"`
	Draining  bool   `json:"draining"`
	Cause     string `json:"cause"`
	Dedicated bool   `json:"dedicated"`
	Calls     int64  `json:"calls"`
	Batches   int64  `json:"batches"`
	Messages  int64  `json:"messages"`
	Late      int64  `json:"late"`
	Unknown   int64  `json:"unknown"`
	Bad       int64  `json:"bad"`
}

func multiplexerOf(m resource.Multiplexer) jsonMultiplexer {
	return jsonMultiplexer{
		Name: text.Clean(m.Name, text.MaxLabel), Held: m.Held, Draining: m.Draining, Limit: m.Limit, InFlight: m.InFlight, Busiest: m.Busiest,
		Waiting: m.Waiting, OldestWait: seconds(m.OldestWait), Orphans: m.Orphans, MaxOrphans: m.MaxOrphans, Streams: m.Streams, Queued: m.Queued,
		Acquired: m.Acquired, Calls: m.Calls, NotSent: m.NotSent, MayHaveRun: m.MayHaveRun, Batches: m.Batches, Messages: m.Messages,
		Retried: m.Retried, Replayed: m.Replayed, Orphaned: m.Orphaned, Late: m.Late, Unknown: m.Unknown, Bad: m.Bad, Unwanted: m.Unwanted,
		EventsDropped: m.EventsDropped, StreamDropped: m.StreamDropped, Resumes: m.Resumes, Gaps: m.Gaps, Panics: m.Panics,
		Took: HistogramOf(m.Took), Resources: list(m.Resources, muxShareOf),
		Settings: list(m.Settings, settingOf),
	}
}

func muxShareOf(r resource.MultiplexedResource) jsonMuxShare {
	return jsonMuxShare{
		ID: r.ID, InFlight: r.InFlight, Orphans: r.Orphans, Streams: r.Streams, Queued: r.Queued, Draining: r.Draining, Cause: text.Of(r.Cause),
		Dedicated: r.Dedicated, Calls: r.Calls, Batches: r.Batches, Messages: r.Messages, Late: r.Late, Unknown: r.Unknown, Bad: r.Bad,
	}
}

type jsonEndpoints struct {
	All           []jsonEndpoint `json:"all"`
	Priority      int            `json:"priority"`
	Panic         bool           `json:"panic"`
	Failovers     int64          `json:"failovers"`
	Failbacks     int64          `json:"failbacks"`
	Updates       int64          `json:"updates"`
	UpdatesFailed int64          `json:"updatesFailed"`
	ResolverErr   string         `json:"resolverErr"`
	Moved         int64          `json:"moved"`
	MovesFailed   int64          `json:"movesFailed"`
}

type jsonEndpoint struct {
	Addr      string  `json:"addr"`
	Zone      string  `json:"zone"`
	Priority  int     `json:"priority"`
	Status    string  `json:"status"`
	Cause     string  `json:"cause"`
	For       seconds `json:"for"`
	Ranked    bool    `json:"ranked"`
	Failing   bool    `json:"failing"`
	Ejected   bool    `json:"ejected"`
	Share     float64 `json:"share"`
	Load      int     `json:"load"`
	Latency   seconds `json:"latency"`
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

// endpointsOf returns e as JSON; a pool that has none has an empty list.
func endpointsOf(e *resource.Endpoints) jsonEndpoints {
	if e == nil {
		return jsonEndpoints{All: []jsonEndpoint{}}
	}
	return jsonEndpoints{
		All: list(e.All, endpointOf), Priority: e.Priority, Panic: e.Panic, Failovers: e.Failovers, Failbacks: e.Failbacks,
		Updates: e.Updates, UpdatesFailed: e.UpdatesFailed, ResolverErr: text.Of(e.ResolverErr), Moved: e.Moved, MovesFailed: e.MovesFailed,
	}
}

func endpointOf(e resource.EndpointInfo) jsonEndpoint {
	return jsonEndpoint{
		Addr: text.Discreet(e.Addr), Zone: text.Clean(e.Zone, text.MaxLabel), Priority: e.Priority, Status: text.DiscreetTo(e.Status, text.MaxLabel),
		Cause: text.Of(e.Cause), For: seconds(e.For), Ranked: e.Ranked, Failing: e.Failing, Ejected: e.Ejected, Share: spread.Finite(e.Share), Load: e.Load,
		Latency: seconds(e.Latency), Idle: e.Idle, Leased: e.Leased, Shared: e.Shared, Making: e.Making, Begun: e.Begun, Good: e.Good, Bad: e.Bad,
		Refused: e.Refused, Ejections: e.Ejections, Probes: e.Probes, Moved: e.Moved,
	}
}

type jsonFact struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
	Level bool   `json:"level"`
}

type jsonSetting struct {
	Of      string `json:"of"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default bool   `json:"default"`
}

func settingOf(s resource.Setting) jsonSetting {
	return jsonSetting{text.Discreet(s.Of), text.Discreet(s.Name), text.Discreet(s.Value), s.Default}
}

type jsonHeld struct {
	ID      uint64      `json:"id"`
	Lease   uint64      `json:"lease"`
	For     seconds     `json:"for"`
	Class   string      `json:"class"`
	Overdue bool        `json:"overdue"`
	Shared  bool        `json:"shared"`
	Stack   []jsonFrame `json:"stack"`
}

func heldOf(h Held) jsonHeld {
	return jsonHeld{
		ID: h.ID, Lease: h.Lease, For: seconds(h.For), Class: text.Clean(h.Class, text.MaxLabel), Overdue: h.Overdue, Shared: h.Shared,
		Stack: list(h.Stack, func(f Frame) jsonFrame { return jsonFrame(f) }),
	}
}

type jsonFrame struct {
	Func string `json:"func"`
	File string `json:"file"`
	Line int    `json:"line"`
}

type jsonEvent struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
	More int64     `json:"more"`
}

func eventOf(e Event) jsonEvent { return jsonEvent{e.Time, e.Kind, text.Discreet(e.Text), e.More} }

// list converts each of from; never nil.
func list[A, B any](from []A, shape func(A) B) []B {
	to := make([]B, len(from))
	for i, a := range from {
		to[i] = shape(a)
	}
	return to
}

// labels returns the counts of m without what looks like a secret in a label; never nil.
func labels(m map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(m))
	for label, n := range m {
		out[text.Discreet(label)] += n
	}
	return out
}
