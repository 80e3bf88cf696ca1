package resource

import (
	"cmp"
	"slices"
)

// inspectedKeys is of how many keys [Keyed.Inspect] tells the policies.
const inspectedKeys = 16

// Inspect is [Pool.Inspect] for all keys together: Stats are those of
// [Keyed.Stats], OldestWait the longest of any key, Resources and Waiting some of
// all keys, together at most limit each, those who wait longest first.
// Policies are those of the first few keys, the same ones told once. Its cost
// grows with the number of keys, and it makes none.
func (k *Keyed[K, T]) Inspect(limit int) Inspection {
	in := Inspection{Stats: k.Stats().Stats}
	asked := 0
	for _, p := range k.All() {
		p.mu.Lock()
		in.OldestWait = max(in.OldestWait, p.longestWait())
		p.mu.Unlock()
		p.list(&in, limit)
		if asked++; asked > inspectedKeys {
			continue
		}
		for _, s := range p.policyStates() {
			if !slices.Contains(in.Policies, s) {
				in.Policies = append(in.Policies, s)
			}
		}
	}
	slices.SortStableFunc(in.Waiting, func(a, b Waiting) int { return cmp.Compare(b.Waited, a.Waited) })
	return in
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
