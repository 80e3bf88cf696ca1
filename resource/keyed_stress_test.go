package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// keyedToken is what the Keyed under stress lends. It would see two holders at
// once, and a holder after its end.
type keyedToken struct {
	key     int
	holders atomic.Int32
	gone    atomic.Bool
}

// keyedStress is a Keyed with many keys and few slots, under every operation in
// real time.
type keyedStress struct {
	t    *testing.T
	k    *resource.Keyed[int, *keyedToken]
	keys int
	rare int // how much rarer trouble is

	places  atomic.Int64 // what the total may be just now
	live    atomic.Int64
	perKey  []atomic.Int64
	made    atomic.Int64
	ended   atomic.Int64
	taken   atomic.Int64 // hijacked
	served  atomic.Int64
	slowest atomic.Int64 // acquire that succeeded, ns
	stuck   atomic.Int64 // release that took longest, ns
	kinds   sync.Map     // of errors
}

// keyedStressTime is how long it lasts: RESPOOL_STRESS, or a little.
func keyedStressTime(t *testing.T) time.Duration {
	t.Helper()
	s, set := os.LookupEnv("RESPOOL_STRESS")
	if !set {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("RESPOOL_STRESS: %v", err)
	}
	return d
}

var errKeyedStress = errors.New("trouble")

// perKeyCap is the most that key may have.
func perKeyCap(key int) int { return 1 + key%4 }

func (s *keyedStress) config(key int) (resource.Config[*keyedToken], error) {
	if rand.IntN(50*s.rare) == 0 {
		return resource.Config[*keyedToken]{}, errKeyedStress
	}
	cfg := resource.Config[*keyedToken]{
		MaxSize: perKeyCap(key),
		Make:    func(ctx context.Context) (*keyedToken, error) { return s.make(ctx, key) },
		Destroy: s.destroy,
		Outage:  resource.KeepWaiting,
		Order:   resource.Order(key % 2),
	}
	switch key % 8 {
	case 1:
		cfg.MinIdle, cfg.SweepInterval = 1, 10*time.Millisecond
	case 2:
		cfg.Eviction, cfg.SweepInterval = olderThan(20*time.Millisecond), 10*time.Millisecond
	case 3:
		cfg.Queue = &stack{}
	case 4:
		cfg.Quota = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			if rand.IntN(20*s.rare) == 0 {
				return nil, &resource.Rejection{RetryAfter: time.Millisecond}
			}
			return nil, nil
		})
	}
	return cfg, nil
}

func (s *keyedStress) make(ctx context.Context, key int) (*keyedToken, error) {
	before := s.places.Load()
	n, m := s.live.Add(1), s.perKey[key].Add(1)
	if most := max(before, s.places.Load()); n > most {
		s.t.Errorf("I1: %d live of at most %d", n, most)
	}
	if m > int64(perKeyCap(key)) {
		s.t.Errorf("I1: %d live of key %d, of at most %d", m, key, perKeyCap(key))
	}
	if rand.IntN(3) == 0 {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond) // the time of a creation
	}
	if ctx.Err() != nil || rand.IntN(30*s.rare) == 0 {
		s.live.Add(-1)
		s.perKey[key].Add(-1)
		if rand.IntN(5) == 0 {
			panic(errKeyedStress)
		}
		return nil, errKeyedStress
	}
	s.made.Add(1)
	return &keyedToken{key: key}, nil
}

func (s *keyedStress) destroy(tok *keyedToken, cause error) {
	if tok.gone.Swap(true) || cause == nil {
		s.t.Errorf("I3: destroyed twice, or for nothing: %v", cause)
	}
	if n := tok.holders.Load(); n != 0 {
		s.t.Errorf("I2: destroyed with %d holders", n)
	}
	if rand.IntN(10) == 0 {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond) // the time of a Destroy
	}
	s.ended.Add(1)
	s.live.Add(-1)
	s.perKey[tok.key].Add(-1)
}

