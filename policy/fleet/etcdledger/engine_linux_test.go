package etcdledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

// patience bounds events that must happen. No successful test waits for it to pass.
const patience = 60 * time.Second

// member is a real etcd server. Its smallest lease is one second.
type member struct {
	program, dir, name, cluster string
	client, peer                string // addresses
	cmd                         *exec.Cmd
	said                        *bytes.Buffer
}

// servers starts a cluster of n members on free ports.
func servers(t testing.TB, n int) []*member {
	t.Helper()
	program := outside.Program(t, []string{"etcd"}, "etcd-server")
	// A port may be taken by another process before etcd listens on it.
	var err error
	for range 5 {
		var all []*member
		var cluster []string
		ports := freePorts(t, 2*n)
		for i := range n {
			m := &member{program: program, dir: filepath.Join(t.TempDir(), "data"), name: fmt.Sprint("m", i), client: ports[2*i], peer: ports[2*i+1]}
			cluster = append(cluster, m.name+"=http://"+m.peer)
			all = append(all, m)
		}
		for _, m := range all {
			m.cluster = strings.Join(cluster, ",")
			m.start(t)
		}
		if err = ready(all); err == nil {
			t.Cleanup(func() {
				for _, m := range all {
					m.kill()
				}
			})
			return all
		}
		for _, m := range all {
			m.kill()
			err = fmt.Errorf("%w\n%s", err, m.said)
		}
	}
	t.Fatalf("etcd did not start: %v", err)
	return nil
}

