package redisledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/internal/redisd"
	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

// short is the lease of tests in real time. The bounds that depend on it are one-sided.
const short = time.Second

// eventually makes claims until one is granted as much, and returns how long that took.
func (h *holder) eventually(has, want, granted int) time.Duration {
	h.t.Helper()
	begun := time.Now()
	const patience = 60 * time.Second
	var last error
	for time.Since(begun) < patience {
		g, err := h.try(has, want)
		if err == nil && g.Granted >= granted {
			return time.Since(begun)
		}
		if last = err; err == nil {
			last = fmt.Errorf("granted %+v", g)
		}
		time.Sleep(2 * time.Millisecond) // interval of the claims
	}
	h.t.Fatalf("%s was not granted %d within %v: %v", h.next.Holder, granted, patience, last)
	return 0
}

// foundReal makes the quota known to a real engine, and waits until its learning is over.
func foundReal(t testing.TB, l fleet.Ledger) {
	t.Helper()
	f := newHolder(t, l, "founder", 1)
	f.next.Lease = time.Millisecond
	f.claim(0, 1)
	f.eventually(0, 1, 1)
	f.claim(0, 0)
}

// A real server keeps the contract too.
func TestServerConformance(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t)
	protected := redisd.Start(t, "--requirepass", "s3cret-s3cret")
	n := 0
	ledgertest.Run(t, func(t testing.TB) ledgertest.Harness {
		return ledgertest.Harness{
			Open:   func() fleet.Ledger { n++; return open(t, Options{}, s.Addr()) },
			Lease:  400 * time.Millisecond,
			Claims: claims(),
			Lose:   func() { s.Kill(); s.Restart() },
			Stall:  func() func() { s.Stop(); return s.Continue },
			Broken: map[string]fleet.Ledger{
				"no password": open(t, Options{}, protected.Addr()),
			},
			Secrets: []string{"s3cret-s3cret"},
		}
	})
}

// The script on a real server computes what fleet.Targets does.
func TestServerTargets(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t)
	r := rand.New(rand.NewPCG(seed(t), 2))
	l := open(t, Options{}, s.Addr())
	runs := 60
	if testing.Short() {
		runs = 20
	}
	for range runs {
		if err := l.client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		foundReal(t, l)
		compareTargets(t, r, l, 1+r.IntN(60), func(time.Duration) {})
	}
}

// A server in a locale that orders names in another way gives the odd units to the same
// holders.
func TestServerLocale(t *testing.T) {
	t.Parallel()
	outside.Path(t, "the sources of locales", func() string { return first("/usr/share/i18n/locales/en_US") }, "locales")
	dir := t.TempDir()
	const locale = "en_US.UTF-8"
	if out, err := exec.Command("localedef", "--no-archive", "-i", "en_US", "-f", "UTF-8", filepath.Join(dir, locale)).CombinedOutput(); err != nil {
		t.Fatalf("localedef: %v\n%s", err, out)
	}
	s := redisd.StartEnv(t, []string{"LOCPATH=" + dir, "LC_ALL=" + locale})
	l := open(t, Options{}, s.Addr())
	if n, err := l.client.Eval(t.Context(), "return 'a' < 'B'", nil).Int(); err != nil || n != 1 {
		t.Fatalf("the server is not in the locale: %v, %v", n, err)
	}
	foundReal(t, l)
	compareTargets(t, rand.New(rand.NewPCG(seed(t), 3)), l, 60, func(time.Duration) {})
}

