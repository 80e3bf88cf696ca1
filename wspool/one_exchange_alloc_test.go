//go:build linux && !race

package wspool_test

import (
	"context"
	"testing"

	"github.com/gorilla/websocket"
)

// An exchange allocates its reply and two objects more at most.
func TestExchange_Allocations(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for scheme, cfg := range echoProcess(t) {
		t.Run(scheme, func(t *testing.T) {
			pool := pool(t, cfg)
			request := []byte("a request")
			got := testing.AllocsPerRun(500, func() {
				if _, _, err := pool.Exchange(ctx, websocket.TextMessage, request); err != nil {
					t.Fatal(err)
				}
			})
			if got > 3 {
				t.Errorf("%v allocations", got)
			}
		})
	}
}
