package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// sockets starts n servers on loopback that send everything back, and returns their addresses.
func sockets(b testing.TB, n int) (addrs []string) {
	for range n {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{}
			ws, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer ws.Close()
			for {
				kind, p, err := ws.ReadMessage()
				if err != nil || ws.WriteMessage(kind, p) != nil {
					return
				}
			}
		}))
		b.Cleanup(s.Close)
		addrs = append(addrs, strings.TrimPrefix(s.URL, "http://"))
	}
	return addrs
}

// BenchmarkAcquire leases a connection that is idle, on sockets: of a pool, and of a cluster of five.
func BenchmarkAcquire(b *testing.B) {
	addrs := sockets(b, 5)
	b.Run("pool", func(b *testing.B) {
		p, err := wspool.New(wspool.Config{URL: "ws://" + addrs[0], MaxSize: 5})
		if err != nil {
			b.Fatal(err)
		}
		defer p.CloseNow()
		p.Warm(b.Context(), 5)
		benchAcquire(b, p.AcquireWith)
	})
	for name, balancer := range map[string]endpoint.Balancer{"P2C": endpoint.P2C(), "RoundRobin": endpoint.RoundRobin()} {
		b.Run("cluster of 5, "+name, func(b *testing.B) {
			c := openSockets(b, addrs, balancer)
			defer c.CloseNow()
			c.Warm(b.Context(), 5)
			benchAcquire(b, c.AcquireWith)
		})
	}
}

// BenchmarkAcquireRatio leases connections of a pool and of a cluster of five in turns, and reports
// how many times as long the cluster takes, by the shortest of the turns of each.
func BenchmarkAcquireRatio(b *testing.B) {
	addrs := sockets(b, 5)
	p, err := wspool.New(wspool.Config{URL: "ws://" + addrs[0], MaxSize: 5})
	if err != nil {
		b.Fatal(err)
	}
	defer p.CloseNow()
	c := openSockets(b, addrs, nil)
	defer c.CloseNow()
	p.Warm(b.Context(), 5)
	c.Warm(b.Context(), 5)
	turn := func(acquire func(context.Context, resource.Request) (*wspool.Conn, error)) time.Duration {
		began := time.Now()
		for range 20 {
			conn, err := acquire(context.Background(), resource.Request{})
			if err != nil {
				b.Fatal(err)
			}
			conn.Release()
		}
		return time.Since(began)
	}
	ofPool, ofCluster := time.Hour, time.Hour
	for b.Loop() {
		ofPool, ofCluster = min(ofPool, turn(p.AcquireWith)), min(ofCluster, turn(c.AcquireWith))
	}
	b.ReportMetric(float64(ofPool.Nanoseconds())/20, "pool-ns")
	b.ReportMetric(float64(ofCluster.Nanoseconds())/20, "cluster-ns")
	b.ReportMetric(float64(ofCluster)/float64(ofPool), "x")
}

// BenchmarkExchange makes one request after the other, on sockets.
func BenchmarkExchange(b *testing.B) {
	addrs := sockets(b, 5)
	request := []byte("x")
	b.Run("pool", func(b *testing.B) {
		p, err := wspool.New(wspool.Config{URL: "ws://" + addrs[0], MaxSize: 5})
		if err != nil {
			b.Fatal(err)
		}
		defer p.CloseNow()
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := p.Exchange(b.Context(), websocket.TextMessage, request); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cluster of 5", func(b *testing.B) {
		c := openSockets(b, addrs, nil)
		defer c.CloseNow()
		c.Warm(b.Context(), 5)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := c.Exchange(b.Context(), websocket.TextMessage, request); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchAcquire(b *testing.B, acquire func(context.Context, resource.Request) (*wspool.Conn, error)) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		c, err := acquire(ctx, resource.Request{})
		if err != nil {
			b.Fatal(err)
		}
		c.Release()
	}
}

func openSockets(b testing.TB, addrs []string, balancer endpoint.Balancer) *cluster.Cluster {
	c, err := cluster.New(cluster.Config{
		Resolver: static(list(addrs...)), Balancer: balancer, MaxTotal: 1000,
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			return wspool.Config{URL: fmt.Sprintf("ws://%s/", e.Addr)}, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}
