package etcdledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	for _, lag := range []time.Duration{0, 700 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.lag = lag
			ledgertest.Run(t, func(testing.TB) ledgertest.Harness {
				return ledgertest.Harness{
					Open:  func() fleet.Ledger { return newLedger(f, Options{}) },
					Late:  time.Second,
					Lose:  f.lose,
					Stall: f.stall,
				}
			})
		})
	}
}

// begin returns a ledger whose quota q is known and not learning.
func begin(t *testing.T, f *fake) *Ledger {
	l := newLedger(f, Options{})
	if _, err := l.Claim(t.Context(), claim("founder", 1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10*time.Second + f.lag)
	f.count()
	return l
}

// must makes a claim that must be granted that many.
func must(t *testing.T, l *Ledger, c fleet.Claim, granted int) fleet.Grant {
	t.Helper()
	g, err := l.Claim(t.Context(), c)
	if err != nil || g.Granted != granted {
		t.Fatalf("%s, Seq %d: granted %d (%v), want %d", c.Holder, c.Seq, g.Granted, err, granted)
	}
	return g
}

// A renewal is three requests, whatever the number of holders. One that is granted less than
// it wants asks for the end of one lease.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l := begin(t, f)
		is := func(what string, want map[string]int) {
			t.Helper()
			if got := f.count(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: requests %v, want %v", what, got, want)
			}
		}
		must(t, l, claim("a", 1, 0, 5), 5)
		is("a join", map[string]int{"read": 1, "grant": 1, "commit": 1})
		for i := range 9 {
			must(t, l, claim(fmt.Sprint("h", i), 1, 0, 1), min(1, max(0, 5-i)))
		}
		f.count()
		must(t, l, claim("a", 2, 5, 5), 5)
		is("a renewal", map[string]int{"read": 1, "renew": 1, "commit": 1})
		must(t, l, claim("a", 3, 5, 9), 5)
		is("a claim for more than there is", map[string]int{"read": 1, "renew": 1, "commit": 1, "left": 1})
		c := claim("a", 4, 5, 5)
		c.Lease = 20 * time.Second
		must(t, l, c, 5)
		is("a renewal with another lease", map[string]int{"read": 1, "grant": 1, "commit": 1, "revoke": 1})
		must(t, l, claim("a", 5, 0, 0), 0)
		is("a leave", map[string]int{"read": 1, "commit": 1, "revoke": 1})
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.leases) != 9 || len(l.turns) != 0 {
			t.Errorf("%d leases and %d turns are left, want 9 and 0", len(f.leases), len(l.turns))
		}
	})
}

// The lease of another holder ends between the reading and the writing: the claim counts it
// once more. The next one does not.
func TestOtherLeaseEndsDuringClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l := begin(t, f)
		must(t, l, claim("dies", 1, 0, 6), 6)
		time.Sleep(5 * time.Second)
		f.before = func(op string) error {
			if op == "commit" {
				f.before = nil
				time.Sleep(6 * time.Second)
			}
			return nil
		}
		g := must(t, l, claim("a", 1, 0, 10), 4)
		if g.Next <= 0 || g.Next > time.Second {
			t.Errorf("Next is %v, want the end of a lease that has just ended", g.Next)
		}
		must(t, l, claim("a", 2, 4, 10), 10)
	})
}

// The claimant stood still between the renewal of its lease and the writing, for longer than
// the lease. What it wrote would have no lease; etcd refuses it and the claim begins anew.
func TestOwnLeaseEndsDuringClaim(t *testing.T) {
	for name, other := range map[string]int{"alone": 0, "another took the units": 7} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				l := begin(t, f)
				must(t, l, claim("a", 1, 0, 10), 10)
				f.before = func(op string) error {
					if op == "commit" {
						f.before = nil
						time.Sleep(11 * time.Second)
						if other > 0 {
							must(t, newLedger(f, Options{}), claim("b", 1, 0, other), other)
						}
					}
					return nil
				}
				// The holder has nothing in use: it would be granted all.
				must(t, l, claim("a", 2, 0, 10), min(10-other, 10))
				if other > 0 {
					return
				}
				time.Sleep(9 * time.Second)
				g := must(t, l, claim("c", 1, 0, 1), 0)
				if g.Holders != 2 {
					t.Errorf("%d holders, want 2: the claim got a new lease", g.Holders)
				}
			})
		})
	}
}

