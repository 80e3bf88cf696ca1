package live

import (
	"fmt"
	"strings"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// flag is something that is wrong with a pool, and why.
type flag struct {
	Of    string `json:"of,omitempty"`   // "quota", "mux" or "endpoints"; "": the pool itself
	Name  string `json:"name,omitempty"` // of the quota or multiplexer, as the page has it
	Key   string `json:"key,omitempty"`  // the holder of the quota
	Kind  string `json:"kind"`
	Level string `json:"level"` // bad, warn, or note: the page shows a figure in red, and no flag
	Text  string `json:"text"`  // a few words
	Why   string `json:"why"`   // a sentence with the figures
	Doc   string `json:"doc"`   // what to do: a document below Config.Docs
}

// The documents that flags lead to. A test checks that the headings exist.
const (
	docMetrics  = "operating.md#what-each-metric-means"
	docAlerts   = "operating.md#alerts"
	docLeak     = "operating.md#hunting-a-leak"
	docOutage   = "operating.md#what-an-outage-looks-like"
	docSizing   = "sizing.md"
	docStuck    = "failures.md#slow-stuck-or-leaking"
	docShared   = "failures.md#shared-connections-and-endpoints"
	docMux      = "shared.md#alerts"
	docEndpoint = "endpoints.md#alerts"
	docFleet    = "fleet.md#alerts"
)

// flagger collects flags.
type flagger struct {
	all           []flag
	of, name, key string
}

func (f *flagger) add(kind, level, says, doc, why string, args ...any) {
	f.all = append(f.all, flag{
		Of: f.of, Name: f.name, Key: f.key, Kind: kind, Level: level, Text: cut(says), Why: cut(fmt.Sprintf(why, args...)), Doc: doc,
	})
}

// flagsOf returns what is wrong with a pool at that time; outage is how long creation has
// been failing. At most limit quotas and multiplexers are looked at.
func flagsOf(s *metrics.Snapshot, problem string, outage time.Duration, limit int) []flag {
	var f flagger
	if problem != "" {
		f.add("problem", "bad", problem, docMetrics, "The pool cannot be shown: %s.", problem)
		return f.all
	}
	f.pool(s, outage)
	for _, q := range first(s.Quotas, limit) {
		f.of, f.name, f.key = "quota", cut(q.Name), cut(q.Holder)
		f.quota(&q)
	}
	f.of, f.name, f.key = "endpoints", "", ""
	if s.Endpoints != nil {
		f.endpoints(s.Endpoints)
	}
	for i := range first(s.Multiplexers, limit) {
		f.of, f.name = "mux", cut(s.Multiplexers[i].Name)
		f.multiplexer(&s.Multiplexers[i])
	}
	return f.all
}

func (f *flagger) pool(s *metrics.Snapshot, outage time.Duration) {
	if s.Outage {
		says, lasts := "outage", ""
		if outage > 0 {
			says, lasts = "outage for "+formatAge(outage), " for "+formatAge(outage)
		}
		f.add("outage", "bad", says, docOutage, "Creation has been failing%s; %s failed since the pool was made.%s",
			lasts, counted(s.Failed, "creation has", "creations have"), last(" The last one: %s.", s.LastMake))
	}
	if s.Overdue > 0 {
		f.add("overdue", "bad", number(s.Overdue)+" overdue", docLeak, "%s held for longer than Overdue%s allows%s.",
			counted(s.Overdue, "lease is", "leases are"), limitOf(s), longest(s.Held))
	}
	if s.Load.Waiting > 0 {
		why := fmt.Sprintf("%s, the first for %s: %s of %s are leased", counted(s.Load.Waiting, "caller waits", "callers wait"), formatDuration(s.OldestWait),
			number(s.Leased), counted(s.Max, "resource", "resources"))
		for _, part := range []struct {
			n    int
			says string
		}{
			{s.Making, "being created"}, {s.Destroying, "being destroyed"}, {s.Wanting, "more wanted of a total that is used up"},
		} {
			if part.n > 0 {
				why += fmt.Sprintf(", %s %s", number(part.n), part.says)
			}
		}
		if s.Max > 0 && s.Leased >= s.Max {
			f.add("full", "warn", "all leased", docSizing, "%s.", why)
		} else {
			f.add("waiting", "note", "callers wait", docSizing, "%s.", why)
		}
	}
	if s.Abandoned > 0 {
		f.add("abandoned", "warn", counted(s.Abandoned, "creation abandoned", "creations abandoned"), docStuck,
			"%s not returned although MakeTimeout has ended the context. Each keeps its goroutine, and no slot.", counted(s.Abandoned, "call of Make has", "calls of Make have"))
	}
	if s.Hanging > 0 {
		f.add("hanging", "warn", number(s.Hanging)+" hanging", docStuck,
			"%s not returned although the context has ended: of Health, OnRelease or ReleaseAfter. Each keeps a slot.", counted(s.Hanging, "call has", "calls have"))
	}
	if s.Panics > 0 {
		f.add("panics", "warn", counted(s.Panics, "panic", "panics"), docAlerts,
			"%s contained in functions of the user, such as Make or a policy, since the pool was made. Each cost one call; the events have the last ones.",
			counted(s.Panics, "panic or Goexit was", "panics or Goexits were"))
	}
}

// last writes an error into a sentence, which is empty without one.
func last(sentence string, err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(sentence, text.Of(err))
}

// limitOf writes the Overdue of the meter, if the snapshot has its settings.
func limitOf(s *metrics.Snapshot) string {
	for _, one := range s.Settings {
		if one.Of == "metrics.Config" && one.Name == "Overdue" && !one.Default {
			return " (" + text.Discreet(one.Value) + ")"
		}
	}
	return ""
}

// longest says which overdue lease is held for longest, if held lists one.
func longest(held []metrics.Held) string {
	for _, h := range held {
		if !h.Overdue {
			continue
		}
		s := "; the longest for " + formatDuration(h.For)
		if at, ok := own(h.Stack); ok {
			s += fmt.Sprintf(", acquired in %s (%s)", shortName(at.Func), fileLine(at))
		}
		return s
	}
	return ""
}

// own is the first frame of a stack that is not the pool's.
func own(stack []metrics.Frame) (metrics.Frame, bool) {
	const module = "github.com/respool/respool/"
	for _, f := range stack {
		path := strings.TrimPrefix(f.Func, module)
		part, _, _ := strings.Cut(strings.ReplaceAll(path, "/", "."), ".")
		ours := path != f.Func && (part == "resource" || part == "wspool" || part == "metrics")
		if !ours && !strings.HasPrefix(f.Func, "runtime.") {
			return f, true
		}
	}
	return metrics.Frame{}, false
}

// shortName is the name of a function without the path of its package.
func shortName(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// fileLine is the last two elements of the path of a file, and the line.
func fileLine(f metrics.Frame) string {
	at := f.File
	if i := strings.LastIndexByte(at, '/'); i >= 0 {
		at = at[strings.LastIndexByte(at[:i], '/')+1:]
	}
	return fmt.Sprintf("%s:%d", at, f.Line)
}

func (f *flagger) quota(q *resource.SharedQuota) {
	if q.Lost > 0 {
		f.add("lost", "bad", "engine lost for "+formatAge(q.Lost), docFleet, "No claim of this process has been answered for %s, so it does what its mode says (%s).%s",
			formatAge(q.Lost), text.Discreet(q.Mode), last(" The last error: %s.", q.LostCause))
	}
	if q.Over > 0 {
		f.add("over", "bad", number(q.Over)+" beyond the grant", docFleet,
			"This process uses %s of the %s granted to it: the limit was lowered, or its lease ended, while they were in use.",
			number(q.Granted+q.Over), counted(q.Granted, "unit", "units"))
	}
	if q.Total > q.Limit {
		f.add("exceeded", "bad", fmt.Sprintf("%s of %s granted", number(q.Total), number(q.Limit)), docFleet,
			"All processes together have %s with a limit of %s. That is expected for a while after the limit was lowered.", counted(q.Total, "unit", "units"), number(q.Limit))
	}
	if q.Learning {
		f.add("learning", "warn", "engine learning", docFleet,
			"The engine grants nothing new, because it may have lost what the processes had; each keeps what it has until a lease has passed.")
	}
	if q.Highest > q.Limit {
		f.add("disagree", "warn", "limits disagree", docFleet,
			"Processes state limits from %s to %s; the smallest applies, until the last process that states it has gone.", number(q.Limit), number(q.Highest))
	}
}

func (f *flagger) multiplexer(m *resource.Multiplexer) {
	if m.Unknown > 0 {
		f.add("unknown", "bad", counted(m.Unknown, "unknown reply", "unknown replies"), docMux,
			"%s an id that was never sent on the connection: the server or a proxy mixes up calls, or the codec reads the wrong field.", counted(m.Unknown, "reply had", "replies had"))
	}
	if m.Waiting > 0 {
		f.add("waiting", "warn", fmt.Sprintf("%s without room for %s", counted(m.Waiting, "caller", "callers"), formatDuration(m.OldestWait)), docShared,
			"%s for a connection to have room, the first for %s: %s in flight on %s, which may have %s each.", counted(m.Waiting, "caller waits", "callers wait"), formatDuration(m.OldestWait),
			counted(m.InFlight, "call is", "calls are"), counted(max(0, m.Held-m.Draining), "connection", "connections"), number(m.Limit))
	}
	if 2*m.Orphans > m.MaxOrphans*max(1, m.Held) {
		f.add("orphans", "warn", counted(m.Orphans, "orphan", "orphans"), docMux,
			"%s given up and no reply has come; a connection with more than %s is replaced. The server loses requests, or takes longer than the contexts of the callers.",
			counted(m.Orphans, "call was", "calls were"), number(m.MaxOrphans))
	}
	if m.StreamDropped > 0 {
		f.add("dropped", "warn", counted(m.StreamDropped, "stream message", "stream messages")+" dropped", docMux,
			"%s the buffer of its stream full: the reader is slower than the server.", counted(m.StreamDropped, "message found", "messages found"))
	}
	if m.Panics > 0 {
		f.add("panics", "warn", counted(m.Panics, "panic", "panics"), docAlerts,
			"%s contained in functions of the client's Config.", counted(m.Panics, "panic or Goexit was", "panics or Goexits were"))
	}
}

// ejectedShown is how many ejected endpoints a sentence names.
const ejectedShown = 3

func (f *flagger) endpoints(e *resource.Endpoints) {
	var ejected []string
	for i := range e.All {
		one := &e.All[i]
		if !one.Ejected {
			continue
		}
		says := fmt.Sprintf("%s for %s, after %s and %s", text.Discreet(one.Addr), formatAge(one.For), counted(one.Bad, "failure", "failures"), counted(one.Probes, "probe", "probes"))
		ejected = append(ejected, says+last(" (%s)", one.Cause))
	}
	n := len(ejected)
	if e.Panic {
		f.add("panic", "bad", "too few endpoints healthy", docEndpoint,
			"%s of %s ejected, so fewer are healthy than PanicBelow demands: callers are sent to ejected ones too.", number(n), counted(len(e.All), "endpoint is", "endpoints are"))
	}
	if e.ResolverErr != nil {
		f.add("resolver", "bad", "resolver failing", docEndpoint,
			"The last answer of the resolver was not applied (%s of %s so far), so the endpoints are those before it. The error: %s.",
			number(e.UpdatesFailed), number(e.Updates+e.UpdatesFailed), text.Of(e.ResolverErr))
	}
	if n > 0 {
		more := ""
		if n > ejectedShown {
			more = fmt.Sprintf("; and %s more", number(n-ejectedShown))
		}
		f.add("ejected", "warn", fmt.Sprintf("%s of %s ejected", number(n), counted(len(e.All), "endpoint", "endpoints")), docEndpoint,
			"Ejected: %s%s.", strings.Join(ejected[:min(n, ejectedShown)], "; "), more)
	}
}
