package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/wspool"
)

// asChild, if set in the environment, makes the program one of the processes that share the
// quota.
const asChild = "RESPOOL_EXAMPLE_FLEET_CHILD"

// order is what the parent tells a process, as one line of JSON on its standard input. The
// end of the input ends the process.
type order struct {
	Name   string // of the process
	URL    string // of the WebSocket server
	Kind   string // of the engine
	Engine string // its address
	Prefix string // of what the ledger stores
	Lease  time.Duration
	Lost   string // one of lostModes
	Seed   uint64
}

// report is what a process tells the parent, a line of JSON every reportEvery.
type report struct {
	Granted, Held, Target int
	Holders               int
	Learning              bool
	Lost                  time.Duration // for how long the engine has not answered
	Cause                 string        // of the last failure of the engine, while Lost
	Served                int64         // leases that ended well
	Operations            int64         // of the engine
	Over                  int64         // sessions that were ever held beyond the grant
}

const reportEvery = 100 * time.Millisecond

// callers is how many callers a process has at once: enough to use all sessions alone.
const callers = limit

// child is a process of the fleet. It returns its exit status.
func child(stdin io.Reader, stdout, stderr io.Writer) int {
	// A terminal sends an interrupt to every process of the group; the parent decides when a
	// process ends, and the end of the input says so, also if the parent has crashed.
	signal.Ignore(os.Interrupt)
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	var o order
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		fmt.Fprintln(stderr, "no orders:", err)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in) // until the parent closes it, or ends
		cancel()
	}()
	if err := serve(ctx, o, stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// leastMargin is for a machine so busy that a process may act this much too late.
const leastMargin = 300 * time.Millisecond

// newQuota joins the quota: every process calls it with the same name and limit.
func newQuota(o order, ledger fleet.Ledger) (*fleet.Quota, error) {
	cfg := fleet.Config{
		Ledger: ledger,
		Quota:  "account",
		Limit:  limit,
		Lease:  o.Lease,
		Margin: max(o.Lease/10, leastMargin),
	}
	switch o.Lost {
	case lostClosed: // the strict setting, for a provider that bans accounts
		cfg.OnLost = fleet.FailClosed
		cfg.CloseBeforeExpiry = true
	case lostShare:
		cfg.OnLost = fleet.LocalShare
	case lostOpen:
		cfg.OnLost = fleet.FailOpen
	}
	return fleet.New(cfg)
}

// newPool creates the pool of a process. The quota decides how many connections exist,
// which idle ones are too many, and closes them before its lease ends.
func newPool(o order, quota *fleet.Quota) (*wspool.Pool, error) {
	return wspool.New(wspool.Config{
		URL:          o.URL,
		MaxSize:      limit, // of one process; the quota is the limit of all
		Quota:        quota,
		Eviction:     quota.Surplus(),
		NetDial:      quota.Dial((&net.Dialer{}).DialContext),
		CloseTimeout: o.Lease / 10, // within the margin of the lease
		// The server ends all sessions of a process that stood still. That is no reason to
		// dial slowly afterwards: the quota says how many connections may be dialled.
		Redial: func(cause error, streak int) time.Duration {
			return min(wspool.DefaultRedial(cause, streak), o.Lease/10)
		},
	})
}

// serve works until ctx ends, and gives the sessions back.
func serve(ctx context.Context, o order, out io.Writer) (err error) {
	ledger, hangUp, err := openLedger(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hangUp()) }()
	quota, err := newQuota(o, ledger)
	if err != nil {
		return err
	}
	pool, err := newPool(o, quota)
	if err != nil {
		return err
	}

	var served atomic.Int64
	var working sync.WaitGroup
	for n := range callers {
		rnd := rand.New(rand.NewPCG(o.Seed, uint64(n)))
		working.Go(func() { work(ctx, pool, rnd, &served) })
	}
	enc := json.NewEncoder(out)
	stop := every(reportEvery, func() { _ = enc.Encode(reportOf(quota, served.Load())) }) // the parent may have ended
	<-ctx.Done()
	working.Wait()
	stop()

	closing, cancel := context.WithTimeout(context.Background(), leaving)
	defer cancel()
	err = pool.Close(closing) // first: it returns the permits
	telling, cancel := context.WithTimeout(closing, 2*o.Lease)
	defer cancel()
	var left *fleet.CloseError
	if gone := quota.Close(telling); !errors.As(gone, &left) || left.Held > 0 {
		err = errors.Join(err, gone)
	} // else the engine does not answer, and forgets the process when its lease ends
	return err
}

// leaving bounds how long a process takes to give its sessions back at its end.
const leaving = 10 * time.Second

// work is one caller: it uses a session for a few exchanges, again and again.
func work(ctx context.Context, pool *wspool.Pool, rnd *rand.Rand, served *atomic.Int64) {
	for ctx.Err() == nil {
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
			for range 1 + rnd.IntN(6) {
				if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("hello")); err != nil {
					return err
				}
				if _, _, err := c.ReadMessage(ctx); err != nil {
					return err
				}
				pause(ctx, time.Duration(10+rnd.IntN(40))*time.Millisecond)
			}
			return nil
		})
		if err == nil {
			served.Add(1)
			continue
		}
		pause(ctx, time.Duration(20+rnd.IntN(80))*time.Millisecond) // a session was closed, or the quota refused
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// reportOf returns what the quota knows.
func reportOf(quota *fleet.Quota, served int64) report {
	s := quota.Snapshot()
	r := report{
		Granted: s.Granted, Held: s.Held, Target: s.Target, Holders: s.Holders,
		Learning: s.Learning, Lost: s.Lost, Served: served, Operations: s.Operations, Over: s.OverTotal,
	}
	if s.LostCause != nil {
		r.Cause = s.LostCause.Error()
	}
	return r
}
