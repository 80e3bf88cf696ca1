package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// An acquire tries every endpoint before it fails, whatever the balancer picks.
func TestTriesAll(t *testing.T) {
	for _, x := range []struct{ all, choices int }{{2, 1}, {12, 0}, {30, 0}} {
		failed := 0
		for range 50 {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t).start("e00:80")
				addrs := []string{"e00:80"}
				for i := 1; i < x.all; i++ {
					addrs = append(addrs, fmt.Sprintf("e%02d:80", i))
				}
				cfg := w.cfg(static(list(addrs...)))
				cfg.Choices = x.choices
				c := open(t, cfg)
				if err := c.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				conn, err := c.Acquire(t.Context())
				if err != nil {
					failed++
					return
				}
				conn.Discard(nil)
			})
		}
		if failed > 0 {
			t.Errorf("%d of 50 acquires failed with %d endpoints, of which one works, and Choices %d", failed, x.all, x.choices)
		}
	}
}

// MaxWait bounds the whole acquire, not each attempt.
func TestMaxWaitOfSeveralAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := w.cfg(static(list("a:80", "b:80", "c:80", "d:80")))
		cfg.Choices = 1
		cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
			return wspool.Config{URL: "ws://" + e.Addr + "/", NetDial: func(context.Context, string, string) (net.Conn, error) {
				time.Sleep(800 * time.Millisecond)
				return nil, errors.New("down")
			}}, nil
		}
		c := open(t, cfg)
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err := c.AcquireWith(t.Context(), resource.Request{MaxWait: time.Second})
		if took := time.Since(began); !errors.Is(err, resource.ErrMaxWait) || took != time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A probe that finds no room says nothing about the endpoint.
func TestProbeWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		cfg := w.cfg(static(list("a:80", "b:80")))
		cfg.MaxTotal, cfg.MaxEach = 2, 1
		cfg.Rebalance.Off = true
		c := open(t, cfg)
		held := []*wspool.Conn{acquire(t, c), acquire(t, c)}
		w.at("a:80").cut()
		synctest.Wait()
		for i, conn := range held {
			if _, _, err := conn.Exchange(t.Context(), websocket.TextMessage, []byte("x")); err != nil {
				conn.Release()
				held[i] = acquire(t, c)
			}
		}
		for range 100 {
			for _, conn := range held {
				if _, _, err := conn.Exchange(t.Context(), websocket.TextMessage, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		if a, _ := state(t, c, "a:80"); a.Failing || a.Ejections > 0 || a.Bad != 1 {
			t.Errorf("%v, %d failures, %d probes", a, a.Bad, a.Probes)
		}
		for _, conn := range held {
			conn.Discard(nil)
		}
	})
}

// Losses of connections that have answered in between are not in a row, though their leases were
// never given back.
func TestLossesOfLongLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		all := list("a:80", "b:80")
		all[1].Priority = 1
		c := open(t, w.cfg(static(all)))
		for range 8 {
			conn := acquire(t, c)
			for range 10 {
				if _, _, err := conn.Exchange(t.Context(), websocket.TextMessage, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			w.at("a:80").cut()
			if _, _, err := conn.ReadMessage(t.Context()); err == nil {
				t.Fatal("not cut")
			}
			conn.Release()
			synctest.Wait()
			if a, _ := state(t, c, "a:80"); a.Ejections > 0 {
				t.Fatalf("%v, ejected %d times", a, a.Ejections)
			}
			time.Sleep(time.Minute)
		}
	})
}

// The latency of an exchange does not include the wait for a connection.
func TestLatencyWithoutWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80")
		w.take = 10 * time.Millisecond
		cfg := w.cfg(static(list("a:80")))
		cfg.MaxTotal = 1
		cfg.Balancer = endpoint.PeakEWMA(endpoint.PeakEWMAConfig{})
		c := open(t, cfg)
		conn := acquire(t, c)
		time.AfterFunc(2*time.Second, conn.Release)
		if _, err := exchange(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if a, _ := state(t, c, "a:80"); a.Latency < 10*time.Millisecond || a.Latency > 100*time.Millisecond {
			t.Errorf("a latency of %v", a.Latency)
		}
	})
}

// Warm dials at endpoints that fail, too, until its context ends.
func TestWarmOfDeadEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		c := open(t, w.cfg(static(list("a:80", "b:80"))))
		for _, addr := range []string{"a:80", "b:80"} {
			w.at(addr).kill()
			for range 20 {
				_, _ = exchange(t.Context(), c)
				time.Sleep(10 * time.Millisecond)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Warm(ctx, 4); err == nil {
			t.Error("no connection exists, and no error says so")
		}
	})
}

// The part of an endpoint that leaves while Warm dials is dialled at the others.
func TestWarmWhileEndpointLeaves(t *testing.T) {
	for _, kind := range []string{"hole", "down"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t).start("a:80", "b:80")
				r := newManual()
				c := open(t, w.cfg(r))
				r.set("a:80", "b:80")
				if kind == "hole" {
					w.at("b:80").hole.Store(true)
				} else {
					w.at("b:80").down.Store(true)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				warmed := make(chan error, 1)
				go func() { warmed <- c.Warm(ctx, 10) }()
				time.Sleep(time.Second)
				r.set("a:80")
				began := time.Now()
				if err := <-warmed; err != nil || time.Since(began) > time.Minute {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if n := connections(c)["a:80"]; n != 10 {
					t.Errorf("%d connections of a, want 10", n)
				}
			})
		})
	}
}
