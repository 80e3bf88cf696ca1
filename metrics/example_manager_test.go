package metrics_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/wspool"
)

// meters are a Meter for each key. A key that was forgotten and is used again has
// the meter that it had, so that its counters go on. Have one for each key only
// where the keys are few: each is a set of time series. Else make one for the whole
// Manager, which is a Source too.
type meters struct {
	mu  sync.Mutex
	all map[string]*metrics.Meter
}

// of returns the meter of key, which watches src.
func (m *meters) of(key string, src metrics.Source) (*metrics.Meter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if meter := m.all[key]; meter != nil {
		return meter, nil
	}
	meter, err := metrics.New("gateway/"+key, metrics.Config{Overdue: time.Minute})
	if err != nil {
		return nil, err
	}
	if err := meter.Watch(src); err != nil {
		return nil, err
	}
	m.all[key] = meter
	return meter, nil
}

func (m *meters) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, meter := range m.all {
		meter.Close()
	}
}

// A Meter for each key of a Manager: it is made in the Config of the key, and
// watches the View of the key, which needs no pool yet.
func ExampleMeter_Watch_manager() {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()

	each := &meters{all: make(map[string]*metrics.Meter)}
	defer each.close()
	var manager *wspool.Manager[string]
	manager, err := wspool.NewManager(wspool.ManagerConfig[string]{
		Config: func(key string) (wspool.Config, error) {
			meter, err := each.of(key, manager.View(key))
			if err != nil {
				return wspool.Config{}, err
			}
			url := "ws" + strings.TrimPrefix(server.URL, "http") + "/" + key
			return wspool.Config{URL: url, MaxSize: 4, Trace: meter.Trace(nil)}, nil
		},
		MaxTotal: 8,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer manager.Close(ctx)

	for _, key := range []string{"eu", "us", "us"} {
		err := manager.Do(ctx, key, func(ctx context.Context, c *wspool.Conn) error {
			if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("hello")); err != nil {
				return err
			}
			_, _, err := c.ReadMessage(ctx)
			return err
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	for _, key := range []string{"eu", "us"} {
		s := each.all[key].Snapshot(0)
		fmt.Printf("%s: %d leases on %d connections\n", s.Name, s.Acquired, s.Made)
	}
	// Output:
	// gateway/eu: 1 leases on 1 connections
	// gateway/us: 2 leases on 1 connections
}

// echo answers each message with itself.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, data, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, data) != nil {
			return
		}
	}
}
