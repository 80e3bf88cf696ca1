package resource

import (
	"cmp"
	"slices"
	"time"
)

// inspectedKeys is of how many keys [Keyed.Inspect] tells the policies.
const inspectedKeys = 16

// Inspect is [Pool.Inspect] for all keys together: Stats are those of
// [Keyed.Stats], MinIdle the sum over the keys, OldestWait the longest of any,
// Resources some of all keys, and Waiting those of all keys who wait longest, in
// that order. Policies are those of the first few keys, the same ones told once.
// Its cost grows with the number of keys, and it makes none.
func (k *Keyed[K, T]) Inspect(limit int) Inspection {
	in := Inspection{Stats: k.Stats().Stats}
	asked := 0
	waits := longest{most: max(0, limit)}
	for _, p := range k.All() {
		wait := p.inspector.longestWait()
		in.OldestWait = max(in.OldestWait, wait)
		in.MinIdle += p.cfg.MinIdle
		if waits.takes(wait) {
			waits.add(p.inspector.waiting(limit))
		}
		p.inspector.list(&in, limit)
		if asked++; asked > inspectedKeys {
			continue
		}
		for _, s := range p.policies.states() {
			if !slices.Contains(in.Policies, s) {
				in.Policies = append(in.Policies, s)
			}
		}
	}
	in.Waiting = waits.cut()
	return in
}

// longest is those who wait longest, of the lines of many keys.
type longest struct {
	most  int
	all   []WaiterInfo  // twice as many at most, in no order
	least time.Duration // who waits no longer is none of them
}

// takes reports whether one who has waited so long may be one of them.
func (l *longest) takes(wait time.Duration) bool { return l.least == 0 || wait > l.least }

func (l *longest) add(some []WaiterInfo) {
	if l.all = append(l.all, some...); len(l.all)-l.most > l.most {
		l.all = l.cut()
		l.least = l.all[l.most-1].Waited
	}
}

// cut returns them, the first first.
func (l *longest) cut() []WaiterInfo {
	slices.SortStableFunc(l.all, func(a, b WaiterInfo) int { return cmp.Compare(b.Waited, a.Waited) })
	return l.all[:min(len(l.all), l.most)]
}

// InspectKey is [Pool.Inspect] for one key, if that is in use. It makes none and
// keeps none from being forgotten.
func (k *Keyed[K, T]) InspectKey(key K, limit int) (Inspection, bool) {
	p, ok := k.Find(key)
	if !ok {
		return Inspection{}, false
	}
	return p.Inspect(limit), true
}

// View returns one key as something to inspect, for those who watch pools. The
// key need not be in use, now or later.
func (k *Keyed[K, T]) View(key K) KeyView[K, T] { return KeyView[K, T]{k, key} }

// KeyView is one key of a [Keyed], to be inspected. It may be copied.
type KeyView[K comparable, T any] struct {
	keyed *Keyed[K, T]
	key   K
}

// Inspect is [Keyed.InspectKey]. While the key is not in use it is the zero
// Inspection; when it is used anew after that its counters begin at 0.
func (v KeyView[K, T]) Inspect(limit int) Inspection {
	in, _ := v.keyed.InspectKey(v.key, limit)
	return in
}

// SampleFor is [Pool.SampleFor] for every key in use.
func (k *Keyed[K, T]) SampleFor(d time.Duration) {
	for _, p := range k.All() {
		p.SampleFor(d)
	}
}
