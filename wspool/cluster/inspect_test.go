package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
	"github.com/respool/respool/wspool/mux"
)

var _ metrics.Source = (*cluster.Cluster)(nil)

// infoOf returns what Inspect says of an endpoint.
func infoOf(t testing.TB, in resource.Inspection, addr string) resource.EndpointInfo {
	t.Helper()
	for _, e := range in.Endpoints.All {
		if e.Addr == addr {
			return e
		}
	}
	t.Fatalf("%s is not in %+v", addr, in.Endpoints)
	return resource.EndpointInfo{}
}

// Inspect has the state of each endpoint: the shares of those in use, why one is ejected, which are
// standby, and that the resolver fails; and the figures of a mux.Client that shares its connections.
func TestInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).startRPC("a:80", "b:80", "c:80", "d:80", "z:80")
		r := newManual()
		cfg := w.cfg(r)
		cfg.Ejector = endpoint.ConsecutiveFailures(2)
		c := open(t, cfg)
		if in := c.Inspect(0); in.Endpoints == nil || len(in.Endpoints.All) != 0 {
			t.Errorf("before the first answer: %+v", in.Endpoints)
		}
		all := list("a:80", "b:80", "c:80", "d:80", "z:80")
		all[1].Weight, all[1].Zone, all[4].Priority = 3, "west", 1
		r.answers <- endpoint.Update{Endpoints: all, Complete: true}
		m := newMux(t, c, mux.Config{MaxConns: 8, GrowAt: 1, IdleAfter: -1, Name: "rpc"})
		stop := calls(t, m, 40, 0, false)
		time.Sleep(time.Second)
		stop()
		time.Sleep(2 * time.Minute) // slow starts are over

		in := c.Inspect(100)
		e := in.Endpoints
		if e.Panic || e.Priority != 0 || e.Updates != 1 || e.UpdatesFailed != 0 || e.ResolverErr != nil || len(e.All) != 5 {
			t.Errorf("%+v", e)
		}
		held, sum := 0, 0.0
		for _, one := range e.All {
			held += one.Shared
			sum += one.Share
			standby := one.Addr == "z:80"
			if one.Ejected || one.Failing || one.Cause != nil || one.Ranked == standby || (one.Status == "standby") != standby || (one.Status == "healthy") == standby ||
				one.Shared > one.Leased || standby != (one.Share == 0) || one.For < 0 || one.For > 3*time.Minute {
				t.Errorf("%+v", one)
			}
		}
		if b := infoOf(t, in, "b:80"); b.Zone != "west" || b.Share < 0.49 || b.Share > 0.51 || sum < 0.999 || sum > 1.001 {
			t.Errorf("the shares add up to %v, and %+v", sum, b)
		}
		if len(in.Multiplexers) != 1 {
			t.Fatalf("multiplexers: %+v", in.Multiplexers)
		}
		if x := in.Multiplexers[0]; x.Name != "rpc" || x.Held != 8 || held != 8 || len(x.Resources) != 8 || x.Calls == 0 {
			t.Errorf("%d shared, of %+v", held, x)
		}

		settings := make(map[string]string)
		for _, one := range in.Settings {
			if one.Of == "wspool.ManagerConfig" {
				t.Errorf("the manager that the cluster made is shown: %+v", one)
			}
			settings[one.Of+"."+one.Name] = one.Value
			if one.Default {
				settings[one.Of+"."+one.Name] += "*"
			}
		}
		for name, want := range map[string]string{
			"cluster.Config.DrainTimeout": "30s*", "cluster.Config.MaxEjected": "0.3*", "cluster.Config.Rebalance.After": "30s*", "cluster.Config.Balancer": "not set*",
			"wspool.Config.KeepAlive": "15s*",
		} {
			if settings[name] != want {
				t.Errorf("%s is %q, want %q", name, settings[name], want)
			}
		}
		if got := settings["cluster.Config.MaxTotal"]; got == "" || strings.HasSuffix(got, "*") || settings["cluster.Config.Resolver"] == "not set*" {
			t.Errorf("the settings are %v", settings)
		}
		if c.Inspect(0).Settings != nil {
			t.Error("there are settings without lists")
		}

		w.at("a:80").kill()
		r.answers <- endpoint.Update{Err: errors.New("no such host")}
		for range 20 {
			if conn, err := c.Acquire(t.Context()); err == nil {
				conn.Release()
			}
			time.Sleep(500 * time.Millisecond)
		}
		in = c.Inspect(0)
		a := infoOf(t, in, "a:80")
		if !a.Ejected || a.Ranked || a.Share != 0 || a.Cause == nil || a.Ejections == 0 || a.Bad < 2 || a.Status != "ejected" && a.Status != "probing" {
			t.Errorf("%+v", a)
		}
		if err := in.Endpoints.ResolverErr; err == nil || in.Endpoints.UpdatesFailed != 1 || len(in.Endpoints.All) != 5 {
			t.Errorf("the resolver: %v; %+v", err, in.Endpoints)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		calls := in.Multiplexers[0].Calls
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
		if x := c.Inspect(9).Multiplexers; len(x) != 1 || x[0].Calls < calls || x[0].Held != 0 {
			t.Errorf("after Close: %+v", x)
		}
	})
}

