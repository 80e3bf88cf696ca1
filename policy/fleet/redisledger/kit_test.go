package redisledger

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

// The ledger keeps the contract of fleet.Ledger.
func TestConformance(t *testing.T) {
	ledgertest.Run(t, func(t testing.TB) ledgertest.Harness {
		m := startMini(t)
		r, err := relay.New(m.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		const password = "s3cret-s3cret"
		locked := startMini(t)
		locked.RequireAuth(password)
		failing := func(text string) fleet.Ledger {
			m := startMini(t)
			m.SetError(text)
			return open(t, Options{}, m.Addr())
		}
		wrong, err := Open(&redis.UniversalOptions{Addrs: []string{locked.Addr()}, Password: password + "-wrong"}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { wrong.Close() })
		return ledgertest.Harness{
			Open: func() fleet.Ledger {
				l := open(t, Options{}, r.Addr())
				l.now = m.now
				return l
			},
			Advance: m.pass,
			Lose:    m.FlushAll,
			Stall: func() func() {
				for _, c := range r.Conns() {
					c.Pause()
				}
				r.OnConn(func(c *relay.Conn) { c.Pause() })
				return func() {
					r.OnConn(nil)
					for _, c := range r.Conns() {
						c.Resume()
					}
				}
			},
			Claims: claims(),
			Broken: map[string]fleet.Ledger{
				"an address where nothing listens": open(t, Options{}, "127.0.0.1:1"),
				"a wrong password":                 wrong,
				"no password":                      open(t, Options{}, locked.Addr()),
				"a server that is loading":         failing("LOADING Redis is loading the dataset in memory"),
				"a replica":                        failing("READONLY You can't write against a read only replica."),
				"a server without memory":          failing("OOM command not allowed when used memory > 'maxmemory'."),
			},
			Secrets: []string{password},
		}
	})
}

func claims() int {
	if testing.Short() {
		return 100
	}
	return 500
}

// A claim that a client repeats, because the connection broke after the server had executed
// it, is not stale.
func TestRepetitionOfOneCall(t *testing.T) {
	m := startMini(t)
	l := m.open(t, Options{})
	m.found(t, l)
	l.nonce = func() uint32 { return 7 }
	a := newHolder(t, l, "a", 10)
	first := a.wants(0, 4, 4)
	a.next.Seq--
	if again := a.wants(0, 4, 4); again.Total != 4 || again.Fence <= first.Fence {
		t.Errorf("the repetition was answered %+v", again)
	}
	l.nonce = func() uint32 { return 8 }
	a.next.Seq--
	if _, err := a.try(0, 4); err == nil {
		t.Error("another claim with the same Seq was accepted")
	}
	// A repetition that was overtaken by a later claim is stale.
	l.nonce = func() uint32 { return 9 }
	a.wants(4, 4, 4)
	a.next.Seq -= 2
	if _, err := a.try(0, 9); err == nil {
		t.Error("a claim that was overtaken was accepted")
	}
}

// An abandoned quota disappears, and a quota in use does not.
func TestKeysExpire(t *testing.T) {
	m := startMini(t)
	l := m.open(t, Options{})
	a := newHolder(t, l, "a", 10)
	ctx := context.Background()
	key := l.key("q", "quota")
	for range 30 {
		a.claim(0, 5)
		if _, err := l.Take(ctx, fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: 1}); err != nil {
			t.Fatal(err)
		}
		if ttl := m.TTL(key); ttl < 12*time.Hour {
			t.Fatalf("the key of a quota in use has %v to live", ttl)
		}
		if ttl := m.TTL(l.key("r", "rate")); ttl < 12*time.Hour {
			t.Fatalf("the key of a rate in use has %v to live", ttl)
		}
		m.pass(2 * time.Hour)
	}
	m.pass(25 * time.Hour)
	if keys := m.Keys(); len(keys) != 0 {
		t.Errorf("after a day without a claim there are %q", keys)
	}
	a.next.Lease = 24 * time.Hour
	a.claim(0, 5)
	if ttl := m.TTL(key); ttl < 36*time.Hour {
		t.Errorf("the key of a lease of 24 h has %v to live", ttl)
	}
}

// A script that the server forgot is loaded again without an error.
func TestScriptFlushed(t *testing.T) {
	m := startMini(t)
	for _, replicas := range []int{0, 1} {
		l := m.open(t, Options{Prefix: string(rune('a' + replicas)), Replicas: 0})
		a := newHolder(t, l, "a", 10)
		for range 3 {
			a.claim(0, 5)
			if err := l.client.ScriptFlush(context.Background()).Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Take(context.Background(), fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