// first returns the path if it exists.
func first(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// After a restart without data the quota learns: what holders have is granted first.
func TestServerRestartWithoutData(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t)
	l := open(t, Options{}, s.Addr())
	foundReal(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
	a.next.Lease, b.next.Lease = short, short
	a.wants(0, 6, 6)
	s.Kill()
	if _, err := b.try(0, 10); !errors.Is(err, ErrUnreachable) {
		t.Errorf("while the server is down the error is %v", err)
	}
	s.Restart()
	if g := b.wants(0, 10, 0); !g.Learning {
		t.Errorf("after the restart b was answered %+v", g)
	}
	a.next.Lease = time.Hour
	a.wants(6, 6, 6)
	if took := b.eventually(0, 10, 4); took < short/2 {
		t.Errorf("the learning was over after %v", took)
	}
	if g := b.claim(4, 10); g.Total != 10 || g.Granted != 4 {
		t.Errorf("b was answered %+v", g)
	}
}

// A restart from a snapshot that is older than the last claims must not grant the same
// units again.
func TestServerRestartWithOldSnapshot(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t)
	l := open(t, Options{}, s.Addr())
	foundReal(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
	a.next.Lease, b.next.Lease = time.Hour, short
	a.wants(0, 1, 1)
	b.wants(0, 1, 1)
	if err := l.client.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	a.wants(1, 9, 9)
	s.Kill()
	s.Restart()
	if g := b.wants(1, 10, 1); !g.Learning || g.Total != 2 {
		t.Errorf("after the restart b was answered %+v", g)
	}
	if g := a.wants(9, 9, 9); !g.Learning || g.Total != 10 {
		t.Errorf("after the restart a was answered %+v", g)
	}
}

// A restart with the append-only file keeps the quota and its holders.
func TestServerRestartWithData(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	l := open(t, Options{}, s.Addr())
	foundReal(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
	a.next.Lease, b.next.Lease = time.Hour, short
	fence := a.wants(0, 6, 6).Fence
	b.wants(0, 1, 1)
	s.Kill()
	s.Restart()
	if g := b.claim(1, 10); g.Total != 7 || g.Holders != 2 || g.Fence <= fence {
		t.Errorf("after the restart b was answered %+v", g)
	}
	b.next.Seq -= 2
	if _, err := b.try(0, 10); !errors.Is(err, fleet.ErrStale) {
		t.Errorf("after the restart an old Seq is answered %v", err)
	}
}

// A replica refuses claims, with an error that says so, until it is promoted. Then the quota
// learns, because the replica may lack the last claims: here it lacks one.
func TestServerFailover(t *testing.T) {
	t.Parallel()
	primary, replica := redisd.Start(t), redisd.Start(t)
	between, err := relay.New(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(between.Close)
	l, r := open(t, Options{}, primary.Addr()), open(t, Options{}, replica.Addr())
	follow(t, l, r, between.Addr())
	foundReal(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
	a.next.Lease, b.next.Lease = time.Hour, short
	a.wants(0, 1, 1)
	b.wants(0, 1, 1)
	awaitReplica(t, l, 1)

	a.l, b.l = r, r
	_, err = a.try(1, 9)
	checkError(t, err, "claim", "q", ErrReadOnly)
	_, err = r.Take(t.Context(), fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: 1})
	checkError(t, err, "take", "r", ErrReadOnly)

	for _, c := range between.Conns() {
		c.BlackHole() // the replica falls behind
	}
	a.l = l
	a.wants(1, 9, 9)
	primary.Kill()
	promote(t, r)
	a.l = r
	if g := b.wants(1, 10, 1); !g.Learning || g.Total != 2 {
		t.Errorf("after the fail-over b was answered %+v", g)
	}
	if g := a.wants(9, 9, 9); g.Total != 10 {
		t.Errorf("after the fail-over a was answered %+v", g)
	}
}

// follow makes the server of r a replica, and waits until it has all data.
func follow(t testing.TB, l, r *Ledger, primary string) {
	t.Helper()
	host, port, err := net.SplitHostPort(primary)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.client.Do(t.Context(), "replicaof", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	if err := l.client.Set(t.Context(), "mark", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	awaitReplica(t, l, 1)
}

// awaitReplica waits until n replicas have everything that l wrote.
func awaitReplica(t testing.TB, l *Ledger, n int) {
	t.Helper()
	by := time.Now().Add(60 * time.Second)
	for {
		// WAIT counts what its own connection wrote.
		conn := l.client.(*redis.Client).Conn()
		conn.Set(t.Context(), "mark", 1, 0)
		got, err := conn.Do(t.Context(), "wait", n, 1000).Int()
		conn.Close()
		if err == nil && got >= n {
			return
		}
		if time.Now().After(by) {
			t.Fatalf("%d of %d replicas have the data: %v", got, n, err)
		}
	}
}

func promote(t testing.TB, r *Ledger) {
	t.Helper()
	if err := r.client.Do(t.Context(), "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
}

// With Replicas a claim that no replica has fails, so the old primary grants nothing when it
// is cut off.
func TestServerReplicas(t *testing.T) {
	t.Parallel()
	primary, replica := redisd.Start(t), redisd.Start(t)
	plain, r := open(t, Options{}, primary.Addr()), open(t, Options{}, replica.Addr())
	l := open(t, Options{Replicas: 1}, primary.Addr())
	follow(t, plain, r, primary.Addr())
	foundReal(t, plain)
	a := newHolder(t, l, "a", 10)
	a.eventually(0, 4, 4) // a busy machine may need more than 100 ms for one
	if err := l.client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	a.eventually(4, 4, 4)
	replica.Stop()
	_, err := a.try(4, 9)
	checkError(t, err, "claim", "q", ErrReplicas)
	if !strings.Contains(err.Error(), "0 of 1") {
		t.Errorf("the error is %v", err)
	}
	replica.Continue()
	a.eventually(4, 9, 9)
}

// Claims time out while the server stands still. Those that it finds in its sockets
// afterwards change nothing.
func TestServerStopped(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t)
	l := open(t, Options{Timeout: 100 * time.Millisecond}, s.Addr())
	foundReal(t, open(t, Options{}, s.Addr()))
	a := newHolder(t, l, "a", 10)
	a.eventually(0, 4, 4)
	s.Stop()
	for range 3 {
		_, err := a.try(4, 9)
		checkError(t, err, "claim", "q", ErrUnreachable)
	}
	time.Sleep(200 * time.Millisecond) // real time: claims are late by it
	s.Continue()
	observer := newHolder(t, open(t, Options{}, s.Addr()), "observer", 10)
	if g := observer.claim(0, 1); g.Total != 5 {
		t.Errorf("a claim that its client had given up was recorded: %+v", g)
	}
	a.eventually(4, 9, 9)
}

// A partition is an error, and nothing else: when it ends the next claim succeeds.
func TestServerPartition(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t)
	r, err := relay.New(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	l := open(t, Options{Timeout: 300 * time.Millisecond}, r.Addr())
	foundReal(t, open(t, Options{}, s.Addr()))
	a := newHolder(t, l, "a", 10)
	a.eventually(0, 4, 4)
	r.OnConn(func(c *relay.Conn) { c.BlackHole() })
	for _, c := range r.Conns() {
		c.BlackHole()
	}
	for range 2 {
		_, err := a.try(4, 9)
		checkError(t, err, "claim", "q", ErrUnreachable)
	}
	r.OnConn(func(c *relay.Conn) { c.Down().After(0, c.Reset) })
	_, err = a.try(4, 9)
	checkError(t, err, "claim", "q", ErrUnreachable)
	r.OnConn(nil)
	a.eventually(4, 9, 9)
}

// Errors of a real server have their kinds.
func TestServerErrors(t *testing.T) {
	t.Parallel()
	const password = "s3cret-s3cret"
	s := redisd.Start(t, "--requirepass", password)
	with := func(user, password string) *Ledger {
		u := patient(s.Addr())
		u.Username, u.Password = user, password
		l, err := Open(u, Options{Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	ctx := context.Background()
	admin := with("", password)
	foundReal(t, admin)
	n := 0
	claim := func(l *Ledger) error {
		n++
		_, err := newHolder(t, l, fmt.Sprint("h", n), 10).try(0, 1)
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the password is in %v", err)
		}
		return err
	}
	checkError(t, claim(with("", "")), "claim", "q", ErrAuth)
	checkError(t, claim(with("", password+"-wrong")), "claim", "q", ErrAuth)
	checkError(t, claim(with("joe", password)), "claim", "q", ErrAuth)

	// A user with the permissions that the documentation names, and with fewer.
	allowed := []any{"acl", "setuser", "fleet", "on", ">" + password, "~respool:fleet:*", "+hello", "+evalsha", "+eval", "+time", "+info", "+exists", "+hmget",
		"+hgetall", "+hset", "+hdel", "+pexpire", "+get", "+set"}
	if err := admin.client.Do(ctx, allowed...).Err(); err != nil {
		t.Fatal(err)
	}
	limited := with("fleet", password)
	a := newHolder(t, limited, "a", 10)
	a.claim(0, 4)
	a.claim(0, 20)
	a.claim(0, 0)
	if _, err := limited.Take(ctx, fleet.Draw{Rate: "r", Tokens: 1, Per: time.Second, Want: 1}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		rule string
		want error
	}{{"-info", nil}, {"-hset", ErrAuth}, {"-evalsha", ErrAuth}} {
		if err := admin.client.Do(ctx, "acl", "setuser", "fleet", c.rule).Err(); err != nil {
			t.Fatal(err)
		}
		if err := claim(limited); c.want == nil && err != nil {
			t.Errorf("with %s: %v", c.rule, err)
		} else if c.want != nil {
			checkError(t, err, "claim", "q", c.want)
		}
	}

	// Another type, out of memory, a script that runs, a server that loads.
	for _, key := range []string{"quota", "rate"} {
		admin.client.Del(ctx, admin.key("q", key))
		admin.client.LPush(ctx, admin.key("q", key), 1)
	}
	checkError(t, claim(admin), "claim", "q", ErrWrongType)
	_, err := admin.Take(ctx, fleet.Draw{Rate: "q", Tokens: 1, Per: time.Second, Want: 1})
	checkError(t, err, "take", "q", ErrWrongType)
	admin.client.Del(ctx, admin.key("q", "quota"))
	admin.client.ConfigSet(ctx, "maxmemory", "1")
	checkError(t, claim(admin), "claim", "q", ErrMemory)
	admin.client.ConfigSet(ctx, "maxmemory", "0")
	if err := claim(admin); err != nil {
		t.Errorf("with memory again: %v", err)
	}
	admin.client.ConfigSet(ctx, "min-replicas-to-write", "1")
	checkError(t, claim(admin), "claim", "q", ErrBusy)
	admin.client.ConfigSet(ctx, "min-replicas-to-write", "0")
}

// A server that reads its data refuses claims with ErrLoading.
func TestServerLoading(t *testing.T) {
	t.Parallel()
	// Each key takes a millisecond to load.
	s := redisd.Start(t, "--appendonly", "yes", "--appendfsync", "no", "--aof-use-rdb-preamble", "no")
	l := open(t, Options{}, s.Addr())
	pipe := l.client.Pipeline()
	const keys = 2000
	for i := range keys {
		pipe.Set(t.Context(), fmt.Sprint("key", i), i, 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	slow := redisd.Load(t, s.Dir(), "--appendonly", "yes", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	r := open(t, Options{}, slow.Addr())
	h := newHolder(t, r, "a", 10)
	var loading bool
	by := time.Now().Add(60 * time.Second)
	for {
		_, err := h.try(0, 1)
		loading = loading || errors.Is(err, ErrLoading)
		if err == nil {
			break
		}
		if time.Now().After(by) {
			t.Fatalf("the server has not loaded: %v", err)
		}
		time.Sleep(time.Millisecond) // interval of the claims
	}
	if !loading {
		t.Error("no claim failed with ErrLoading")
	}
}

// In a cluster the keys of one name are in one slot. A client of one node gets a clear error
// for the keys of another.
func TestServerCluster(t *testing.T) {
	t.Parallel()
	s := redisd.Start(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
	ctx := t.Context()
	node := open(t, Options{}, s.Addr())
	h := newHolder(t, node, "a", 10)
	_, err := h.try(0, 1)
	checkError(t, err, "claim", "q", ErrBusy) // no slot is served
	if err := node.client.Do(ctx, "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	u := patient(s.Addr())
	u.IsClusterMode = true
	for _, replicas := range []int{0, 1} {
		l, err := Open(u, Options{Timeout: 20 * time.Second, Replicas: replicas, Prefix: fmt.Sprint("p", replicas, ":")})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, ok := l.client.(*redis.ClusterClient); !ok {
			t.Fatalf("the client is a %T", l.client)
		}
		h := newHolder(t, l, "a", 10)
		if replicas > 0 {
			awaitCluster(t, h, ErrReplicas) // there is no replica
			continue
		}
		awaitCluster(t, h, nil)
		for i := range 50 {
			h.next.Quota = fmt.Sprint("quota-", i)
			h.claim(0, 1)
			if _, err := l.Take(ctx, fleet.Draw{Rate: h.next.Quota, Tokens: 1, Per: time.Second, Want: 1}); err != nil {
				t.Fatal(err)
			}
			slots := make(map[int64]bool)
			for _, what := range []string{"quota", "rate"} {
				slot, err := node.client.ClusterKeySlot(ctx, l.key(h.next.Quota, what)).Result()
				if err != nil {
					t.Fatal(err)
				}
				slots[slot] = true
			}
			if len(slots) != 1 {
				t.Errorf("the keys of %s are in %d slots", h.next.Quota, len(slots))
			}
		}
	}

	// A slot moves to a node that this client is not connected to.
	other := redisd.Start(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
	host, port, err := net.SplitHostPort(other.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := node.client.Do(ctx, "cluster", "meet", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	second := open(t, Options{}, other.Addr())
	id, err := second.client.Do(ctx, "cluster", "myid").Text()
	if err != nil {
		t.Fatal(err)
	}
	slot := int(node.client.ClusterKeySlot(ctx, node.key("moved", "quota")).Val())
	by := time.Now().Add(60 * time.Second)
	for { // until the nodes know each other
		if err = node.client.Do(ctx, "cluster", "setslot", slot, "node", id).Err(); err == nil {
			err = second.client.Do(ctx, "cluster", "setslot", slot, "node", id).Err()
		}
		if err == nil {
			break
		}
		if time.Now().After(by) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // polling interval: they do not report it
	}
	h.l, h.next.Quota = node, "moved"
	_, err = h.try(0, 1)
	checkError(t, err, "claim", "moved", ErrCluster)
}

// awaitCluster claims until the cluster serves the slots and the claim ends as wanted.
func awaitCluster(t testing.TB, h *holder, want error) {
	t.Helper()
	by := time.Now().Add(60 * time.Second)
	for {
		_, err := h.try(0, 1)
		if err == want || want != nil && errors.Is(err, want) {
			return
		}
		if time.Now().After(by) {
			t.Fatalf("the claim ends with %v, want %v", err, want)
		}
		time.Sleep(time.Millisecond) // polling interval: the cluster does not report it
	}
}

// Sentinel finds the primary, and after a fail-over the new one.
func TestServerSentinel(t *testing.T) {
	t.Parallel()
	primary, replica := redisd.Start(t), redisd.Start(t)
	p, r := open(t, Options{}, primary.Addr()), open(t, Options{}, replica.Addr())
	follow(t, p, r, primary.Addr())
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	const password = "s3cret-s3cret"
	sentinel := redisd.Sentinel(t, fmt.Sprintf("sentinel monitor fleet %s %s 1", host, port), "sentinel down-after-milliseconds fleet 1000",
		"sentinel failover-timeout fleet 5000", "requirepass "+password)
	u := patient(sentinel.Addr())
	u.MasterName, u.SentinelPassword = "fleet", password
	l, err := Open(u, Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	foundReal(t, l)
	a := newHolder(t, l, "a", 10)
	a.next.Lease = time.Hour
	a.eventually(0, 4, 4)
	awaitReplica(t, p, 1)
	primary.Kill()
	_, err = a.try(4, 4)
	checkError(t, err, "claim", "q", ErrUnreachable)
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, l, l), password) {
		t.Error("the password is shown")
	}
	a.eventually(4, 4, 4)
	if g := a.claim(4, 4); !g.Learning || g.Holders != 1 {
		t.Errorf("after the fail-over a was answered %+v", g)
	}
}

// A clock that is set by hand, on a real server: libfaketime changes what TIME returns, and
// when keys expire.
func TestServerClockSetByHand(t *testing.T) {
	t.Parallel()
	library := outside.Path(t, "libfaketime", func() string {
		found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
		if err != nil || len(found) == 0 {
			return ""
		}
		return found[0]
	}, "libfaketime")
	file := filepath.Join(t.TempDir(), "offset")
	set := func(offset string) {
		t.Helper()
		next := file + ".next"
		if err := os.WriteFile(next, []byte(offset+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil { // the server reads it at any instant
			t.Fatal(err)
		}
	}
	set("+0")
	// jemalloc reads the clock while the library is not ready, so the server uses the malloc of libc.
	s := redisd.StartEnv(t, []string{"LD_PRELOAD=" + library + " libc.so.6", "FAKETIME_TIMESTAMP_FILE=" + file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"})
	l := open(t, Options{Timeout: 2 * time.Second}, s.Addr())
	foundReal(t, l)
	a, b := newHolder(t, l, "a", 10), newHolder(t, l, "b", 10)
	a.next.Lease, b.next.Lease = time.Minute, time.Minute
	a.wants(0, 6, 6)
	b.wants(0, 10, 4)
	check := func(what string, mayLearn bool) {
		t.Helper()
		if g := b.wants(4, 10, 4); g.Learning && !mayLearn {
			t.Errorf("%s: b was answered %+v", what, g)
		}
		if g := a.wants(6, 6, 6); g.Holders != 2 || g.Total != 10 {
			t.Errorf("%s: a was answered %+v", what, g)
		}
	}
	for _, offset := range []string{"+90", "+3600", "+0", "-7200", "+36000"} {
		set(offset)
		if now, err := l.client.Time(t.Context()).Result(); err != nil {
			t.Fatal(err)
		} else if d, _ := time.ParseDuration(offset + "s"); (time.Until(now) - d).Abs() > time.Minute {
			t.Fatalf("the server says it is %v: the library does not work", now)
		}
		check(offset, false)
	}
	set("+10000000") // the key expires: the quota is learning
	check("after four months", true)
}
