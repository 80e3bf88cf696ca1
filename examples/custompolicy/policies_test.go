package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// One call tests each policy against the contract of its interface.

func TestTenantsConform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Admission(t, func() resource.Admission { return newTenants(2) },
			resource.Request{Class: "a"}, resource.Request{Class: "b"}, resource.Request{})
	})
}

func TestRolloutConforms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Eviction(t, func() resource.Eviction { return &rollout{} })
	})
}

// ping needs real connections, so this test does not run in a bubble.
func TestPingConforms(t *testing.T) {
	s, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	policytest.Health(t, func() resource.Health[*conn] { return ping{after: time.Millisecond} }, func() *conn {
		c, err := dial(context.Background(), s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	})
}
