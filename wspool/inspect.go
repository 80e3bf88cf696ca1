package wspool

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/respool/respool/resource"
)

// Inspect returns a snapshot with at most limit connections and as many waiting
// callers, as [resource.Pool.Inspect] does, and what is known of them as
// WebSockets in Facts. It does not wait.
func (p *Pool) Inspect(limit int) resource.Inspection {
	in := p.pool.Inspect(limit)
	in.Facts = p.hub.count.sockets().facts()
	in.Panics += p.hub.count.panics.Load()
	return in
}

// SampleFor has every lease that begins in the next d sampled, as
// [resource.Pool.SampleFor] does.
func (p *Pool) SampleFor(d time.Duration) { p.pool.SampleFor(d) }

// SampleFor is [Pool.SampleFor] for every key in use.
func (m *Manager[K]) SampleFor(d time.Duration) { m.keyed.SampleFor(d) }

// Inspect is [Pool.Inspect] for all keys together, as [resource.Keyed.Inspect]
// does it.
func (m *Manager[K]) Inspect(limit int) resource.Inspection {
	in := m.keyed.Inspect(limit)
	in.Facts = m.count.sockets().facts()
	in.Panics += m.count.panics.Load()
	return in
}

// InspectKey is [Pool.Inspect] for one key, if that is in use, without Facts,
// which are counted for all keys together.
func (m *Manager[K]) InspectKey(key K, limit int) (resource.Inspection, bool) {
	return m.keyed.InspectKey(key, limit)
}

// View returns one key as something to inspect: see [resource.Keyed.View].
func (m *Manager[K]) View(key K) KeyView[K] { return KeyView[K]{m, key} }

// KeyView is one key of a [Manager], to be inspected. It may be copied.
type KeyView[K comparable] struct {
	m   *Manager[K]
	key K
}

// Inspect is [Manager.InspectKey]. While the key is not in use it is the zero
// Inspection.
func (v KeyView[K]) Inspect(limit int) resource.Inspection {
	in, _ := v.m.InspectKey(v.key, limit)
	return in
}

// facts are s as an Inspection tells them.
func (s Sockets) facts() []resource.Fact {
	facts := []resource.Fact{
		{Name: "unwatched", Value: int64(s.Unwatched), Level: true},
		{Name: "quarantined", Value: int64(s.Quarantined), Level: true},
		{Name: "unsolicited", Value: s.Unsolicited},
		{Name: "late", Value: s.Late},
		{Name: "tainted", Value: s.Tainted},
		{Name: "stale", Value: s.Stale},
		{Name: "silent", Value: s.Silent},
		{Name: "dropped", Value: s.Dropped},
		{Name: "heartbeats", Value: s.Heartbeats},
	}
	others := int64(0)
	for _, code := range slices.Sorted(maps.Keys(s.Closed)) {
		if code >= firstPrivate && len(s.Closed) > shownCodes { // a server may make up thousands
			others += s.Closed[code]
			continue
		}
		facts = append(facts, resource.Fact{Name: fmt.Sprintf("closed with code %d", code), Value: s.Closed[code]})
	}
	if others > 0 {
		facts = append(facts, resource.Fact{Name: "closed with another code", Value: others})
	}
	return facts
}

// RFC 6455 leaves close codes from 3000 on to those who use them. They are told
// one by one if there are no more than so many in all.
const (
	firstPrivate = 3000
	shownCodes   = 32
)