// caller acquires of one key after the other, of some more often than of others.
func (s *keyedStress) caller(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		key := min(r.IntN(s.keys), r.IntN(s.keys))
		patience := time.Minute // no caller may wait so long
		if r.IntN(5) == 0 {
			patience = time.Duration(r.IntN(2000)) * time.Microsecond
		}
		wait, cancel := context.WithTimeout(ctx, patience)
		req := resource.Request{NoWait: r.IntN(20) == 0}
		if r.IntN(4) == 0 {
			req.MinRemaining = time.Duration(r.IntN(15)) * time.Millisecond
		}
		start := time.Now()
		var l resource.Lease[*keyedToken]
		var err error
		if r.IntN(4) == 0 {
			keys := []int{key, r.IntN(s.keys), r.IntN(s.keys), min(r.IntN(s.keys), r.IntN(s.keys))}[:1+r.IntN(4)]
			key, l, err = s.k.AcquireAny(wait, keys, req)
			if err != nil {
				key = slices.MaxFunc(keys, func(a, b int) int { return a%16 - b%16 }) // the one that may be drained
			}
		} else {
			l, err = s.k.AcquireWith(wait, key, req)
		}
		took := time.Since(start)
		cancel()
		if err == nil {
			top(&s.slowest, int64(took))
			s.hold(r, key, l)
			continue
		}
		s.refused(ctx, key, took, patience, err)
	}
}

// refused judges an error.
func (s *keyedStress) refused(ctx context.Context, key int, took, patience time.Duration, err error) {
	switch {
	case ctx.Err() != nil, errors.Is(err, errKeyedStress), errors.Is(err, resource.ErrNoneIdle),
		errors.Is(err, errClosedByUs), errors.Is(err, errOld):
	case errors.Is(err, resource.ErrClosed):
		if key%16 != 15 { // only those are drained
			s.t.Errorf("key %d, which is not drained: %v", key, err)
		}
	case errors.Is(err, context.DeadlineExceeded):
		if patience == time.Minute {
			s.t.Errorf("I7: key %d: %v; %v", key, err, s.k.Stats())
		} else if took > patience+20*time.Second {
			s.t.Errorf("I8: key %d gave up after %v, not %v", key, took, patience)
		}
	default:
		s.t.Errorf("key %d: %v", key, err)
	}
	s.kinds.Store(fmt.Sprintf("%.60s", errors.Unwrap(err)), true)
}

var errClosedByUs = errors.New("ended by the test")

// hold uses what was lent and gives it back in one way or another.
func (s *keyedStress) hold(r *rand.Rand, key int, l resource.Lease[*keyedToken]) {
	tok := l.Value()
	if n := tok.holders.Add(1); n != 1 || tok.key != key || tok.gone.Load() {
		s.t.Errorf("I2: key %d got one of key %d, which has %d holders and is gone: %t", key, tok.key, n, tok.gone.Load())
	}
	s.served.Add(1)
	if r.IntN(10) == 0 {
		time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond) // the time of the work
	}
	tok.holders.Add(-1)
	start := time.Now()
	switch n := r.IntN(100 * s.rare); {
	case n < 5:
		l.Discard(errKeyedStress)
	case n < 6:
		// The token counts as gone before its slot may be reused.
		s.taken.Add(1)
		s.live.Add(-1)
		s.perKey[key].Add(-1)
		if _, ok := l.Hijack(); !ok {
			s.t.Error("a lease could not be hijacked")
		}
	default:
		l.Release()
		l.Release() // does nothing
	}
	top(&s.stuck, int64(time.Since(start)))
}

func top(most *atomic.Int64, n int64) {
	for old := most.Load(); n > old && !most.CompareAndSwap(old, n); {
		old = most.Load()
	}
}

