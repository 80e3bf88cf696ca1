package redisledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/policy/fleet"
)

// seed returns RESPOOL_SEED, or a random seed, and logs it.
func seed(t testing.TB) uint64 {
	t.Helper()
	s := rand.Uint64()
	if text, set := os.LookupEnv("RESPOOL_SEED"); set {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("RESPOOL_SEED: %v", err)
		}
		s = n
	}
	t.Logf("RESPOOL_SEED=%d", s)
	return s
}

// mini is an engine in this process, with a clock and a run_id that the test sets. The
// clients of open have a clock of their own, which starts at the same instant.
type mini struct {
	*miniredis.Miniredis
	mu     sync.Mutex
	server time.Time // guarded by mu, as those below
	client time.Time
	run    string
}

func startMini(t testing.TB) *mini {
	t.Helper()
	m := &mini{Miniredis: miniredis.RunT(t), run: "run1", client: time.Now()}
	m.server = m.client.Truncate(time.Microsecond)
	m.SetTime(m.server)
	m.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		if cmd != "INFO" || len(args) != 1 || args[0] != "server" {
			return false
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		c.WriteBulk("# Server\r\nredis_version:7.0.15\r\nrun_id:" + m.run + "\r\nuptime:1\r\n")
		return true
	})
	return m
}

// pass lets d pass for the server and its clients.
func (m *mini) pass(d time.Duration) {
	m.mu.Lock()
	m.client = m.client.Add(d)
	m.mu.Unlock()
	m.jump(d)
	m.FastForward(d)
}

// jump sets the clock of the server forward by d.
func (m *mini) jump(d time.Duration) {
	m.mu.Lock()
	m.server = m.server.Add(d)
	now := m.server
	m.mu.Unlock()
	m.SetTime(now)
}

// restart gives the server another run_id, as a process has that loaded the same data.
func (m *mini) restart(run string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.run = run
}

func (m *mini) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.client
}

// open returns a ledger with a client of its own and the clock of the test.
func (m *mini) open(t testing.TB, o Options) *Ledger {
	t.Helper()
	l := open(t, o, m.Addr())
	l.now = m.now
	return l
}

func open(t testing.TB, o Options, addrs ...string) *Ledger {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	l, err := Open(patient(addrs...), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// patient are options of a client that survives a busy machine.
func patient(addrs ...string) *redis.UniversalOptions {
	const long = 20 * time.Second
	return &redis.UniversalOptions{Addrs: addrs, DialTimeout: long, ReadTimeout: long, WriteTimeout: long}
}

// holder makes claims of one holder with increasing Seq.
type holder struct {
	t    testing.TB
	l    fleet.Ledger
	next fleet.Claim
}

const lease = 9 * time.Second

func newHolder(t testing.TB, l fleet.Ledger, name string, limit int) *holder {
	return &holder{t, l, fleet.Claim{Quota: "q", Holder: name, Limit: limit, Lease: lease}}
}

// try makes the next claim.
func (h *holder) try(has, want int) (fleet.Grant, error) {
	h.next.Seq++
	h.next.Has, h.next.Want = has, want
	return h.l.Claim(context.Background(), h.next)
}

// claim makes the next claim, which must succeed.
func (h *holder) claim(has, want int) fleet.Grant {
	h.t.Helper()
	g, err := h.try(has, want)
	if err != nil {
		h.t.Fatalf("claim of %s: %v", h.next.Holder, err)
	}
	return g
}

// wants makes the next claim and checks what is granted.
func (h *holder) wants(has, want, granted int) fleet.Grant {
	h.t.Helper()
	g := h.claim(has, want)
	if g.Granted != granted {
		h.t.Fatalf("%s has %d, wants %d and was granted %d, want %d: %+v", h.next.Holder, has, want, g.Granted, granted, g)
	}
	return g
}

// found makes the quota known, with nothing granted and the learning over.
func (m *mini) found(t testing.TB, l fleet.Ledger) {
	t.Helper()
	f := newHolder(t, l, "founder", 1)
	f.next.Lease = time.Millisecond
	f.claim(0, 1)
	f.claim(0, 0)
	m.pass(time.Millisecond)
}

// names of holders that differ late, early, in length, and in ways that a locale would
// order differently.
func name(r *rand.Rand, n int) string {
	switch n % 5 {
	case 0:
		return fmt.Sprintf("host-%04d", n)
	case 1:
		return fmt.Sprintf("Host_%d", n)
	case 2:
		return fmt.Sprintf("host-%04d/%x", n, n*7919)
	case 3:
		return fmt.Sprintf("host-0000-with-the-same-beginning-%d", n)
	default:
		return fmt.Sprintf("%c\"\\%d", '!'+rune(r.IntN(90))%('z'-'!'), n)
	}
}
