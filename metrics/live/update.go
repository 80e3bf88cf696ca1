package live

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// update is the state of all pools at one time. It is not safe for concurrent use.
type update struct {
	life   string
	docs   string
	every  time.Duration
	limit  int
	at     time.Time
	known  []known
	byName map[string]int
	taken  map[string]int // number of pools with a name, and of those that got a number
	frames map[view][]byte
}

// known is one pool.
type known struct {
	meter   Meter
	brief   metrics.Snapshot  // without lists
	full    *metrics.Snapshot // nil: not taken yet
	problem string
}

// update takes a snapshot of every meter, without lists.
func (p *Page) update() *update {
	u := &update{
		life: p.life, docs: p.cfg.Docs, every: p.cfg.Every, limit: p.cfg.Limit,
		at: time.Now(), byName: make(map[string]int), taken: make(map[string]int), frames: make(map[view][]byte),
	}
	all, problem := p.meters()
	if problem != "" {
		u.add(known{problem: problem})
	}
	for _, m := range all {
		k := known{meter: m}
		k.brief, k.problem = ask(m, 0)
		u.add(k)
	}
	return u
}

// meters calls Config.Meters; problem is not empty if that panicked.
func (p *Page) meters() (all []Meter, problem string) {
	defer contain(&problem, "Config.Meters")
	return p.cfg.Meters(), ""
}

func (u *update) add(k known) {
	k.brief.Name = u.name(k.brief.Name)
	u.byName[k.brief.Name] = len(u.known)
	u.known = append(u.known, k)
}

// name returns a unique name that a browser can send back.
func (u *update) name(name string) string {
	name = cut(cmp.Or(strings.ToValidUTF8(name, "\uFFFD"), "unnamed"))
	free := name
	for u.find(free) != nil {
		u.taken[name] = max(1, u.taken[name]) + 1
		free = fmt.Sprintf("%s (%d)", name, u.taken[name])
	}
	return free
}

func (u *update) find(name string) *known {
	if i, ok := u.byName[name]; ok {
		return &u.known[i]
	}
	return nil
}

// ask takes a snapshot; problem is not empty if that panicked.
func ask(m Meter, limit int) (s metrics.Snapshot, problem string) {
	defer contain(&problem, "its snapshot")
	return m.Snapshot(limit), ""
}

// contain is deferred where code of the user may panic.
func contain(problem *string, what string) {
	if r := recover(); r != nil {
		*problem = text.DiscreetTo(fmt.Sprintf("%s panicked: %v", what, r), maxText)
	}
}

// registered returns the meters of the process.
func registered() []Meter {
	var all []Meter
	for _, m := range metrics.All() {
		all = append(all, m)
	}
	return all
}

// lists returns a pool with its lists, which are taken once an update; nil if there is
// no such pool. Its full is nil if it has a problem.
func (u *update) lists(name string) *known { return u.listsUpTo(name, scanned) }

// listsUpTo is lists with at most limit entries, if they have not been taken before.
func (u *update) listsUpTo(name string, limit int) *known {
	k := u.find(name)
	if k != nil && k.full == nil && k.problem == "" {
		s, problem := ask(k.meter, limit)
		if k.problem = problem; problem == "" {
			s.Name = k.brief.Name
			k.full = &s
		}
	}
	return k
}

// pool returns the JSON of one pool for its page.
func (u *update) pool(v view) []byte {
	k := u.lists(v.pool)
	if k == nil {
		return u.problem(v.pool, "", true)
	}
	if k.full == nil {
		return u.problem(v.pool, k.problem, false)
	}
	d, problem := u.detail(v, k.full)
	if problem == "" {
		b, err := encode(d)
		if err == nil {
			return b
		}
		problem = text.DiscreetTo(fmt.Sprintf("its snapshot cannot be shown: %v", err), maxText)
	}
	return u.problem(v.pool, problem, false)
}

// problem returns the JSON of a pool that cannot be shown.
func (u *update) problem(name, problem string, gone bool) []byte {
	b, err := encode(detail{summary: summary{Name: name, Problem: problem}, Gone: gone, Time: u.at})
	if err != nil {
		return []byte("{}")
	}
	return b
}

