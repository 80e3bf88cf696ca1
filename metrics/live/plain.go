package live

import (
	"slices"
	"time"
)

// plainOverview is the answer to pools.json.
type plainOverview struct {
	Time  time.Time `json:"time"`
	Pools []any     `json:"pools"`
	More  int       `json:"more"`
}

// plainProblem stands for a pool that cannot be shown.
type plainProblem struct {
	Name    string `json:"name"`
	Problem string `json:"problem"`
}

// plainDetail is the answer to pool.json.
type plainDetail struct {
	Pool    any     `json:"pool"`
	Matched matched `json:"matched"`
}

// matched has the lengths of the lists before they were cut.
type matched struct {
	Resources int `json:"resources"`
	Waiting   int `json:"waiting"`
	Held      int `json:"held"`
	Events    int `json:"events"`
}

func (u *update) plainPools(find string) plainOverview {
	g := plainOverview{Time: u.at, Pools: []any{}}
	var shown []*known
	shown, g.More = u.chosen(find)
	for _, k := range shown {
		if k.problem != "" {
			g.Pools = append(g.Pools, plainProblem{k.brief.Name, k.problem})
			continue
		}
		s := k.brief
		s.Events = nil
		g.Pools = append(g.Pools, s)
	}
	return g
}

func (u *update) plainPool(v view) (d plainDetail, ok bool) {
	k := u.lists(v.pool)
	if k == nil {
		return d, false
	}
	if k.full == nil {
		return plainDetail{Pool: plainProblem{k.brief.Name, k.problem}}, true
	}
	s := *k.full
	d.Matched = matched{Waiting: len(s.Waiting), Held: len(s.Held), Events: len(s.Events)}
	s.Waiting, s.Held, s.Events = first(s.Waiting, u.limit), first(s.Held, u.limit), first(s.Events, u.limit)
	shown, n := v.resources(s.Resources, u.limit)
	d.Matched.Resources, s.Resources = n, nil
	for _, r := range shown {
		s.Resources = append(s.Resources, *r)
	}
	s.Multiplexers = slices.Clone(s.Multiplexers)
	for i := range s.Multiplexers {
		m := &s.Multiplexers[i]
		m.Resources = first(m.Resources, u.limit)
	}
	if s.Endpoints != nil {
		e := *s.Endpoints
		e.All = first(e.All, u.limit)
		s.Endpoints = &e
	}
	d.Pool = s
	return d, true
}

// first returns at most n of all, from the beginning.
func first[T any](all []T, n int) []T { return all[:min(n, len(all))] }
