package live

import (
	"slices"
	"time"

	"github.com/respool/respool/metrics"
)

// historian is a Meter that keeps a history, as a *metrics.Meter does.
type historian interface{ History() metrics.History }

// past is the answer to history.json.
type past struct {
	Life  string     `json:"life"`
	Time  time.Time  `json:"time"`
	Pools []poolPast `json:"pools"`
}

// poolPast is the history of a pool by columns, each as long as T. There are
// columns of levels and of waits only where one pool was asked for: the overview
// draws a line of acquires.
type poolPast struct {
	Name   string               `json:"name"`
	Since  float64              `json:"since"` // seconds of Unix time
	Every  float64              `json:"every_seconds"`
	T      []float64            `json:"t"` // seconds of Unix time
	Levels map[string][]float64 `json:"levels,omitempty"`
	Counts map[string][]int64   `json:"counts"`
	Failed map[string][]int64   `json:"failed_by_reason"`           // null: it is not known
	P50    []*float64           `json:"wait_p50_seconds,omitempty"` // null: no acquire got a resource
	P99    []*float64           `json:"wait_p99_seconds,omitempty"`
	Layers map[string][]*int64  `json:"layers,omitempty"` // null: the pool had none
}

// The overview gets one of thin points of a history: one each ten seconds.
const thin = 5

// past returns the histories of the pools that the overview shows, or of one pool.
func (u *update) past(v view) (past, bool) {
	p := past{Life: u.life, Time: u.at, Pools: []poolPast{}}
	if v.pool != "" {
		k := u.find(v.pool)
		if k == nil {
			return p, false
		}
		if h, ok := k.history(); ok {
			p.Pools = append(p.Pools, u.toPast(k.brief.Name, h, true))
		}
		return p, true
	}
	shown, _ := u.chosen(v.find)
	for _, k := range shown {
		if h, ok := k.history(); ok {
			p.Pools = append(p.Pools, u.toPast(k.brief.Name, h, false))
		}
	}
	return p, true
}

// history contains a panic of the meter.
func (k *known) history() (h metrics.History, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if m, is := k.meter.(historian); is {
		h = m.History()
	}
	return h, !h.Since.IsZero()
}

func (u *update) toPast(name string, h metrics.History, whole bool) poolPast {
	points := h.Points
	if !whole {
		points = thinned(points)
	}
	// By the clock of now, which may have been set since: the page has the others
	// by it, too.
	at := func(t time.Time) float64 { return float64(u.at.Add(t.Sub(u.at)).UnixMilli()) / 1000 }
	p := poolPast{
		Name: name, Since: at(h.Since), Every: h.Every.Seconds(), T: column(points, func(p *metrics.Point) float64 { return at(p.Time) }),
		Counts: map[string][]int64{
			"acquired": column(points, func(p *metrics.Point) int64 { return p.Acquired }),
			"unserved": column(points, func(p *metrics.Point) int64 { return unserved(p.Failures) }),
		},
	}
	if !whole {
		p.Every *= thin
		return p
	}
	p.Levels = make(map[string][]float64)
	for name, of := range pastLevels {
		p.Levels[name] = column(points, of)
	}
	for name, of := range pastCounts {
		p.Counts[name] = column(points, of)
	}
	p.Failed = make(map[string][]int64)
	if len(points) > 0 {
		for reason, n := range points[len(points)-1].Failures.All() {
			if n > 0 { // it never falls
				p.Failed[reason.String()] = column(points, func(p *metrics.Point) int64 { return p.Failures.Of(reason) })
			}
		}
	}
	p.P50 = column(points, func(p *metrics.Point) *float64 { return quantile(p, p.WaitP50) })
	p.P99 = column(points, func(p *metrics.Point) *float64 { return quantile(p, p.WaitP99) })
	if slices.ContainsFunc(points, func(p metrics.Point) bool { return p.Layers != nil }) {
		p.Layers = make(map[string][]*int64)
		for name, of := range pastLayers {
			p.Layers[name] = column(points, func(p *metrics.Point) *int64 {
				if p.Layers == nil {
					return nil
				}
				n := of(p.Layers)
				return &n
			})
		}
	}
	return p
}

var pastLevels = map[string]func(p *metrics.Point) float64{
	"max":                 func(p *metrics.Point) float64 { return float64(p.Load.Max) },
	"leased":              func(p *metrics.Point) float64 { return float64(p.Load.Leased) },
	"idle":                func(p *metrics.Point) float64 { return float64(p.Load.Idle) },
	"making":              func(p *metrics.Point) float64 { return float64(p.Load.Making) },
	"destroying":          func(p *metrics.Point) float64 { return float64(p.Load.Destroying) },
	"waiting":             func(p *metrics.Point) float64 { return float64(p.Load.Waiting) },
	"oldest_wait_seconds": func(p *metrics.Point) float64 { return p.OldestWait.Round(time.Microsecond).Seconds() },
}

var pastCounts = map[string]func(p *metrics.Point) int64{
	"waited":    func(p *metrics.Point) int64 { return p.Waited },
	"made":      func(p *metrics.Point) int64 { return p.Made },
	"failed":    func(p *metrics.Point) int64 { return p.Failed },
	"destroyed": func(p *metrics.Point) int64 { return p.Destroyed },
}

var pastLayers = map[string]func(l *metrics.Layers) int64{
	"multiplexers": func(l *metrics.Layers) int64 { return int64(l.Multiplexers) },
	"in_flight":    func(l *metrics.Layers) int64 { return int64(l.InFlight) },
	"orphans":      func(l *metrics.Layers) int64 { return int64(l.Orphans) },
	"waiting":      func(l *metrics.Layers) int64 { return int64(l.Waiting) },
	"answered":     func(l *metrics.Layers) int64 { return l.Answered },
	"not_sent":     func(l *metrics.Layers) int64 { return l.NotSent },
	"may_have_run": func(l *metrics.Layers) int64 { return l.MayHaveRun },
	"endpoints":    func(l *metrics.Layers) int64 { return int64(l.Endpoints) },
	"ejected":      func(l *metrics.Layers) int64 { return int64(l.Ejected) },
	"good":         func(l *metrics.Layers) int64 { return l.Good },
	"bad":          func(l *metrics.Layers) int64 { return l.Bad },
	"refused":      func(l *metrics.Layers) int64 { return l.Refused },
}

// column is a figure of each point.
func column[T any](points []metrics.Point, of func(p *metrics.Point) T) []T {
	all := make([]T, len(points))
	for i := range points {
		all[i] = of(&points[i])
	}
	return all
}

func quantile(p *metrics.Point, d time.Duration) *float64 {
	if p.Waits == 0 {
		return nil
	}
	s := d.Round(time.Microsecond).Seconds()
	return &s
}

// thinned is every thin-th of points, the last among them.
func thinned(points []metrics.Point) (some []metrics.Point) {
	for i := (len(points) + thin - 1) % thin; i < len(points); i += thin {
		some = append(some, points[i])
	}
	return some
}
