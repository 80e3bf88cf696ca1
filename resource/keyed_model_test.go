package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// keyedModel is what must hold of a Keyed when nothing moves.
type keyedModel struct {
	*keyedHarness
	r     *rand.Rand
	keys  []string
	held  []resource.Lease[*keyedItem]
	calls []*keyedCall
}

// TestKeyedRandomSteps: whatever is done to it in whatever order, when all is at
// rest nobody waits who could have what is idle, or a place that is free; and
// when everything comes back everybody is served.
func TestKeyedRandomSteps(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 7))
		total, perKey := 1+r.IntN(6), 1+r.IntN(4)
		keyed(t, total, perKey, func(h *keyedHarness) {
			h.forgetAfter = 200 * ms
			if r.IntN(2) == 0 {
				h.makeTime = time.Duration(r.IntN(20)) * ms
				h.destroyTime = time.Duration(r.IntN(20)) * ms
			}
			h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
				cfg.Outage = resource.KeepWaiting
				if key == "queued" {
					cfg.Queue = &stack{}
				}
			}
			h.fails = func(key string) error {
				h.mu.Lock()
				defer h.mu.Unlock()
				if key == "shaky" && h.begun[key]%3 == 0 {
					return errors.New("shaky")
				}
				return nil
			}
		}, func(h *keyedHarness) {
			m := &keyedModel{keyedHarness: h, r: r, keys: []string{"a", "b", "c", "d", "queued", "shaky"}}
			for range 150 {
				m.step()
				m.collect()
				m.atRest()
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			m.drain()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}

// step does one thing.
func (m *keyedModel) step() {
	key := m.keys[m.r.IntN(len(m.keys))]
	switch n := m.r.IntN(100); {
	case n < 40:
		m.calls = append(m.calls, m.begin(key))
	case n < 48 && len(m.calls) > 0:
		m.calls[m.r.IntN(len(m.calls))].cancel()
	case n < 72 && len(m.held) > 0:
		i := m.r.IntN(len(m.held))
		if l := m.held[i]; m.r.IntN(5) == 0 {
			l.Discard(nil)
		} else {
			l.Release()
		}
		m.held = append(m.held[:i], m.held[i+1:]...)
	case n < 75:
		m.k.Reset(nil)
	case n < 80:
		m.resize(1 + m.r.IntN(6))
	case n < 83:
		ctx, cancel := context.WithTimeout(m.t.Context(), time.Duration(m.r.IntN(50))*ms)
		defer cancel()
		if err := m.k.Drain(ctx, key); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			m.t.Errorf("Drain: %v", err)
		}
	case n < 86:
		ctx, cancel := context.WithTimeout(m.t.Context(), time.Duration(m.r.IntN(50))*ms)
		defer cancel()
		p := m.pool(key)
		if err := p.Warm(ctx, m.r.IntN(4)); err == nil && p.Stats().Making > m.perKey {
			m.t.Errorf("after Warm: %v", p.Stats())
		}
	case n < 89:
		if l, ok := m.k.TryAcquire(key); ok {
			m.held = append(m.held, l)
		}
	default:
		time.Sleep(time.Duration(m.r.IntN(300)) * ms)
	}
}

// collect takes in the calls that have returned.
func (m *keyedModel) collect() {
	kept := m.calls[:0]
	for _, c := range m.calls {
		switch {
		case !c.poll():
			kept = append(kept, c)
		case c.err == nil:
			m.held = append(m.held, c.lease)
		case !errors.Is(c.err, context.Canceled) && !errors.Is(c.err, resource.ErrClosed):
			m.t.Errorf("Acquire: %v", c.err)
		}
	}
	m.calls = kept
}

// atRest checks what holds when nothing moves, and what is idle need not be kept
// any more for the sake of its making.
func (m *keyedModel) atRest() {
	m.t.Helper()
	if s := m.k.Stats(); s.Idle > 0 && s.Wanting > 0 {
		time.Sleep(m.makeTime + ms)
		m.collect()
	}
	s := m.k.Stats()
	if err := unbalanced(s.Stats); err != nil {
		m.t.Error(err)
	}
	if s.Leased != len(m.held) || s.Waiting > len(m.calls) {
		m.t.Errorf("%d leases and %d callers, and Stats say %v", len(m.held), len(m.calls), s)
	}
	if s.Making+s.Destroying > 0 {
		return // it moves
	}
	for key, p := range m.k.All() {
		one := p.Stats()
		if one.Waiting == 0 || one.Outage || one.Idle+one.Leased == m.perKey {
			continue
		}
		if one.Leased > 0 && one.Waiting > 0 && s.Leased < s.Max {
			continue // it watches for a while what comes back to it
		}
		if s.Idle > 0 || s.Leased < s.Max {
			m.t.Errorf("I7: key %s waits for nothing: %v; %v", key, one, s)
		}
	}
}

// drain gives everything back until nobody waits.
func (m *keyedModel) drain() {
	for range 10_000 {
		m.collect()
		for _, l := range m.held {
			l.Release()
		}
		m.held = nil
		if len(m.calls) == 0 {
			return
		}
		time.Sleep(10 * ms)
	}
	m.t.Errorf("%d callers still wait: %v", len(m.calls), fmt.Sprint(m.k.Stats()))
}
