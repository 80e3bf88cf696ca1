package wspool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// reclaimer is a Pool, or a Manager with one key.
type reclaimer interface {
	Inspect(limit int) resource.Inspection
	Reclaim(id, lease uint64) bool
	Close(ctx context.Context) error
}

// A leaked Conn that is still reachable is reclaimed by the numbers that Inspect shows. The
// slot becomes free, and every call of the holder returns ErrReleased, a read that runs
// included.
func TestReclaimLease(t *testing.T) {
	for _, managed := range []bool{false, true} {
		for _, reading := range []string{"", "message", "part"} {
			bubble(t, func(t *testing.T) { reclaimLease(t, managed, reading) })
		}
	}
}

func reclaimLease(t *testing.T, managed bool, reading string) {
	peer := listenMem(t, 64<<10, func(ws *websocket.Conn) {
		for {
			_, m, err := ws.ReadMessage()
			if err != nil {
				return
			}
			switch string(m) {
			case "part":
				ws.NetConn().Write(frame(websocket.TextMessage, "an answer")[:5])
			case "question":
				ws.WriteMessage(websocket.TextMessage, m)
			}
		}
	})
	peer.cfg.MaxSize, peer.cfg.KeepAlive = 1, -1
	gone := ends(&peer.cfg)
	var from reclaimer
	var borrow func(ctx context.Context) (*wspool.Conn, error)
	if managed {
		m, err := wspool.NewManager(wspool.ManagerConfig[string]{
			Config: func(string) (wspool.Config, error) { return peer.cfg, nil }, MaxTotal: 4,
		})
		if err != nil {
			t.Fatal(err)
		}
		other, err := m.Acquire(t.Context(), "other")
		if err != nil {
			t.Fatal(err)
		}
		other.Release()
		from, borrow = m, func(ctx context.Context) (*wspool.Conn, error) { return m.Acquire(ctx, "leaky") }
	} else {
		p := pool(t, peer.cfg)
		from, borrow = p, p.Acquire
	}
	leaked, err := borrow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leased := func() resource.ResourceInfo {
		for _, r := range from.Inspect(10).Resources {
			if r.State == resource.Leased {
				return r
			}
		}
		t.Fatalf("nothing is leased: %+v", from.Inspect(10))
		panic("unreachable")
	}
	failed := make(chan error, 1)
	if reading == "" {
		failed <- wspool.ErrReleased
	} else {
		write(t, leaked, reading)
		go func() {
			_, _, err := leaked.ReadMessage(context.Background())
			failed <- err
		}()
	}
	if row := leased(); from.Reclaim(row.ID, row.Lease) {
		t.Error("reclaimed a lease that has just begun")
	}
	time.Sleep(time.Minute)
	row := leased()
	if from.Reclaim(row.ID, row.Lease+1) || from.Reclaim(row.ID+100, row.Lease) {
		t.Error("reclaimed another lease")
	}
	began := time.Now()
	if !from.Reclaim(row.ID, row.Lease) {
		t.Fatal("not reclaimed")
	}
	if err := <-failed; !errors.Is(err, wspool.ErrReleased) {
		t.Errorf("ReadMessage that ran: %v", err)
	}
	if e := next(t, "end", gone); !errors.Is(e.Cause, resource.ErrReclaimed) {
		t.Errorf("destroyed with %v", e.Cause)
	}
	if took := time.Since(began); took > 2*wspool.DefaultCloseTimeout {
		t.Errorf("the slot was free after %v", took)
	}
	if err := leaked.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrReleased) {
		t.Errorf("WriteMessage: %v", err)
	}
	c, err := borrow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaked.Release() // does nothing
	if from.Reclaim(row.ID, row.Lease) {
		t.Error("reclaimed twice")
	}
	ask(t, c, "question")
	c.Release()
	synctest.Wait()
	if err := from.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}
