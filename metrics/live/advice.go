package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/internal/text"
)

// adviser computes advice, which replays the history of a pool and takes up to a second. It
// bounds what that costs: one advice is computed at a time, by the request that wants it,
// after it the adviser rests for idleShare-1 times as long, and an advice is kept for
// adviceLasts. So it uses at most 1/idleShare of a core, and nothing while no page asks. The
// collector knows nothing of it, so an advice never delays an update.
type adviser struct {
	turn      chan struct{} // held by the request that computes or rests
	restUntil time.Time     // guarded by turn: before it no advice is computed

	mu   sync.Mutex
	kept map[adviceKey]kept
}

type adviceKey struct {
	pool string
	goal metrics.Goal
}

type kept struct {
	at     time.Time // when it was computed
	answer advice
}

const (
	adviceLasts = 30 * time.Second
	maxAdvices  = 100
)

func newAdviser() *adviser {
	return &adviser{turn: make(chan struct{}, 1), kept: make(map[adviceKey]kept)}
}

// errNoHistory is the problem of a Meter that has none.
var errNoHistory = errors.New("the meter keeps no history")

// get returns the advice of that key: a kept one, or what compute returns. It waits for its
// turn until ctx ends or closed is closed. If closed was closed before, it returns a kept one or
// errClosed.
func (a *adviser) get(ctx context.Context, closed <-chan struct{}, key adviceKey, compute func() advice) (advice, error) {
	if one, ok := a.find(key); ok {
		return one, nil
	}
	select {
	case <-closed: // the select below would choose at random between it and a free turn
		return advice{}, errClosed
	default:
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return advice{}, ctx.Err()
	case <-closed:
		return advice{}, errClosed
	}
	if one, ok := a.find(key); ok { // computed by the request before this one
		return one, nil
	}
	rest := time.NewTimer(time.Until(a.restUntil))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return advice{}, ctx.Err()
	case <-closed:
		return advice{}, errClosed
	}
	begun := time.Now()
	one := compute()
	now := time.Now()
	took := now.Sub(begun)
	one.Took = seconds(took)
	a.restUntil = now.Add((idleShare - 1) * took)
	a.keep(key, kept{now, one})
	one.Fresh = seconds(adviceLasts)
	return one, nil
}

// find returns an advice that is kept.
func (a *adviser) find(key adviceKey) (advice, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.kept[key]
	age := time.Since(k.at)
	if !ok || age >= adviceLasts {
		return advice{}, false
	}
	k.answer.Age, k.answer.Fresh = seconds(age), seconds(adviceLasts-age)
	return k.answer, true
}

func (a *adviser) keep(key adviceKey, k kept) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.kept, func(_ adviceKey, old kept) bool { return k.at.Sub(old.at) >= adviceLasts })
	if len(a.kept) >= maxAdvices {
		clear(a.kept)
	}
	a.kept[key] = k
}

// advice is the answer to advice.json: a metrics.Advice.
type advice struct {
	Pool    string  `json:"pool"`
	Problem string  `json:"problem,omitempty"` // why there is none
	Goal    goal    `json:"goal"`
	Age     seconds `json:"age_seconds"`   // since it was computed
	Fresh   seconds `json:"fresh_seconds"` // until it is computed again
	Took    seconds `json:"took_seconds"`

	MaxSize    int         `json:"max_size"`
	Low        int         `json:"low"`
	High       int         `json:"high"`
	MinIdle    int         `json:"min_idle"`
	MaxWaiting int         `json:"max_waiting"`
	Load       float64     `json:"load"`
	Peak       int         `json:"peak"`
	Rate       float64     `json:"rate"`
	Hold       seconds     `json:"hold_seconds"`
	Make       seconds     `json:"make_seconds"`
	Replays    int         `json:"replays"`
	Curve      []sizePoint `json:"curve"`
	Span       seconds     `json:"span_seconds"`
	Acquires   int64       `json:"acquires"`
	Doubts     []string    `json:"doubts"`

	Now sizesNow `json:"now"`
}