// trouble does to all keys what an operator might.
func (s *keyedStress) trouble(ctx context.Context, r *rand.Rand, most int64) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(r.IntN(3000*s.rare)) * time.Microsecond) // between two troubles
		key := r.IntN(s.keys)
		switch r.IntN(7) {
		case 0:
			s.k.Reset(errClosedByUs)
		case 1:
			if p, ok := s.k.Find(key); ok {
				p.Reset(nil)
			}
		case 2:
			s.resize(1 + r.Int64N(most))
		case 3:
			key = key/16*16 + 15
			if key < s.keys {
				wait, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
				_ = s.k.Drain(wait, key)
				cancel()
			}
		case 4:
			if st := s.k.Stats(); st.Keys > s.keys || st.Idle < 0 || st.Leased < 0 {
				s.t.Errorf("Stats: %v", st)
			}
		case 5:
			if p, err := s.k.Pool(key); err == nil {
				wait, cancel := context.WithTimeout(ctx, time.Millisecond)
				_ = p.Warm(wait, 1+r.IntN(4))
				cancel()
			}
		default:
			if l, ok := s.k.TryAcquire(key); ok {
				s.hold(r, key, l)
			}
		}
	}
}

// resize changes the total: upwards before, downwards once it holds. Until then no
// slot is taken, so that what Stats adds up one after the other only falls.
func (s *keyedStress) resize(n int64) {
	if n > s.places.Load() {
		s.places.Store(n)
	}
	if err := s.k.Resize(int(n)); err != nil {
		s.t.Error(err)
	}
	for end := time.Now().Add(20 * time.Second); n < s.places.Load(); time.Sleep(100 * time.Microsecond) { // polls: a Keyed has no event for it
		if l := s.k.Stats().Load; int64(l.Idle+l.Leased+l.Making+l.Destroying) <= n {
			s.places.Store(n)
		} else if time.Now().After(end) {
			s.t.Errorf("there are still more than %d: %+v", n, l)
			return
		}
	}
}

// TestStressKeyed: many callers, keys and faults, few slots.
func TestStressKeyed(t *testing.T) {
	for _, tc := range []struct{ keys, most, callers, rare int }{
		{40, 4, 24, 1}, {16, 12, 32, 20}, {200, 30, 64, 5},
	} {
		t.Run(fmt.Sprintf("keys=%d,slots=%d,callers=%d", tc.keys, tc.most, tc.callers), func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			s := &keyedStress{t: t, keys: tc.keys, rare: tc.rare, perKey: make([]atomic.Int64, tc.keys)}
			s.places.Store(int64(tc.most))
			k := newKeyed(t, resource.KeyedConfig[int, *keyedToken]{
				Config: s.config, MaxTotal: tc.most, ForgetAfter: 3 * time.Millisecond,
			})
			s.k = k
			s.run(seed, tc.callers, int64(tc.most))
		})
	}
}

