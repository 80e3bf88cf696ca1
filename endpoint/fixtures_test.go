package endpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// script is a resolver whose answers a test sends.
type script struct {
	answers chan Update
	refresh atomic.Int64
}

func newScript() *script {
	return &script{answers: make(chan Update)}
}

func (s *script) Watch(ctx context.Context, f func(Update)) error {
	for {
		select {
		case u := <-s.answers:
			f(u)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *script) Refresh() { s.refresh.Add(1) }

func listOf(addrs ...string) (list []Endpoint) {
	for _, a := range addrs {
		list = append(list, Endpoint{Addr: a})
	}
	return list
}

// stage is a Set in a synctest bubble, with endpoints that fail or not as the test says.
type stage struct {
	*Set
	t      *testing.T
	script *script

	mu     sync.Mutex
	down   map[string]bool // probes of these fail
	probes map[string]int
	events []Event
	log    []string // hooks and events, in order
}

func newStage(t *testing.T, cfg SetConfig, endpoints ...Endpoint) *stage {
	t.Helper()
	st := &stage{t: t, script: newScript(), down: make(map[string]bool), probes: make(map[string]int)}
	if cfg.Resolver == nil {
		cfg.Resolver = st.script
	}
	if cfg.Probe == nil && cfg.Ejector != Never() {
		cfg.Probe = func(_ context.Context, addr string) error {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.probes[addr]++
			if st.down[addr] {
				return errDown
			}
			return nil
		}
	}
	trace := cfg.Trace
	cfg.Trace = func(e Event) {
		st.mu.Lock()
		st.events = append(st.events, e)
		st.log = append(st.log, strings.TrimSpace(e.Kind.String()+" "+e.Endpoint.Addr))
		st.mu.Unlock()
		if trace != nil {
			trace(e)
		}
	}
	set, err := NewSet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	st.Set = set
	if len(endpoints) > 0 {
		st.answer(endpoints...)
		if err := set.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

var errDown = errors.New("connection refused")

func (st *stage) note(format string, args ...any) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.log = append(st.log, fmt.Sprintf(format, args...))
}

func (st *stage) lines() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Clone(st.log)
}

func (st *stage) setDown(addr string, down bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.down[addr] = down
}

func (st *stage) probed(addr string) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.probes[addr]
}

func (st *stage) count(k EventKind) (n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, e := range st.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// answer sends a complete answer and waits until it is applied.
func (st *stage) answer(list ...Endpoint) { st.update(Update{Endpoints: list, Complete: true}) }

func (st *stage) update(u Update) {
	st.script.answers <- u
	synctest.Wait()
}

func (st *stage) fail(addr string, n int) {
	for range n {
		st.Observe(addr, Evidence{Kind: DialFailed, Phase: "connect", Err: errDown})
	}
}

func (st *stage) state(addr string) State {
	st.t.Helper()
	for _, e := range st.Snapshot().Endpoints {
		if e.Endpoint.Addr == addr {
			return e
		}
	}
	st.t.Fatalf("no endpoint %s", addr)
	return State{}
}

func (st *stage) want(addr string, s Status) {
	st.t.Helper()
	if got := st.state(addr).Status; got != s {
		st.t.Errorf("%s is %v, want %v", addr, got, s)
	}
}

func (st *stage) ranked() []string {
	r := st.Rank(nil, "")
	slices.Sort(r)
	return r
}

func (st *stage) wantRanked(addrs ...string) {
	st.t.Helper()
	if got := st.ranked(); !slices.Equal(got, addrs) {
		st.t.Errorf("ranked are %v, want %v", got, addrs)
	}
}

func (st *stage) close() {
	st.t.Helper()
	if err := st.Close(context.Background()); err != nil {
		st.t.Error(err)
	}
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