// openGate is a gate for dials that lets each begin.
type openGate struct{}

func (openGate) Admit(context.Context, resource.Request) (resource.Done, error) {
	return func(resource.Outcome) {}, nil
}

// MakeGate and Trace are shown as the Config of an endpoint has them, without what the cluster adds, and
// MaxTotal with the value of Resize.
func TestInspect_Settings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			set                       func(cfg *wspool.Config)
			gate, trace               string
			gateDefault, traceDefault bool
		}{
			"not set": {func(*wspool.Config) {}, "not set", "not set", true, true},
			"set": {func(cfg *wspool.Config) {
				cfg.MakeGate = openGate{}
				cfg.Trace = &resource.Trace{Waited: func(context.Context, resource.WaitEvent) {}}
			}, "cluster_test.openGate", "1 function", false, false},
		} {
			w := newWorld(t).start("a:80", "b:80")
			cfg := w.cfg(static(list("a:80", "b:80")))
			of := cfg.Config
			cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
				one, err := of(e)
				c.set(&one)
				return one, err
			}
			one := open(t, cfg)
			acquire(t, one).Release()
			synctest.Wait()
			rows := func() map[string]resource.Setting {
				all := make(map[string]resource.Setting)
				for _, s := range one.Inspect(10).Settings {
					all[s.Of+"."+s.Name] = s
				}
				return all
			}
			got := rows()
			if s := got["wspool.Config.MakeGate"]; s.Value != c.gate || s.Default != c.gateDefault {
				t.Errorf("%s: %+v", name, s)
			}
			if s := got["wspool.Config.Trace"]; s.Value != c.trace || s.Default != c.traceDefault {
				t.Errorf("%s: %+v", name, s)
			}
			if s := got["cluster.Config.MaxTotal"]; s.Value != fmt.Sprint(cfg.MaxTotal) {
				t.Errorf("%s: %+v", name, s)
			}
			if err := one.Resize(7); err != nil {
				t.Fatal(err)
			}
			if s := rows()["cluster.Config.MaxTotal"]; s.Value != fmt.Sprintf("%d, resized to 7", cfg.MaxTotal) || s.Default {
				t.Errorf("%s: after Resize: %+v", name, s)
			}
			if err := one.Resize(cfg.MaxTotal); err != nil {
				t.Fatal(err)
			}
			if s := rows()["cluster.Config.MaxTotal"]; s.Value != fmt.Sprint(cfg.MaxTotal) {
				t.Errorf("%s: after a Resize back: %+v", name, s)
			}
		}
	})
}