// run lasts for its time, and then settles the accounts.
func (s *keyedStress) run(seed uint64, callers int, most int64) {
	ctx, cancel := context.WithTimeout(context.Background(), keyedStressTime(s.t))
	defer cancel()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { s.caller(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	wg.Go(func() { s.trouble(ctx, rand.New(rand.NewPCG(seed, 1<<20)), most) })
	wg.Wait()
	last, cancelLast := context.WithTimeout(context.Background(), time.Minute)
	defer cancelLast()
	s.useAll(last, most)
	if err := s.k.Close(last); err != nil {
		s.t.Fatalf("I6: Close: %v; %v", err, s.k.Stats())
	}
	st := s.k.Stats()
	if err := unbalanced(st.Stats); err != nil {
		s.t.Error(err)
	}
	if st.Load != (resource.Load{Max: st.Max}) {
		s.t.Errorf("after Close: %+v", st.Load)
	}
	made, ended, taken := s.made.Load(), s.ended.Load(), s.taken.Load()
	if made != ended+taken || made != st.Made || taken != st.Hijacked || s.live.Load() != 0 {
		s.t.Errorf("I3: %d made, %d ended, %d hijacked, %d live; %v", made, ended, taken, s.live.Load(), st)
	}
	if s.served.Load() == 0 || st.Preempted == 0 {
		s.t.Errorf("%d served, %d preempted: nothing was tried", s.served.Load(), st.Preempted)
	}
	var kinds []string
	s.kinds.Range(func(k, _ any) bool { kinds = append(kinds, k.(string)); return true })
	slices.Sort(kinds)
	s.t.Logf("%d served, %d made, %d preempted, slowest acquire %v, slowest release %v, errors %q", s.served.Load(), made,
		st.Preempted, time.Duration(s.slowest.Load()), time.Duration(s.stuck.Load()), kinds)
}

// useAll lends every slot at once: none was lost.
func (s *keyedStress) useAll(ctx context.Context, most int64) {
	s.places.Store(most)
	if err := s.k.Resize(int(most)); err != nil {
		s.t.Error(err)
	}
	var ls []resource.Lease[*keyedToken]
	for n := 0; len(ls) < int(most); n++ {
		key := n / 4 % s.keys // each four times, of which it may have some
		if n%4 >= perKeyCap(key) {
			continue
		}
		soon, cancel := context.WithTimeout(ctx, 10*time.Second)
		l, err := s.k.Acquire(soon, key)
		cancel()
		if err == nil {
			ls = append(ls, l)
		} else if !errors.Is(err, errKeyedStress) {
			s.t.Fatalf("only %d of %d slots can be lent: %v; %v", len(ls), most, err, s.k.Stats())
		}
	}
	for _, l := range ls {
		l.Release()
	}
}

// keyedModel is what must hold of a Keyed when nothing moves.
type keyedModel struct {
	*keyedHarness
	r     *rand.Rand
	keys  []string
	held  []resource.Lease[*keyedItem]
	calls []*keyedCall
	any   map[*keyedCall]bool // those of AcquireAny
}

// TestKeyedRandomSteps: random operations in random order. When all is at rest no
// caller waits that could have what is idle, or a free slot; and when every lease
// is released every caller is served.
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
			m := &keyedModel{keyedHarness: h, r: r, keys: []string{"a", "b", "c", "d", "queued", "shaky"}, any: map[*keyedCall]bool{}}
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
	case n < 20:
		m.calls = append(m.calls, m.begin(key))
	case n < 40:
		keys := make([]string, 1+m.r.IntN(4))
		for i := range keys {
			keys[i] = m.keys[m.r.IntN(len(m.keys))]
		}
		c := m.beginAny(keys...)
		m.calls = append(m.calls, c)
		m.any[c] = true
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
		if c.done {
			delete(m.any, c)
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
	if s.Waited != s.WaitsServed+s.WaitsFailed+int64(s.Waiting) {
		m.t.Errorf("a caller counts twice: %d waited, %d served, %d failed, %d wait", s.Waited, s.WaitsServed, s.WaitsFailed, s.Waiting)
	}
	found := m.waitsInVain(s)
	if found != "" && len(m.any) > 0 {
		time.Sleep(2 * time.Second) // by then a creation may begin at each of their keys
		m.collect()
		found = m.waitsInVain(m.k.Stats())
	}
	if found != "" {
		m.t.Error(found)
	}
}

// waitsInVain returns which callers wait that could be served; "": none.
func (m *keyedModel) waitsInVain(s resource.KeyedStats) string {
	if s.Making+s.Destroying > 0 {
		return "" // it moves
	}
	for key, p := range m.k.All() {
		one := p.Stats()
		if one.Waiting == 0 || one.Outage || one.Idle+one.Leased == m.perKey {
			continue
		}
		if one.Leased > 0 && one.Waiting > 0 && s.Leased < s.Max {
			continue // it waits for a while for a release of its own
		}
		if s.Idle > 0 || s.Leased < s.Max {
			return fmt.Sprintf("I7: key %s waits for nothing: %v; %v", key, one, s)
		}
	}
	return ""
}

// drain releases every lease until no caller waits.
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
