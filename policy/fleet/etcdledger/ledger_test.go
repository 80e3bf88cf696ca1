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
		if len(f.leases) != 9 {
			t.Errorf("%d leases are left, want 9", len(f.leases))
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
		// Nor does one of which the term is not known.
		f.term = 0
		if _, err := l.Claim(t.Context(), claim("a", 4, 5, 5)); !errors.Is(err, ErrLeader) {
			t.Fatalf("a claim in an unknown term: %v, want ErrLeader", err)
		}
		f.term = 5
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
				must(t, other, claim("a", seq, 1, 1+int((seq+1)%2)), 1+int((seq+1)%2))
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

// Renewals of several processes do not make each other fail. One that a change overtakes is
// decided again, and so is one that another claim of its holder overtakes.
func TestRenewalsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l, other := begin(t, f), newLedger(f, Options{})
		must(t, l, claim("a", 1, 0, 5), 5)
		must(t, l, claim("b", 1, 0, 2), 2)
		overtakes := func(c fleet.Claim, granted int) {
			f.before = func(op string) error {
				if op == "commit" {
					f.before = nil
					must(t, other, c, granted)
				}
				return nil
			}
		}
		f.count()
		overtakes(claim("b", 2, 2, 2), 2)
		a := must(t, l, claim("a", 2, 5, 5), 5)
		if n := f.count()["commit"]; n != 2 {
			t.Errorf("%d transactions for two renewals, want 2", n)
		}
		if b := must(t, other, claim("b", 3, 2, 2), 2); b.Fence <= a.Fence {
			t.Errorf("fence %d after %d", b.Fence, a.Fence)
		}
		overtakes(claim("b", 4, 2, 4), 4)
		if g := must(t, l, claim("a", 3, 5, 5), 5); g.Total != 9 {
			t.Errorf("total %d after another holder grew, want 9", g.Total)
		}
		overtakes(claim("a", 5, 5, 5), 5)
		if _, err := l.Claim(t.Context(), claim("a", 4, 5, 5)); err != fleet.ErrStale {
			t.Errorf("a renewal that a later one overtook: %v, want fleet.ErrStale", err)
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
	})
}

// An old copy of the data is put back, by an administrator or a virtual machine's snapshot. A
// process that knows a later revision notices, and all learn.
func TestOldData(t *testing.T) {
	for name, cluster := range map[string]uint64{"the same cluster": 0xc1, "another cluster": 0xc2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				l := begin(t, f)
				must(t, l, claim("a", 1, 0, 1), 1)
				restore := f.backup()
				must(t, l, claim("a", 2, 1, 10), 10)
				restore()
				f.cluster = cluster
				old := f.revision
				other := newLedger(f, Options{}) // of a process that begins now
				notices := l
				if cluster != 0xc1 {
					notices = other // it notices the other cluster
				}
				if g := must(t, notices, claim("b", 1, 0, 5), 0); !g.Learning || g.Fence <= uint64(old) {
					t.Fatalf("%+v, want that it learns", g)
				}
				if g := must(t, other, claim("c", 1, 0, 5), 0); !g.Learning {
					t.Fatalf("%+v, want that it learns", g)
				}
				a := claim("a", 3, 10, 10)
				a.Lease *= 2
				must(t, l, a, 10)
				must(t, newLedger(f, Options{}), claim("b", 2, 0, 5), 0)
				time.Sleep(9 * time.Second)
				if g := must(t, l, claim("b", 3, 0, 5), 0); !g.Learning {
					t.Fatalf("%+v, want that it learns for one lease", g)
				}
				time.Sleep(time.Second)
				if g := must(t, l, claim("b", 4, 0, 5), 0); g.Learning || g.Total != 10 {
					t.Fatalf("%+v, want that it has learned that all 10 are in use", g)
				}
			})
		})
	}
}

// Each process notices a loss of data by itself. The ledger learns once, and twice after two
// losses.
func TestLossNoticedByMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		begin(t, f)
		var all []*Ledger
		for range 5 {
			all = append(all, newLedger(f, Options{}))
		}
		seq := uint64(0)
		for round := range 3 {
			restore := f.backup()
			for i, l := range all {
				seq++
				must(t, l, claim(fmt.Sprint("h", i), seq, 2, 2), 2)
			}
			if round == 1 {
				f.lose()
			} else {
				restore()
			}
			for i, l := range all {
				c := claim(fmt.Sprint("h", i), seq+uint64(i)+1, 2, 2)
				if g := must(t, l, c, 2); !g.Learning || g.Holders < i+1 {
					t.Fatalf("round %d, process %d: %+v, want that it learns", round, i, g)
				}
				time.Sleep(time.Second)
			}
			seq += 10
			time.Sleep(5 * time.Second) // the lease of the first claim after the loss has ended
			for i, l := range all {
				seq++
				if g := must(t, l, claim(fmt.Sprint("h", i), seq, 2, 2), 2); g.Learning {
					t.Fatalf("round %d, process %d: %+v, want that it has learned", round, i, g)
				}
			}
		}
	})
}

// Values that the ledger did not write are errors, and stay as they are.
func TestForeignValues(t *testing.T) {
	k := keysOf(defaultPrefix, "q")
	good := (&record{seq: 1, granted: 1, limit: 1, ttl: 1}).encode()
	for _, c := range []struct{ name, key, value string }{
		{"meta of a later version", k.meta(), "v2 cluster=c1 epoch=e"},
		{"meta", k.meta(), "v1 cluster=c1 epoch=0e"},
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
