package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/resource"
)

// fixedList is a resolver that gives one answer.
type fixedList []endpoint.Endpoint

func (l fixedList) Watch(ctx context.Context, f func(endpoint.Update)) error {
	f(endpoint.Update{Endpoints: l, Complete: true})
	<-ctx.Done()
	return ctx.Err()
}

// echoServer accepts connections and returns what they send. close ends it and its connections.
func echoServer() (addr string, close func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	closed := false
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			if closed { // it was accepted just before
				_ = c.Close()
			}
			mu.Unlock()
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	return l.Addr().String(), func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		closed = true
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// A pool of TCP connections to three servers, one of which is killed. Its calls are repeated
// elsewhere, and it gets a smaller share or none.
func Example() {
	ctx := context.Background()
	var list fixedList
	var kill []func()
	for i := range 3 {
		addr, stop := echoServer()
		defer stop()
		list = append(list, endpoint.Endpoint{Addr: addr, Zone: fmt.Sprint("zone ", i+1)})
		kill = append(kill, stop)
	}

	pools, err := resource.NewKeyed(resource.KeyedConfig[string, net.Conn]{
		MaxTotal: 30,
		Config: func(addr string) (resource.Config[net.Conn], error) {
			return resource.Config[net.Conn]{
				MaxSize: 10,
				Make: func(ctx context.Context) (net.Conn, error) {
					var d net.Dialer
					return d.DialContext(ctx, "tcp", addr)
				},
				Destroy: func(c net.Conn, _ error) { _ = c.Close() },
			}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pools.Close(ctx)

	set, err := endpoint.NewSet(endpoint.SetConfig{
		Resolver: list,
		// A connection that can be made shows that the endpoint works again.
		Probe: func(ctx context.Context, addr string) error {
			pool, err := pools.Pool(addr)
			if err != nil {
				return err
			}
			// A new connection: one that is idle may be dead.
			if err := pool.MakeOne(ctx); !errors.Is(err, resource.ErrFull) {
				return err
			}
			return nil // all that the pool may have are there
		},
		// What is left of an endpoint that the resolver no longer lists is drained.
		OnLeave: func(ctx context.Context, addr string) { _ = pools.Drain(ctx, addr) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close(ctx)
	if err := set.Ready(ctx); err != nil {
		log.Fatal(err)
	}

	// echo sends one message to the best endpoint, or to the next one if that fails.
	echo := func(message string) (err error) {
		for _, addr := range set.Rank(nil, "") {
			use := set.Begin(addr)
			err = pools.Do(ctx, addr, func(_ context.Context, c net.Conn) error {
				reply := make([]byte, len(message))
				if _, err := c.Write([]byte(message)); err != nil {
					return err
				}
				_, err := io.ReadFull(c, reply)
				return err
			})
			switch {
			case err == nil:
				use.End(endpoint.Evidence{Kind: endpoint.Success})
				return nil
			case ctx.Err() != nil: // the caller's own context says nothing of the endpoint
				use.End(endpoint.Evidence{Kind: endpoint.Unanswered})
				return err
			default:
				use.End(endpoint.Evidence{Kind: endpoint.CallFailed, Err: err})
			}
		}
		return err
	}

	failed := 0
	for i := range 300 {
		if i == 100 {
			kill[0]()
		}
		if echo("hello") != nil {
			failed++
		}
	}
	fmt.Println("failed:", failed)
	states := set.Snapshot().Endpoints
	slices.SortFunc(states, func(a, b endpoint.State) int { return strings.Compare(a.Endpoint.Zone, b.Endpoint.Zone) })
	for _, s := range states {
		fmt.Println(s.Endpoint.Zone, "its whole share:", s.Share == 1)
	}
	// Output:
	// failed: 0
	// zone 1 its whole share: false
	// zone 2 its whole share: true
	// zone 3 its whole share: true
}

// Two random choices avoid the endpoint that is busy.
func ExampleP2C() {
	c := []endpoint.Candidate{
		endpoint.NewCandidate(endpoint.Endpoint{Addr: "busy:1"}, endpoint.Facts{Load: 9}),
		endpoint.NewCandidate(endpoint.Endpoint{Addr: "idle:1"}, endpoint.Facts{Load: 2}),
	}
	fmt.Println(c[endpoint.P2C().Pick(c, "")].Addr)
	// Output: idle:1
}

// An endpoint with twice the weight bears twice the load.
func ExampleLeastLoaded() {
	c := []endpoint.Candidate{
		endpoint.NewCandidate(endpoint.Endpoint{Addr: "large:1", Weight: 2}, endpoint.Facts{Load: 8}),
		endpoint.NewCandidate(endpoint.Endpoint{Addr: "small:1"}, endpoint.Facts{Load: 6}),
	}
	fmt.Println(c[endpoint.LeastLoaded().Pick(c, "")].Addr)
	// Output: large:1
}

// The picks of the heavier endpoint are spread evenly.
func ExampleRoundRobin() {
	b := endpoint.RoundRobin()
	c := []endpoint.Candidate{
		endpoint.NewCandidate(endpoint.Endpoint{Addr: "a", Weight: 2}, endpoint.Facts{}),
		endpoint.NewCandidate(endpoint.Endpoint{Addr: "b", Weight: 1}, endpoint.Facts{}),
	}
	for range 9 {
		fmt.Print(c[b.Pick(c, "")].Addr, " ")
	}
	// Output: a a b a a b a a b
}

// Latency and load together decide: one that answers in 5 ms is picked before one that answers in
// 50 ms, until it has ten times the load.
func ExamplePeakEWMA() {
	b := endpoint.PeakEWMA(endpoint.PeakEWMAConfig{})
	for _, load := range []int{5, 15} {
		c := []endpoint.Candidate{
			endpoint.NewCandidate(endpoint.Endpoint{Addr: "fast:1"}, endpoint.Facts{Load: load, Latency: 5 * time.Millisecond}),
			endpoint.NewCandidate(endpoint.Endpoint{Addr: "slow:1"}, endpoint.Facts{Load: 0, Latency: 50 * time.Millisecond}),
		}
		fmt.Println(load, c[b.Pick(c, "")].Addr)
	}
	// Output:
	// 5 fast:1
	// 15 slow:1
}

// A key stays where it is while its endpoint is there.
func ExampleRendezvous() {
	b := endpoint.Rendezvous()
	var c []endpoint.Candidate
	for _, addr := range []string{"a", "b", "c", "d"} {
		c = append(c, endpoint.NewCandidate(endpoint.Endpoint{Addr: addr}, endpoint.Facts{}))
	}
	without := slices.DeleteFunc(slices.Clone(c), func(c endpoint.Candidate) bool { return c.Addr == "b" })
	moved := 0
	for i := range 1000 {
		key := fmt.Sprint("session-", i)
		before, after := c[b.Pick(c, key)].Addr, without[b.Pick(without, key)].Addr
		if before != "b" && before != after {
			moved++
		}
	}
	fmt.Println("sessions of others that moved:", moved)
	// Output: sessions of others that moved: 0
}

// The own zone is preferred, until its endpoints have more than 1.5 times the load of others.
func ExampleZone() {
	b := endpoint.Zone("eu", 1.5, endpoint.P2C())
	for _, load := range []int{10, 30} {
		c := []endpoint.Candidate{
			endpoint.NewCandidate(endpoint.Endpoint{Addr: "near:1", Zone: "eu"}, endpoint.Facts{Load: load}),
			endpoint.NewCandidate(endpoint.Endpoint{Addr: "far:1", Zone: "us"}, endpoint.Facts{Load: 10}),
		}
		fmt.Println(load, c[b.Pick(c, "")].Addr)
	}
	// Output:
	// 10 near:1
	// 30 far:1
}