// detail returns a pool for its page; problem is not empty if an error of the user
// panicked.
func (u *update) detail(v view, s *metrics.Snapshot) (d detail, problem string) {
	defer contain(&problem, "a look at its snapshot")
	brief, problem := u.summary(s, "")
	if problem != "" {
		return d, problem
	}
	for i := range brief.Multiplexers {
		m := &s.Multiplexers[i]
		brief.Multiplexers[i].Took = toHistogram(metrics.HistogramOf(m.Took))
		brief.Multiplexers[i].Conns = toMuxConns(first(m.Resources, u.limit))
		brief.Multiplexers[i].Settings = toSettings(m.Settings)
	}
	if s.Endpoints != nil {
		brief.Endpoints.Rows = toEndpointRows(first(s.Endpoints.All, u.limit))
	}
	d = detail{
		summary: brief, Time: u.at,
		Hold: toHistogram(s.Hold), Make: toHistogram(s.Make), Check: toHistogram(s.Check), Close: toHistogram(s.Close),
		Destroyed: labels(s.Destroyed), Refused: labels(s.Refused), Outages: s.Outages,
		Held: toHeld(s.Held, u.limit), Waiters: toWaiters(s.Waiting, u.limit),
	}
	shown, matched := v.resources(s.Resources, u.limit)
	d.Resources = resources{Seen: len(s.Resources), Matched: matched, Rows: []item{}}
	for _, r := range shown {
		d.Resources.Rows = append(d.Resources.Rows, toItem(r))
	}
	for _, p := range s.Policies {
		d.Policies = append(d.Policies, policy{p.Moment, p.Type, text.DiscreetTo(p.State, maxText)})
	}
	for _, f := range s.Facts {
		d.Facts = append(d.Facts, fact(f))
	}
	d.Settings = toSettings(s.Settings)
	for _, e := range first(s.Events, u.limit) {
		d.Events = append(d.Events, happening{e.Time, e.Kind, text.DiscreetTo(e.Text, maxText), e.More})
	}
	return d, ""
}

// unserved is the number of acquires that failed, without those that did not want
// to wait.
func unserved(f resource.AcquireFailures) int64 { return f.Total() - f.NoneIdle }

// failures is the number of acquires that failed, by reason, without reasons of
// which there is none.
func failures(f resource.AcquireFailures) map[string]int64 {
	by := map[string]int64{}
	for reason, n := range f.All() {
		if n > 0 {
			by[reason.String()] = n
		}
	}
	return by
}

// labels returns the counts of all without what looks like a secret in a label.
func labels(all map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(all))
	for label, n := range all {
		out[text.DiscreetTo(label, maxText)] += n
	}
	return out
}

func toItem(r *resource.ResourceInfo) item {
	out := item{
		ID: r.ID, State: r.State.String(), Lease: r.Lease, Age: seconds(r.Age), Leases: r.Leases, Shared: r.Shared,
		Detail: cut(r.Detail), Invalidated: text.Of(r.Invalidated),
	}
	if d := seconds(r.Held); r.State == resource.Leased {
		out.Held = &d
	}
	if d := seconds(r.Idle); r.State != resource.Leased {
		out.Idle = &d
	}
	return out
}

// maxSettings is how many settings are shown; a pool has about 60.
const maxSettings = 500

func toSettings(all []resource.Setting) []setting {
	out := make([]setting, min(len(all), maxSettings))
	for i := range out {
		s := &all[i]
		out[i] = setting{text.Discreet(s.Of), text.Discreet(s.Name), text.Discreet(s.Value), s.Default}
	}
	return out
}

func toHeld(all []metrics.Held, limit int) held {
	out := held{Matched: len(all), Rows: []lease{}, Stacks: [][]frame{}}
	index := make(map[string]int) // in out.Stacks, by the key of a stack
	keys := make(stackKeys)
	for _, h := range first(all, limit) {
		row := lease{ID: h.ID, Lease: h.Lease, For: seconds(h.For), Class: cut(h.Class), Overdue: h.Overdue, Shared: h.Shared, Stack: -1}
		if len(h.Stack) > 0 {
			key := keys.of(h.Stack)
			i, ok := index[key]
			if !ok {
				i = len(out.Stacks)
				index[key] = i
				out.Stacks = append(out.Stacks, toStack(h.Stack))
			}
			row.Stack = i
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

// stackKeys has a text for each stack, equal for equal stacks, by the location of the stack in
// memory: leases share stacks, so few texts are made.
type stackKeys map[span]string

// span is the location of a stack in memory.
type span struct {
	first *metrics.Frame
	n     int
}

func (k stackKeys) of(stack []metrics.Frame) string {
	if len(stack) == 0 {
		return ""
	}
	at := span{&stack[0], len(stack)}
	key, ok := k[at]
	if !ok {
		key = fmt.Sprint(stack)
		k[at] = key
	}
	return key
}

func toStack(all []metrics.Frame) []frame {
	out := make([]frame, len(all))
	for i, f := range all {
		out[i] = frame(f)
	}
	return out
}

func toWaiters(all []resource.WaiterInfo, limit int) waiters {
	out := waiters{Matched: len(all), Rows: []waiter{}}
	for _, w := range first(all, limit) {
		out.Rows = append(out.Rows, waiter{
			Waited: seconds(w.Waited), Class: cut(w.Request.Class),
			Priority: w.Request.Priority, Cost: cmp.Or(w.Request.Cost, 1),
		})
	}
	return out
}
