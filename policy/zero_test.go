package policy_test

import (
	"context"
	"testing"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// A policy that was not created by its function says so: it would admit nothing, or everything, for ever.
func TestZeroPolicies(t *testing.T) {
	for name, use := range map[string]func(){
		"MakeGate":        func() { _, _ = new(policy.MakeGate).Admit(context.Background(), resource.Request{}) },
		"DeadlineLimiter": func() { _, _ = new(policy.DeadlineLimiter).Admit(context.Background(), resource.Request{}) },
		"Limiter":         func() { new(policy.Limiter).Resize(1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a zero %s does not panic", name)
				}
			}()
			use()
		}()
	}
}
