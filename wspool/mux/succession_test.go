package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A connection that was acquired to replace another one that has left meanwhile joins only if it has
// a place, and is given back otherwise.
func TestReplace_ConnectionHasLeft(t *testing.T) {
	for _, open := range []int{0, 1, 2} { // connections that have joined since
		synctest.Test(t, func(t *testing.T) {
			const most = 2
			c, read := deafClient(t, Config{Codec: lines{}, MaxConns: most})
			close(read)
			acquire := func() *wspool.Conn {
				ws, err := c.acquire(t.Context(), resource.Request{Shared: true})
				if err != nil {
					t.Fatal(err)
				}
				return ws
			}
			left, err := c.choose(t.Context(), &Request{}, "")
			if err != nil {
				t.Fatal(err)
			}
			left.unreserve()
			left.drain(errors.New("away"))
			for range open {
				n := newConn(c, acquire(), false)
				c.mu.Lock()
				joined := c.joinLocked(n)
				c.mu.Unlock()
				c.began(n, joined)
			}
			c.replace(retiree{left, errors.New("away")}, acquire())
			synctest.Wait()
			if n, want := len(c.Stats().Conns), min(open+1, most); n != want {
				t.Errorf("%d connections, want %d: %d had joined since", n, want, open)
			}
			if s := c.from.(*wspool.Pool).Stats(); s.Leased != min(open+1, most) {
				t.Errorf("the pool has lent %d connections; %d had joined since", s.Leased, open)
			}
		})
	}
}

// asked is a Leaser that does not tell whether its pool has room. It notes how it was asked.
type asked struct {
	from *wspool.Pool

	mu  sync.Mutex
	all []resource.Request
}

func (a *asked) AcquireWith(ctx context.Context, r resource.Request) (*wspool.Conn, error) {
	a.mu.Lock()
	a.all = append(a.all, r)
	a.mu.Unlock()
	return a.from.AcquireWith(ctx, r)
}

// telling is asked, and tells.
type telling struct{ *asked }

func (a telling) Stats() wspool.Stats { return a.from.Stats() }

// The acquire of a connection that replaces another one is bounded: by succeedWait, or by growWait if
// it may be that the pool waits for the connection that is to be replaced.
func TestSuccession_Bound(t *testing.T) {
	for _, tells := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, read := deafClient(t, Config{Codec: lines{}})
			close(read)
			p := c.from.(*wspool.Pool)
			a, want := &asked{from: p}, growWait
			if c.from = a; tells {
				c.from, want = telling{a}, succeedWait
			}
			n, err := c.choose(t.Context(), &Request{}, "")
			if err != nil {
				t.Fatal(err)
			}
			p.Reset(nil) // wants n back, which is in use
			synctest.Wait()
			n.unreserve()
			a.mu.Lock()
			defer a.mu.Unlock()
			if len(a.all) != 2 || a.all[1].MaxWait != want || !a.all[1].Shared {
				t.Errorf("tells %v: asked for %+v, want a wait of %v", tells, a.all, want)
			}
		})
	}
}

// A stream that has been resumed on another connection, or has ended, does not leave that when the one
// that it was on before ends.
func TestStream_LostByAnEarlierConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := deafClient(t, Config{Codec: lines{}})
		close(read)
		again := func(Message) (Request, bool) { return Request{}, true }
		s, err := c.Stream(t.Context(), Request{}, StreamConfig{Resume: again})
		if err != nil {
			t.Fatal(err)
		}
		on := func() *conn {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.conn
		}
		first, cut := on(), errors.New("cut")
		first.fail(cut)
		time.Sleep(time.Second) // virtual: the pauses of resume
		second := on()
		if second == nil || second == first {
			t.Fatal("the stream is not resumed")
		}
		first.drain(cut)
		s.lost(first, cut)
		s.move(first, cut, false)
		time.Sleep(time.Second) // in the bubble
		if on() != second || c.stats.resumes.Load() != 1 {
			t.Errorf("resumed %d times; still on its connection: %v", c.stats.resumes.Load(), on() == second)
		}

		s.mu.Lock()
		s.err = ErrStreamClosed // as Close does before it takes the stream off the connection
		s.mu.Unlock()
		s.lost(second, cut)
		s.mu.Lock()
		if s.moving || s.gap != nil || s.conn != second {
			t.Errorf("a stream that has ended is resumed: moving %v, gap %v", s.moving, s.gap)
		}
		s.mu.Unlock()
		second.detach(s, true)
	})
}

// A connection is drained at once, and not replaced, if the pool wants its slot.
func TestSucceed_SlotWanted(t *testing.T) {
	for _, cause := range []error{resource.ErrReset, resource.ErrResized, resource.ErrPreempted, resource.ErrClosed} {
		synctest.Test(t, func(t *testing.T) {
			c, read := deafClient(t, Config{Codec: lines{}})
			close(read)
			n, err := c.choose(t.Context(), &Request{}, "")
			if err != nil {
				t.Fatal(err)
			}
			want := cause == resource.ErrReset
			if got := c.succeed(n, fmt.Errorf("recall: %w", cause)); got != want {
				t.Errorf("%v: another connection is to take its place: %v", cause, got)
			}
			n.unreserve()
			synctest.Wait()
			if got := c.stats.acquired.Load() == 2; got != want {
				t.Errorf("%v: another connection was acquired: %v", cause, got)
			}
		})
	}
}
