// Package spread makes endpoints fit to be labels of metrics.
package spread

import (
	"fmt"
	"math"
	"sync"

	"github.com/respool/respool/metrics/internal/label"
	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// Most is how many endpoints have labels of their own; the others are counted together under
// Other, since each label is a set of time series.
const (
	Most  = 64
	Other = "other"
)

// Labels gives the endpoints of pools labels that last from one export to the next. An endpoint
// keeps its label until it has left the pool; one that is counted under Other stays there until
// then. So no counter of a label falls while endpoints come and go: what endpoints have counted
// under Other stays in it. The zero Labels is ready for use, by several goroutines.
type Labels struct {
	mu    sync.Mutex
	pools map[string]*pool
}

// pool is what is known of the endpoints of one pool from its exports before. It has no more
// entries than the pool has endpoints.
type pool struct {
	own   map[string]string                 // labels by key
	last  map[string]*resource.EndpointInfo // what those under Other had counted, by key
	other resource.EndpointInfo             // sums of all counters under Other
	some  bool                              // there has been one
}

// Of returns the endpoints of the named pool with unique labels as Addr, without what looks like a
// secret, and at most Most of them and Other.
func (ls *Labels) Of(name string, e *resource.Endpoints) []resource.EndpointInfo {
	if e == nil {
		return nil
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.pools == nil {
		ls.pools = make(map[string]*pool)
	}
	p := ls.pools[name]
	if p == nil {
		p = &pool{own: make(map[string]string), last: make(map[string]*resource.EndpointInfo)}
		ls.pools[name] = p
	}
	return p.export(e.All)
}

// Keep forgets the pools without one of these names.
func (ls *Labels) Keep(names []string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	kept := make(map[string]*pool, len(names))
	for _, name := range names {
		if p := ls.pools[name]; p != nil {
			kept[name] = p
		}
	}
	ls.pools = kept
}

func (p *pool) export(all []resource.EndpointInfo) []resource.EndpointInfo {
	keys := keysOf(all)
	here := make(map[string]bool, len(keys))
	for _, k := range keys {
		here[k] = true
	}
	var names label.Names
	names.Unique(Other) // no endpoint has this label
	for k, l := range p.own {
		if here[k] {
			names.Unique(l)
		} else {
			delete(p.own, k)
		}
	}
	for k := range p.last {
		if !here[k] {
			delete(p.last, k)
		}
	}
	sum := resource.EndpointInfo{Addr: Other}
	out := make([]resource.EndpointInfo, 0, min(len(all), Most+1))
	for i, one := range all {
		one.Share = Finite(one.Share)
		k := keys[i]
		l, labeled := p.own[k]
		if _, counted := p.last[k]; !labeled && !counted && len(p.own) < Most {
			l, labeled = names.Unique(text.Discreet(one.Addr)), true
			p.own[k] = l
		}
		if labeled {
			one.Addr = l
			out = append(out, one)
			continue
		}
		p.some = true
		p.count(k, &one)
		addLevels(&sum, &one)
	}
	if p.some { // also when the last has left: a counter that vanishes and comes back falls for some readers
		for i, n := range counters(&p.other) {
			*counters(&sum)[i] = *n
		}
		out = append(out, sum)
	}
	return out
}

// count adds to the sums what the endpoint has counted since the export before. If it has counted
// less than before it has left and come back meanwhile, or exports have overtaken each other.
func (p *pool) count(key string, one *resource.EndpointInfo) {
	last := p.last[key]
	if last == nil {
		last = new(resource.EndpointInfo)
		p.last[key] = last
	}
	before, now := counters(last), counters(one)
	for i, n := range counters(&p.other) {
		*n += max(0, *now[i]-*before[i])
		*before[i] = *now[i]
	}
}

// counters are the figures that only grow.
func counters(e *resource.EndpointInfo) [6]*int64 {
	return [...]*int64{&e.Begun, &e.Good, &e.Bad, &e.Refused, &e.Ejections, &e.Probes}
}

// addLevels adds the figures of one that go up and down to sum.
func addLevels(sum, one *resource.EndpointInfo) {
	sum.Share += one.Share
	sum.Load += one.Load
	sum.Latency = max(sum.Latency, one.Latency)
	sum.Idle += one.Idle
	sum.Leased += one.Leased
	sum.Shared += one.Shared
	sum.Making += one.Making
	sum.Moved += one.Moved
}

// keysOf returns the addresses, with a number if one is repeated.
func keysOf(all []resource.EndpointInfo) []string {
	keys, times := make([]string, len(all)), make(map[string]int, len(all))
	for i := range all {
		addr := all[i].Addr
		keys[i] = addr
		if times[addr]++; times[addr] > 1 {
			keys[i] = fmt.Sprintf("%s\x00%d", addr, times[addr])
		}
	}
	return keys
}

// Finite returns f, or 0 if it is infinite or not a number, which JSON cannot have.
func Finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
