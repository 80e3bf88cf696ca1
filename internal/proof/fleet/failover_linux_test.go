package fleet

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/internal/redisd"
	"github.com/respool/respool/policy/fleet"
)

// TestFailover: the primary is killed, and Sentinel promotes the replica, to which the last
// claims may not have come. The sessions never exceed the limit.
func TestFailover(t *testing.T) {
	t.Parallel()
	const limit, children = 20, 4
	primary, replica := redisd.Start(t), redisd.Start(t)
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	r := redis.NewClient(&redis.Options{Addr: replica.Addr()})
	defer r.Close()
	if err := r.Do(t.Context(), "replicaof", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	p := redis.NewClient(&redis.Options{Addr: primary.Addr(), ReadTimeout: time.Minute})
	defer p.Close()
	if n, err := p.Do(t.Context(), "wait", 1, 30_000).Int(); err != nil || n != 1 {
		t.Fatalf("%d replicas: %v", n, err)
	}
	sentinel := redisd.Sentinel(t, fmt.Sprintf("sentinel monitor fleet %s %s 1", host, port), "sentinel down-after-milliseconds fleet 1000",
		"sentinel failover-timeout fleet 5000")
	f := &fleetOf{t: t, judge: newJudge(t, limit, silence)}
	f.orders = orders{Engine: sentinel.Addr(), Master: "fleet", Server: f.judge.addr(), Limit: limit, Lease: lease, Margin: margin, Beat: beat,
		Mode: fleet.FailClosed, Close: true, Workers: limit, Use: 40 * time.Millisecond}
	for range children {
		f.start()
	}
	const patience = 90 * time.Second
	full := func() bool { _, n := f.judge.counts(); return n == limit }
	f.await(patience, "the limit is used", full)
	f.judge.note("the primary is killed")
	begun := time.Now()
	primary.Kill()
	f.await(patience, "the children notice", func() bool {
		for _, p := range f.processes {
			if p.report().Lost > 0 {
				return true
			}
		}
		return false
	})
	f.await(patience, "the limit is used again", func() bool {
		for _, p := range f.processes {
			if p.report().Lost > 0 || p.report().Learning {
				return false
			}
		}
		return full()
	})
	t.Logf("%v after the end of the primary the limit is in use again", time.Since(begun).Round(time.Millisecond))
	f.judge.note("the old primary is back")
	primary.Restart() // Sentinel makes it a replica
	f.start()         // one that reaches either
	time.Sleep(lease) // in which an excess would show
	f.await(patience, "the limit is used", full)
	f.judge.verdict()
}