// The lease of the learning ends while the first claim is under way.
func TestLearningLeaseEndsDuringClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l := newLedger(f, Options{})
		f.before = func(op string) error {
			if op == "commit" {
				f.before = nil
				time.Sleep(11 * time.Second)
			}
			return nil
		}
		if g := must(t, l, claim("a", 1, 2, 10), 2); !g.Learning {
			t.Error("not learning")
		}
		time.Sleep(5 * time.Second)
		if g := must(t, l, claim("b", 1, 0, 10), 0); !g.Learning {
			t.Error("not learning before the lease of the first claim has ended")
		}
	})
}

// A renewal that a former leader may have accepted does not count.
func TestLeaderChangesDuringClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l := begin(t, f)
		must(t, l, claim("a", 1, 0, 5), 5)
		f.before = func(op string) error {
			if op == "commit" {
				f.before = nil
				f.mu.Lock()
				f.term++
				f.mu.Unlock()
			}
			return nil
		}
		if _, err := l.Claim(t.Context(), claim("a", 2, 5, 5)); !errors.Is(err, ErrLeader) {
			t.Fatalf("a claim in two terms: %v, want ErrLeader", err)
		}
		must(t, l, claim("a", 3, 5, 5), 5)
		// A new lease does not depend on the leader.
		f.before = func(op string) error {
			if op == "commit" {
				f.before = nil
				f.mu.Lock()
				f.term++
				f.mu.Unlock()
			}
			return nil
		}
		must(t, l, claim("b", 1, 0, 5), 5)
	})
}

// Another process comes first: the claim is decided again with what that one wrote.
func TestOthersComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l, other := begin(t, f), newLedger(f, Options{})
		rounds := 3
		f.before = func(op string) error {
			if op == "commit" && rounds > 0 {
				rounds--
				before := f.before
				f.before = nil
				must(t, other, claim(fmt.Sprint("other", rounds), 1, 2, 2), 2)
				f.before = before
			}
			return nil
		}
		g := must(t, l, claim("a", 1, 0, 10), 4)
		if g.Holders != 4 || g.Total != 10 {
			t.Errorf("%+v, want 4 holders with 10 in total", g)
		}
		f.before = nil
		// The same holder claimed with a later Seq in the meantime.
		f.before = func(op string) error {
			if op == "commit" {
				f.before = nil
				must(t, other, claim("a", 9, 1, 1), 1)
			}
			return nil
		}
		if _, err := l.Claim(t.Context(), claim("a", 8, 4, 10)); err != fleet.ErrStale {
			t.Errorf("a claim that a later one overtook: %v, want fleet.ErrStale", err)
		}
		// There is an end to it, and the claim was not recorded.
		var seq uint64 = 9
		f.before = func(op string) error {
			if op == "commit" {
				before := f.before
				f.before = nil
				seq++
				must(t, other, claim("a", seq, 1, 1), 1)
				f.before = before
			}
			return nil
		}
		f.count()
		if _, err := l.Claim(t.Context(), claim("b", 1, 0, 5)); !errors.Is(err, ErrContended) {
			t.Errorf("a claim that never comes first: %v, want ErrContended", err)
		}
		if n := f.count()["commit"]; n != 2*attempts {
			t.Errorf("%d transactions, want %d of each", n, attempts)
		}
		f.before = nil
		if g := must(t, l, claim("a", seq+1, 1, 1), 1); g.Holders != 4 {
			t.Errorf("%d holders, want 4", g.Holders)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.leases) != 4 {
			t.Errorf("%d leases, want those of 4 holders", len(f.leases))
		}
	})
}

// The reply of the transaction is lost. The claim was recorded or not; the next one of the
// holder works.
func TestLostReplies(t *testing.T) {
	for _, op := range []string{"read", "grant", "renew", "commit", "left", "revoke"} {
		for _, lost := range []string{"request", "reply"} {
			t.Run(op+", "+lost, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					l := begin(t, f)
					must(t, l, claim("a", 1, 0, 5), 5)
					must(t, l, claim("b", 1, 0, 2), 2)
					fail := func(at string) error {
						if at == op {
							return errors.New("connection to http://user:hunter2@host is lost")
						}
						return nil
					}
					if lost == "request" {
						f.before = fail
					} else {
						f.after = fail
					}
					c := claim("a", 2, 4, 20)
					if op == "grant" || op == "revoke" {
						c.Lease *= 2
					}
					_, err := l.Claim(t.Context(), c)
					if wantErr := op != "left" && op != "revoke"; (err != nil) != wantErr {
						t.Fatalf("error %v, want one: %v", err, wantErr)
					}
					if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), `etcdledger: quota "q": `)) {
						t.Errorf("error: %v", err)
					}
					f.before, f.after = nil, nil
					must(t, l, claim("a", 3, 4, 4), 4)
					must(t, l, claim("b", 2, 2, 6), 6)
				})
			})
		}
	}
}

