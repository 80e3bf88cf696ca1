package cluster_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
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

// settingsOf returns the settings of c by name, with a star if the value is that of the default.
func settingsOf(c *cluster.Cluster) map[string]string {
	all := make(map[string]string)
	for _, s := range c.Inspect(100).Settings {
		all[s.Of+"."+s.Name] = s.Value
		if s.Default {
			all[s.Of+"."+s.Name] += "*"
		}
	}
	return all
}

// What Inspect shows of a wspool.Config is what the user has set, without the hooks of the cluster.
// The Trace is copied.
func TestInspect_Config(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start("a:80", "b:80")
		cfg := w.cfg(endpoint.Static(list("a:80", "b:80")...))
		config := cfg.Config
		trace := &resource.Trace{Panicked: func(error) {}}
		cfg.Config = func(e endpoint.Endpoint) (wspool.Config, error) {
			c, err := config(e)
			c.MakeGate, c.Trace, c.MaxSize = policy.Limit(7), trace, 1000
			return c, err
		}
		c := open(t, cfg)
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn, err := c.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn.Release()
		trace.Leased = func(context.Context, resource.LeaseEvent) {}
		settings := settingsOf(c)
		for name, want := range map[string]string{"MakeGate": "*policy.Limiter", "Trace": "1 function", "MaxSize": strconv.Itoa(cfg.MaxTotal)} {
			if got := settings["wspool.Config."+name]; got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	})
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

		settings := settingsOf(c)
		for name := range settings {
			if strings.HasPrefix(name, "wspool.ManagerConfig") {
				t.Errorf("the manager that the cluster made is shown: %s", name)
			}
		}
		for name, want := range map[string]string{
			"cluster.Config.DrainTimeout": "30s*", "cluster.Config.MaxEjected": "0.3*", "cluster.Config.Rebalance.After": "30s*", "cluster.Config.Balancer": "not set*",
			"wspool.Config.KeepAlive": "15s*", "wspool.Config.MakeGate": "not set*", "wspool.Config.Trace": "not set*",
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

		if err := c.Resize(41); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first changes nothing that the second shows
			if got, want := settingsOf(c)["cluster.Config.MaxTotal"], strconv.Itoa(cfg.MaxTotal)+", resized to 41"; got != want {
				t.Errorf("MaxTotal is %q, want %q", got, want)
			}
		}
		if err := c.Resize(cfg.MaxTotal); err != nil {
			t.Fatal(err)
		}
		if got := settingsOf(c)["cluster.Config.MaxTotal"]; got != strconv.Itoa(cfg.MaxTotal) {
			t.Errorf("MaxTotal is %q", got)
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
