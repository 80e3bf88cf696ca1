package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/redisledger"
	"github.com/respool/respool/resource"
)

// orders tell a child what to do.
type orders struct {
	Name    string
	Engine  string // address of the engine, or of its Sentinel
	Master  string // name of the primary; empty: Engine is the server
	Server  string // address of the server that counts
	Limit   int
	Lease   time.Duration
	Margin  time.Duration
	Beat    time.Duration // interval of the messages of each session
	Mode    fleet.LostMode
	Close   bool          // CloseBeforeExpiry
	Workers int           // that each hold a session nearly always
	Use     time.Duration // of a session by a worker, about
}

// report is a line of a child's output.
type report struct {
	Granted, Held, Target, Holders int
	Learning                       bool
	Operations, Failed             int64
	OverTotal                      int64
	Lost                           time.Duration
	Cause                          string
	At                             time.Time
}

// session is one connection to the server.
type session struct {
	conn net.Conn
	once sync.Once
	gone chan struct{}
}

func (s *session) close() {
	s.once.Do(func() {
		close(s.gone)
		s.conn.Close()
	})
}

// beat sends a message at each interval, so that the server knows that this process runs.
func (s *session) beat(interval time.Duration) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		select {
		case <-s.gone:
			return
		case <-ticks.C:
			s.conn.Write([]byte("."))
		}
	}
}

// beChild is the main function of a child. It ends with its standard input.
func beChild(text string) int {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	u := &redis.UniversalOptions{Addrs: []string{o.Engine}, MasterName: o.Master}
	ledger, err := redisledger.Open(u, redisledger.Options{Timeout: o.Lease / 6})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	q, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "provider", Limit: o.Limit, Lease: o.Lease, Margin: o.Margin, OnLost: o.Mode, CloseBeforeExpiry: o.Close})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dial := q.Dial(nil)
	pool, err := resource.New(resource.Config[*session]{
		MaxSize: o.Limit,
		Make: func(ctx context.Context) (*session, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			c, err := dial(ctx, "tcp", o.Server)
			if err != nil {
				return nil, err
			}
			// The server counts the session from here on.
			if _, err := c.Write([]byte(o.Name + "\n")); err != nil {
				c.Close()
				return nil, err
			}
			s := &session{conn: c, gone: make(chan struct{})}
			go s.beat(o.Beat)
			return s, nil
		},
		Destroy: func(s *session, _ error) { s.close() },
		Watch: func(s *session, invalidate func(error)) {
			go func() {
				// The server sends nothing: a read ends with the connection.
				_, err := s.conn.Read(make([]byte, 1))
				s.close()
				invalidate(err)
			}()
		},
		Quota:         q,
		Eviction:      q.Surplus(),
		SweepInterval: 100 * time.Millisecond,
		Outage:        resource.KeepWaiting,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := range o.Workers {
		go work(pool, o.Use+o.Use*time.Duration(i%7)/10)
	}
	go reports(q)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "leave" {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			pool.Close(ctx)
			err := q.Close(ctx)
			cancel()
			if err != nil {
				fmt.Fprintln(os.Stderr, o.Name, err)
			}
			return 0
		}
	}
	return 0
}

// work leases a session, uses it for a time, and so on.
func work(pool *resource.Pool[*session], use time.Duration) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		l, err := pool.Acquire(ctx)
		cancel()
		if err != nil {
			time.Sleep(20 * time.Millisecond) // a worker is no busy loop
			continue
		}
		time.Sleep(use) // the work
		if _, err := l.Value().conn.Write([]byte("u")); err != nil {
			l.Discard(err)
			continue
		}
		l.Release()
	}
}

// reports prints what the quota knows.
func reports(q *fleet.Quota) {
	out := json.NewEncoder(os.Stdout)
	for range time.Tick(50 * time.Millisecond) {
		s := q.Snapshot()
		r := report{Granted: s.Granted, Held: s.Held, Target: s.Target, Holders: s.Holders, Learning: s.Learning, Operations: s.Operations,
			Failed: s.Failed, OverTotal: s.OverTotal, Lost: s.Lost, At: time.Now()}
		if s.LostCause != nil {
			r.Cause = s.LostCause.Error()
		}
		if err := out.Encode(r); err != nil {
			return
		}
	}
}