// A claim gets a new lease, and it is open whether it was recorded: the record of the holder
// must not end with either lease.
func TestLostReplyKeepsRecord(t *testing.T) {
	for _, lost := range []string{"request", "reply"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			l := begin(t, f)
			must(t, l, claim("a", 1, 0, 5), 5)
			fail := func(op string) error {
				if op == "commit" {
					return errors.New("timeout")
				}
				return nil
			}
			if lost == "request" {
				f.before = fail
			} else {
				f.after = fail
			}
			c := claim("a", 2, 5, 5)
			c.Lease *= 2
			if _, err := l.Claim(t.Context(), c); err == nil {
				t.Fatal("no error")
			}
			f.before, f.after = nil, nil
			time.Sleep(9 * time.Second)
			if g := must(t, l, claim("b", 1, 0, 10), 5); g.Holders != 2 {
				t.Errorf("lost %s: %d holders, want 2", lost, g.Holders)
			}
		})
	}
}

// The context ends while a claim waits for its turn or for the engine.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l := begin(t, f)
		resume := f.stall()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the caller is gone")
		ends := make(chan error)
		for i := range 5 {
			go func() {
				_, err := l.Claim(ctx, claim(fmt.Sprint("h", i), 1, 0, 1))
				ends <- err
			}()
		}
		synctest.Wait()
		cancel(why)
		for range 5 {
			if err := <-ends; !errors.Is(err, why) {
				t.Errorf("error %v, want %v", err, why)
			}
		}
		resume()
		must(t, l, claim("a", 1, 0, 10), 10)
		if len(l.turns) != 0 {
			t.Errorf("%d turns are left", len(l.turns))
		}
	})
}

// Values that the ledger did not write are errors, and stay as they are.
func TestForeignValues(t *testing.T) {
	k := keysOf(defaultPrefix, "q")
	good := (&record{seq: 1, granted: 1, limit: 1, ttl: 1}).encode()
	for _, c := range []struct{ name, key, value string }{
		{"meta", k.meta(), "v2"},
		{"empty meta", k.meta(), ""},
		{"learning without a lease", k.learning(), version},
		{"record of a later version", k.record("x"), "v2" + good[2:]},
		{"record without a lease", k.record("x"), good},
		{"text", k.record("x"), "hello"},
		{"another key", k.base + "x", version},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				l := begin(t, f)
				f.put(c.key, c.value, 0)
				_, err := l.Claim(t.Context(), claim("a", 1, 0, 1))
				if !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), c.key) {
					t.Errorf("error %v, want ErrForm with the key", err)
				}
				if f.pairs[c.key].value != c.value {
					t.Errorf("the key is now %q", f.pairs[c.key].value)
				}
				o := claim("a", 1, 1, 1)
				o.Quota = "other"
				must(t, l, o, 1)
			})
		})
	}
}

// A lease that etcd makes longer is reported as it is.
func TestSmallestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.smallest = 2
		l := begin(t, f)
		for i, d := range []struct{ lease, want time.Duration }{
			{time.Millisecond, 2 * time.Second}, {1500 * time.Millisecond, 2 * time.Second}, {2001 * time.Millisecond, 3 * time.Second}, {5 * time.Second, 5 * time.Second},
		} {
			for j := range 2 {
				c := claim("a", uint64(2*i+j+1), 1, 1)
				c.Lease = d.lease
				if g := must(t, l, c, 1); g.Lease != d.want {
					t.Errorf("a lease of %v: %v, want %v", d.lease, g.Lease, d.want)
				}
			}
		}
	})
}

func TestNew(t *testing.T) {
	if _, err := New(nil, Options{}); err == nil {
		t.Error("a nil client was accepted")
	}
}