func freePorts(t testing.TB, n int) (addrs []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func (m *member) start(t testing.TB) {
	t.Helper()
	m.said = new(bytes.Buffer)
	m.cmd = exec.Command(m.program, "--name", m.name, "--data-dir", m.dir,
		"--listen-client-urls", "http://"+m.client, "--advertise-client-urls", "http://"+m.client,
		"--listen-peer-urls", "http://"+m.peer, "--initial-advertise-peer-urls", "http://"+m.peer,
		"--initial-cluster", m.cluster, "--heartbeat-interval", "50", "--election-timeout", "500",
		"--logger", "zap", "--log-level", "error")
	m.cmd.Stdout, m.cmd.Stderr = m.said, m.said
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// ready waits until all members answer.
func ready(all []*member) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, m := range all {
		c, err := clientv3.New(config(m))
		if err != nil {
			return err
		}
		for {
			_, err = c.Get(ctx, "ready")
			if err == nil || ctx.Err() != nil || m.cmd.Process.Signal(syscall.Signal(0)) != nil {
				break
			}
			time.Sleep(20 * time.Millisecond) // etcd says nothing when it is ready
		}
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func config(all ...*member) clientv3.Config {
	var endpoints []string
	for _, m := range all {
		endpoints = append(endpoints, "http://"+m.client)
	}
	return clientv3.Config{Endpoints: endpoints, DialTimeout: 2 * time.Second, DialKeepAliveTime: time.Second, DialKeepAliveTimeout: time.Second, Logger: zap.NewNop()}
}

// kill ends the server at once, as kill -9 does.
func (m *member) kill() {
	if m.cmd == nil {
		return
	}
	m.cmd.Process.Kill()
	m.cmd.Wait()
	m.cmd = nil
}

// restart starts a server that was killed, with or without its data.
func (m *member) restart(t testing.TB, data bool) {
	t.Helper()
	if !data {
		if err := os.RemoveAll(m.dir); err != nil {
			t.Fatal(err)
		}
	}
	m.start(t)
	if err := ready([]*member{m}); err != nil {
		t.Fatalf("%v\n%s", err, m.said)
	}
}

// stall stops the server until resume is called.
func (m *member) stall(t testing.TB) (resume func()) {
	t.Helper()
	outside.Stop(t, m.cmd.Process)
	return func() {
		if err := m.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
}

// open returns a ledger with a client of its own.
func open(t testing.TB, all ...*member) *Ledger {
	t.Helper()
	l, _ := openClient(t, config(all...))
	return l
}

func openClient(t testing.TB, cfg clientv3.Config) (*Ledger, *clientv3.Client) {
	t.Helper()
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// short makes the lease of a claim one second.
func short(c fleet.Claim) fleet.Claim {
	c.Lease = time.Second
	return c
}

// eventually makes claims until one is granted that many, each with the next Seq.
func eventually(t *testing.T, l *Ledger, c *fleet.Claim, granted int) fleet.Grant {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var g fleet.Grant
	var err error
	for ctx.Err() == nil {
		c.Seq++
		attempt, end := context.WithTimeout(ctx, 5*time.Second)
		g, err = l.Claim(attempt, *c)
		end()
		if err == nil && g.Granted == granted {
			return g
		}
		time.Sleep(20 * time.Millisecond) // an event of another process
	}
	t.Fatalf("%+v: granted %d (%v), want %d", *c, g.Granted, err, granted)
	return g
}

// known returns a ledger whose quota q is known and not learning.
func known(t *testing.T, all ...*member) *Ledger {
	t.Helper()
	l := open(t, all...)
	c := short(claim("founder", 0, 0, 1))
	eventually(t, l, &c, 1)
	c.Seq++
	c.Want = 0
	must(t, l, c, 0)
	return l
}

func TestEtcdConformance(t *testing.T) {
	t.Parallel()
	m := servers(t, 1)[0]
	closed := &member{client: freePorts(t, 1)[0]}
	ledgertest.Run(t, func(t testing.TB) ledgertest.Harness {
		return ledgertest.Harness{
			Open:   func() fleet.Ledger { return open(t, m) },
			Lease:  time.Second,
			Late:   20 * time.Second,
			Claims: 320,
			Lose: func() {
				m.kill()
				m.restart(t, false)
			},
			Stall:  func() (resume func()) { return m.stall(t) },
			Broken: map[string]fleet.Ledger{"an address where nothing listens": open(t, closed)},
		}
	})
}

// The server is killed and comes back with its data: every grant that was answered is there.
func TestEtcdKilled(t *testing.T) {
	t.Parallel()
	m := servers(t, 1)[0]
	l := known(t, m)
	a := claim("a", 1, 0, 6)
	must(t, l, a, 6)
	for range 3 {
		m.kill()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		a.Seq++
		a.Has = 6
		_, err := l.Claim(ctx, a)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a claim without a server: %v, want that its context ended", err)
		}
		m.restart(t, true)
	}
	other := open(t, m)
	b := claim("b", 0, 0, 10)
	if g := eventually(t, other, &b, 4); g.Learning || g.Total != 10 {
		t.Errorf("%+v, want 10 in total and no learning", g)
	}
	eventually(t, l, &a, 6)
}

// The server comes back with an old copy of its data. The ledger notices and learns, although
// the copy says that units are free.
func TestEtcdOldCopy(t *testing.T) {
	t.Parallel()
	m := servers(t, 1)[0]
	l := known(t, m)
	must(t, l, claim("a", 1, 0, 2), 2)
	m.kill()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	m.restart(t, true)
	a := claim("a", 1, 2, 10)
	eventually(t, l, &a, 10)
	m.kill()
	if err := os.RemoveAll(m.dir); err != nil {
		t.Fatal(err)
	}
	m.dir = old
	m.restart(t, true)
	b := claim("b", 0, 0, 5)
	if g := eventually(t, l, &b, 0); !g.Learning {
		t.Errorf("%+v, want that it learns", g)
	}
	other := open(t, m)
	c := claim("c", 0, 0, 5)
	if g := eventually(t, other, &c, 0); !g.Learning {
		t.Errorf("%+v, want that all learn", g)
	}
	a.Has = 10
	if g := eventually(t, other, &a, 10); g.Total != 10 {
		t.Errorf("total %d, want 10", g.Total)
	}
}

// The server stands still for longer than the leases.
func TestEtcdStopped(t *testing.T) {
	t.Parallel()
	m := servers(t, 1)[0]
	l := known(t, m)
	a, b := short(claim("a", 1, 0, 6)), short(claim("b", 1, 0, 4))
	must(t, l, a, 6)
	must(t, l, b, 4)
	resume := m.stall(t)
	time.Sleep(2500 * time.Millisecond) // the leases end on the server's clock
	resume()
	// One of them is still there, with its units; the other has been forgotten.
	a.Has = 6
	eventually(t, l, &a, 6)
	c := claim("c", 0, 0, 10)
	eventually(t, l, &c, 4)
	b.Has = 4
	if g := eventually(t, l, &b, 4); g.Total != 14 {
		t.Errorf("total %d, want 14: a holder that comes too late states what it has", g.Total)
	}
}

// Compaction and defragmentation change nothing.
func TestEtcdCompaction(t *testing.T) {
	t.Parallel()
	m := servers(t, 1)[0]
	l := known(t, m)
	_, c := openClient(t, config(m))
	a := claim("a", 0, 0, 6)
	var fence uint64
	for range 5 {
		a.Seq++
		g := must(t, l, a, 6)
		if g.Fence <= fence {
			t.Errorf("fence %d after %d", g.Fence, fence)
		}
		fence = g.Fence
		if _, err := c.Compact(t.Context(), int64(fence), clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Defragment(t.Context(), "http://"+m.client); err != nil {
			t.Fatal(err)
		}
		a.Has = 6
	}
	must(t, l, claim("b", 1, 0, 10), 4)
}

// Values that the ledger did not write are errors, and stay as they are. A lease that etcd
// makes longer is reported as it is.
func TestEtcdValues(t *testing.T) {
	t.Parallel()
	m := servers(t, 1)[0]
	l := known(t, m)
	_, c := openClient(t, config(m))
	a := claim("a", 1, 2, 2)
	a.Lease = 1200 * time.Millisecond
	if g := must(t, l, a, 2); g.Lease != 2*time.Second {
		t.Errorf("lease %v, want 2s", g.Lease)
	}
	k := keysOf(defaultPrefix, "q")
	r, err := c.Get(t.Context(), k.record("a"))
	if err != nil || len(r.Kvs) != 1 {
		t.Fatal(r, err)
	}
	if got, want := string(r.Kvs[0].Value), "v1 seq=1 granted=2 want=2 min=0 priority=0 limit=10 ttl=2"; got != want {
		t.Errorf("the record is %q, want %q", got, want)
	}
	if _, term, err := l.store.renew(t.Context(), r.Kvs[0].Lease); err != nil || term == 0 || term != r.Header.RaftTerm {
		t.Errorf("a renewal in the raft term %d (%v), want %d", term, err, r.Header.RaftTerm)
	}
	const foreign = "[1,2,3]"
	if _, err := c.Put(t.Context(), k.record("x"), foreign); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Claim(t.Context(), claim("b", 1, 0, 1)); !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), k.record("x")) {
		t.Errorf("error %v, want ErrForm with the key", err)
	}
	if r, err := c.Get(t.Context(), k.record("x")); err != nil || string(r.Kvs[0].Value) != foreign {
		t.Errorf("the key is now %v (%v)", r, err)
	}
}

// A password that is no longer right, and one that never was, are not shown.
func TestEtcdPassword(t *testing.T) {
	t.Parallel()
	m := servers(t, 1)[0]
	_, c := openClient(t, config(m))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(c.UserAdd(ctx, "root", "first-hunter2"))
	do(c.UserGrantRole(ctx, "root", "root"))
	do(c.UserAdd(ctx, "pool", "second-hunter2"))
	do(c.RoleAdd(ctx, "pool"))
	do(c.RoleGrantPermission(ctx, "pool", defaultPrefix, clientv3.GetPrefixRangeEnd(defaultPrefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	do(c.UserGrantRole(ctx, "pool", "pool"))
	do(c.AuthEnable(ctx))

	as := func(user, password string) clientv3.Config {
		cfg := config(m)
		cfg.Username, cfg.Password = user, password
		return cfg
	}
	root, err := clientv3.New(as("root", "first-hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l, _ := openClient(t, as("pool", "second-hunter2"))
	must(t, l, claim("a", 1, 3, 3), 3)
	must(t, l, claim("a", 2, 3, 3), 3)

	hidden := func(err error, want string) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(text, "hunter2") || !strings.Contains(text, want) {
				t.Errorf("the error is %s, want one without the password that says %q", text, want)
			}
		}
	}
	if wrong, err := clientv3.New(as("pool", "wrong-hunter2")); err == nil {
		l, err := New(wrong, Options{})
		if err == nil {
			_, err = l.Claim(ctx, claim("b", 1, 0, 1))
		}
		hidden(err, "authentication failed")
		wrong.Close()
	} else {
		hidden(err, "authentication failed")
	}
	do(root.UserChangePassword(ctx, "pool", "third-hunter2"))
	_, err = l.Claim(ctx, claim("a", 3, 3, 3))
	hidden(err, "authentication failed")
	if !errors.Is(err, rpctypes.ErrAuthFailed) {
		t.Errorf("%v does not match %v", err, rpctypes.ErrAuthFailed)
	}
	// Without permission for the keys.
	if stranger, err := New(root, Options{Prefix: "/other/"}); err != nil {
		t.Fatal(err)
	} else {
		must(t, stranger, claim("a", 1, 3, 3), 3)
	}
	l, _ = openClient(t, as("pool", "third-hunter2"))
	l.prefix = "/other/"
	_, err = l.Claim(ctx, claim("b", 1, 0, 1))
	hidden(err, "permission denied")
}

// The leader of three members is killed, and comes back, while processes claim. No more than
// the limit is ever in use, each holder gets answers again, and the history is linearizable.
func TestEtcdLeaderKilled(t *testing.T) {
	t.Parallel()
	all := servers(t, 3)
	known(t, all...)
	const holders, limit = 6, 10
	var inUse atomic.Int64
	var claims, errs atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	progress := make([]atomic.Int64, holders)
	history := newHistory(t, all)
	var wg sync.WaitGroup
	for i := range holders {
		l := open(t, all...)
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			c := claim(fmt.Sprint("h", i), 0, 0, 0)
			c.Lease = 30 * time.Second // longer than the test: no units come back by themselves
			for ctx.Err() == nil {
				fewer := r.IntN(c.Has + 1)
				inUse.Add(int64(fewer - c.Has))
				c.Has = fewer
				c.Want = min(c.Has+r.IntN(limit), limit)
				c.Seq++
				attempt, end := context.WithTimeout(ctx, time.Second)
				g, err := history.claim(attempt, l, c)
				end()
				claims.Add(1)
				if err != nil {
					errs.Add(1)
					continue // recorded or not: the holder keeps what it has
				}
				if n := inUse.Add(int64(g.Granted - c.Has)); n > limit {
					t.Errorf("%d units are in use, want at most %d", n, limit)
					return
				}
				c.Has = g.Granted
				progress[i].Add(1)
			}
		})
	}
	advance := func(what string) {
		t.Helper()
		began := time.Now()
		for i := range progress {
			for from := progress[i].Load(); progress[i].Load() < from+3; {
				if ctx.Err() != nil || t.Failed() {
					t.Fatalf("%s: a holder got no answer in %v", what, time.Since(began))
				}
				time.Sleep(5 * time.Millisecond) // an event of other processes
			}
		}
		t.Logf("%s: each holder got 3 answers in %v", what, time.Since(began).Round(time.Millisecond))
	}
	advance("three members")
	for range 2 {
		leader := leaderOf(t, ctx, all)
		leader.kill()
		advance("the leader was killed")
		leader.start(t)
		if err := ready([]*member{leader}); err != nil {
			t.Fatal(err)
		}
		advance("the member is back")
	}
	cancel()
	wg.Wait()
	t.Logf("%d claims, %d without an answer", claims.Load(), errs.Load())
	for _, complaint := range history.check(t, all) {
		t.Error(complaint)
	}
}

// leaderOf returns the leader of a cluster.
func leaderOf(t *testing.T, ctx context.Context, all []*member) *member {
	t.Helper()
	_, c := openClient(t, config(all...))
	for ctx.Err() == nil {
		for _, m := range all {
			s, err := c.Status(ctx, "http://"+m.client)
			if err == nil && s.Leader == s.Header.MemberId {
				return m
			}
		}
		time.Sleep(20 * time.Millisecond) // an event of other processes
	}
	t.Fatal("there is no leader")
	return nil
}
