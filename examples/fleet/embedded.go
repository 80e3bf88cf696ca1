package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/alicebob/miniredis/v2"
)

// embedded starts a Redis-compatible server in this process. It forgets by being replaced by
// another, at another address.
func embedded() (*backend, error) {
	var mu sync.Mutex
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		return nil, fmt.Errorf("start the embedded engine: %w", err)
	}
	return &backend{
		kind: kindRedis, what: "an embedded Redis (miniredis)",
		target: func() string {
			mu.Lock()
			defer mu.Unlock()
			return m.Addr()
		},
		through: func(relay string) string { return relay },
		forget: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			next := miniredis.NewMiniRedis()
			if err := next.Start(); err != nil {
				return err
			}
			m.Close()
			m = next
			return nil
		},
		close: func() {
			mu.Lock()
			defer mu.Unlock()
			m.Close()
		},
	}, nil
}
