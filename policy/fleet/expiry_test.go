package fleet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// strictQuota returns a quota that closes before expiry and has a lease.
func strictQuota(t *testing.T, e *engine, d time.Duration) *fleet.Quota {
	t.Helper()
	q := newQuota(t, fleet.Config{Ledger: e, Limit: 10, Lease: d, OnLost: fleet.FailClosed, CloseBeforeExpiry: true})
	admit(t, q, 1)
	return q
}

func TestQuota_OnExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := strictQuota(t, e, lease)
		defer end(q)
		var called, kept atomic.Int64
		q.OnExpiry(func(error) { panic("test") }) // contained
		q.OnExpiry(func(cause error) {
			caused(t, cause, fleet.ErrExpired)
			called.Add(1)
		})
		stop := q.OnExpiry(func(error) { kept.Add(1) })
		if !stop() || stop() {
			t.Error("stop says that nothing was forgotten, or that it was twice")
		}
		bounded, cancel := q.Context(ctx)
		defer cancel()
		time.Sleep(5 * lease)
		if called.Load() != 0 || bounded.Err() != nil {
			t.Error("expired although the lease was renewed")
		}
		e.set(func(e *engine) { e.down = errDown })
		time.Sleep(lease - lease/10)
		synctest.Wait()
		if called.Load() != 1 || kept.Load() != 0 || !errors.Is(context.Cause(bounded), fleet.ErrExpired) {
			t.Errorf("called %d times, forgotten ones %d times, the context's cause is %v", called.Load(), kept.Load(), context.Cause(bounded))
		}
		q.OnExpiry(func(error) { called.Add(1) })
		late, cancel := q.Context(ctx)
		defer cancel()
		if called.Load() != 2 || late.Err() == nil {
			t.Error("without a lease it does not end at once")
		}
		if s := q.Snapshot(); s.Closed != 3 { // the context, too, and the one that panicked
			t.Errorf("the state is %+v", s)
		}
	})
}

// Without CloseBeforeExpiry nothing expires.
func TestQuota_NoExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{Ledger: e, OnLost: fleet.FailClosed})
		defer end(q)
		q.OnExpiry(func(error) { t.Error("called") })
		bounded, cancel := q.Context(ctx)
		defer cancel()
		e.set(func(e *engine) { e.down = errDown })
		time.Sleep(3 * lease)
		if bounded.Err() != nil {
			t.Error("the context has ended")
		}
	})
}

// listen returns a server that accepts connections and reports how each ended.
func listen(t *testing.T) (addr string, ends <-chan error, count *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 100)
	var open atomic.Int64
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			busy.Go(func() {
				_, err := io.Copy(io.Discard, c)
				_ = c.Close()
				open.Add(-1)
				ended <- err
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		busy.Wait()
	})
	return l.Addr().String(), ended, &open
}

