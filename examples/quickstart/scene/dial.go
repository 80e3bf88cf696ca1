package scene

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// dialed is the side without a pool: every utterance dials, sends, receives and closes,
// as gorilla/websocket's own examples do.
func dialed(s Server) (Side, error) {
	dialer := &websocket.Dialer{TLSClientConfig: s.TLS}
	var dials, failed atomic.Int64
	say := func(ctx context.Context, u Utterance) ([]byte, error) {
		ws, _, err := dialer.DialContext(ctx, s.URL, nil)
		if err != nil {
			failed.Add(1)
			return nil, err
		}
		dials.Add(1)
		defer ws.Close()
		stop := context.AfterFunc(ctx, func() { ws.Close() })
		defer stop()
		data, err := exchange(ws, u)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return data, err
	}
	stats := func() wspool.Stats {
		return wspool.Stats{Stats: resource.Stats{Made: dials.Load(), Failed: failed.Load()}}
	}
	return Side{Say: say, Stats: stats, Close: func(context.Context) error { return nil }}, nil
}

func exchange(ws *websocket.Conn, u Utterance) ([]byte, error) {
	for _, m := range u.Messages {
		if err := ws.WriteMessage(m.Type, m.Data); err != nil {
			return nil, err
		}
	}
	_, data, err := ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	// The reply has arrived: an error of the closing handshake does not matter.
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
	return data, nil
}