type goal struct {
	Wait     seconds `json:"wait_seconds"`
	Quantile float64 `json:"quantile"`
	Growth   float64 `json:"growth"`
}

type sizePoint struct {
	Size   int     `json:"size"`
	Median seconds `json:"median_seconds"`
	Wait   seconds `json:"wait_seconds"`
	Low    seconds `json:"low_seconds"`
	High   seconds `json:"high_seconds"`
	Waited float64 `json:"waited"`
	Busy   float64 `json:"busy"`
}

// sizesNow are the present sizes of the pool.
type sizesNow struct {
	Max     int `json:"max"`
	MinIdle int `json:"min_idle"`
}

// parseGoal reads the goal of a query: wait is a duration, quantile and growth are numbers.
// The error names every bad value.
func parseGoal(q url.Values) (metrics.Goal, error) {
	g := metrics.Goal{Wait: 10 * time.Millisecond, Quantile: 0.99, Growth: 1}
	var bad []error
	if s := q.Get("wait"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 || d > time.Hour {
			bad = append(bad, errors.New("wait must be a duration above 0, at most 1h, such as 10ms"))
		}
		g.Wait = d
	}
	for _, f := range []struct {
		name     string
		to       *float64
		from, up float64
	}{{"quantile", &g.Quantile, 0.01, 0.9999}, {"growth", &g.Growth, 0.01, 100}} {
		s := q.Get(f.name)
		if s == "" {
			continue
		}
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(n) || n < f.from || n > f.up {
			bad = append(bad, fmt.Errorf("%s must be a number from %v to %v", f.name, f.from, f.up))
		}
		*f.to = n
	}
	return g, errors.Join(bad...)
}

// serveAdvice answers advice.json.
func (p *Page) serveAdvice(w http.ResponseWriter, r *http.Request) {
	v, err := parseView(r.URL.Query())
	g, bad := parseGoal(r.URL.Query())
	if err = errors.Join(err, bad); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var k *known
	err = p.inTurn(r, func(u *update) error {
		if k = u.find(v.pool); k == nil {
			return errUnknown
		}
		return nil
	})
	var body []byte
	if err == nil {
		var one advice
		if one, err = p.advices.get(r.Context(), p.closed, adviceKey{v.pool, g}, func() advice { return k.advise(g) }); err == nil {
			body, err = encode(one)
		}
	}
	if err != nil {
		failed(w, err)
		return
	}
	write(w, r, "application/json; charset=utf-8", body)
}

// advise replays the history of k. It contains a panic of the meter.
func (k *known) advise(g metrics.Goal) (out advice) {
	out = advice{
		Pool: k.brief.Name, Goal: goal{seconds(g.Wait), g.Quantile, g.Growth}, Now: sizesNow{k.brief.Max, k.brief.MinIdle},
		Curve: []sizePoint{}, Doubts: []string{},
	}
	defer contain(&out.Problem, "the advice")
	if out.Problem = k.problem; out.Problem != "" {
		return out
	}
	h, ok := k.history()
	if !ok {
		out.Problem = errNoHistory.Error()
		return out
	}
	s := k.meter.Snapshot(0)
	a, err := metrics.Advise(s, h, g)
	if err != nil {
		out.Problem = text.Of(err)
		return out
	}
	out.Now = sizesNow{s.Max, s.MinIdle}
	out.MaxSize, out.Low, out.High, out.MinIdle, out.MaxWaiting = a.MaxSize, a.Low, a.High, a.MinIdle, a.MaxWaiting
	out.Load, out.Peak, out.Rate, out.Hold, out.Make, out.Replays = a.Load, a.Peak, a.Rate, seconds(a.Hold), seconds(a.Make), a.Replays
	out.Span, out.Acquires = seconds(a.Span), a.Acquires
	for _, c := range a.Curve {
		out.Curve = append(out.Curve, sizePoint{c.Size, seconds(c.Median), seconds(c.Wait), seconds(c.Low), seconds(c.High), c.Waited, c.Busy})
	}
	out.Doubts = append(out.Doubts, a.Doubts...)
	return out
}