// Real connections are closed when the lease ends, also while their user waits in a Read.
func TestQuota_Dial(t *testing.T) {
	const d = 3 * time.Second // a busy machine must make a claim in time
	addr, ends, open := listen(t)
	e := newEngine("account")
	q := strictQuota(t, e, d)
	defer end(q)
	dial := q.Dial(nil)
	var conns []net.Conn
	for range 5 {
		c, err := dial(ctx, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.(*net.TCPConn); !ok {
			t.Fatalf("the connection is a %T", c)
		}
		conns = append(conns, c)
	}
	for range 100 { // those that were closed are forgotten
		c, err := dial(ctx, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		<-ends
	}
	read := make(chan error)
	go func() {
		_, err := conns[0].Read(make([]byte, 1))
		read <- err
	}()
	e.set(func(e *engine) { e.down = errDown })
	for range conns {
		if err := <-ends; err == nil {
			t.Error("the server saw an orderly end, want a reset")
		}
	}
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the read returned %v", err)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	if _, err := dial(ctx, "tcp", addr); !errors.Is(err, fleet.ErrExpired) {
		t.Errorf("a dial without a lease: %v", err)
	}
	if s := q.Snapshot(); s.Closed < 5 || s.Closed > 5+32 {
		t.Errorf("%d closed: connections that their users closed are not forgotten", s.Closed)
	}
}

// So are sockets of the Unix domain, also if there are many: those that were closed are forgotten, and
// no other.
func TestQuota_DialUnix(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skipf("no sockets of the Unix domain: %v", err)
	}
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			busy.Go(func() {
				io.Copy(io.Discard, c)
				c.Close()
			})
		}
	})
	defer busy.Wait()
	defer l.Close()
	e := newEngine("account")
	q := strictQuota(t, e, time.Second)
	defer end(q)
	dial := q.Dial(nil)
	var conns []net.Conn
	for range 40 {
		for _, closes := range []bool{false, true} {
			c, err := dial(ctx, "unix", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := c.(*net.UnixConn); !ok {
				t.Fatalf("the connection is a %T", c)
			}
			if closes {
				c.Close()
			} else {
				conns = append(conns, c)
			}
		}
	}
	e.set(func(e *engine) { e.down = errDown })
	for _, c := range conns {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) && err != io.EOF {
			t.Errorf("a read returned %v", err)
		}
	}
	if s := q.Snapshot(); s.Closed < 40 || s.Closed > 40+40 {
		t.Errorf("%d closed", s.Closed)
	}
}

// A dial that runs when the lease ends is canceled, and a connection that is no socket is
// forgotten when its user closes it.
func TestQuota_DialCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := strictQuota(t, e, lease)
		defer end(q)
		pipes := q.Dial(func(context.Context, string, string) (net.Conn, error) {
			c, _ := net.Pipe()
			return c, nil
		})
		kept, err := pipes(ctx, "tcp", "x")
		if err != nil {
			t.Fatal(err)
		}
		closed, _ := pipes(ctx, "tcp", "x")
		_ = closed.Close()
		failing := q.Dial(func(context.Context, string, string) (net.Conn, error) { return nil, errDown })
		if _, err := failing(ctx, "tcp", "x"); err != errDown {
			t.Errorf("the error is %v", err)
		}
		e.set(func(e *engine) { e.down = errDown })
		hanging := q.Dial(func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		_, err = hanging(ctx, "tcp", "x")
		caused(t, err, fleet.ErrExpired)
		late := q.Dial(func(ctx context.Context, _, _ string) (net.Conn, error) {
			t.Error("dialed without a lease")
			return nil, errDown
		})
		_, err = late(ctx, "tcp", "x")
		caused(t, err, fleet.ErrExpired)
		synctest.Wait()
		if _, err := kept.Read(nil); err != io.ErrClosedPipe {
			t.Errorf("a read of a connection that expired returned %v", err)
		}
		if s := q.Snapshot(); s.Closed != 2 { // kept, and the dial
			t.Errorf("%d closed", s.Closed)
		}
	})
}

// The pool of a quota that has lapsed lends nothing that it had before.
func TestQuota_LapsedPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 10, OnLost: fleet.FailClosed, CloseBeforeExpiry: true})
		var causes []error
		var mu sync.Mutex
		made := 0
		p, err := resource.New(resource.Config[int]{
			Make: func(context.Context) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				made++
				return made, nil
			},
			Destroy: func(_ int, cause error) {
				mu.Lock()
				defer mu.Unlock()
				causes = append(causes, cause)
			},
			MaxSize: 3, Quota: q, Eviction: q.Surplus(), SweepInterval: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Warm(ctx, 3); err != nil {
			t.Fatal(err)
		}
		for range 3 { // each has been lent
			l, err := p.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
		}
		e.set(func(e *engine) { e.down = errDown })
		time.Sleep(2 * lease)
		l, err := p.Acquire(deadline(t, time.Millisecond))
		if err == nil {
			t.Errorf("lent %d without a lease", l.Value())
			l.Release()
		}
		e.set(func(e *engine) { e.down = nil })
		end(q)
		if err := p.Close(deadline(t, time.Second)); err == nil {
			t.Error("closed although leases last")
		}
	})
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(ctx, d)
	t.Cleanup(cancel)
	return c
}
