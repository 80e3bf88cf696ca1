// Quickstart plays one scene twice on a bare machine: many clients stream audio
// to an inference server over WebSocket at once, through a pool of connections
// and with a dial per utterance. Run it from the root of the repository with
//
//	go run ./examples/quickstart
//
// and with -h for its flags. Package scene has the server, the clients and the
// table; everything about the pool is here.
package main

import (
	"context"
	"os"

	"github.com/respool/respool/examples/quickstart/scene"
	"github.com/respool/respool/wspool"
)

func main() { os.Exit(scene.Main(pooled)) }

// pooled opens a pool and defines how a client sends one utterance through it.
func pooled(s scene.Server) (scene.Side, error) {
	pool, err := wspool.New(wspool.Config{
		URL: s.URL, TLS: s.TLS, MaxSize: s.Size, Admission: s.Admission, Trace: s.Meter.Trace(nil),
	})
	if err != nil {
		return scene.Side{}, err
	}
	if err := s.Meter.Watch(pool); err != nil { // -live shows it
		return scene.Side{}, err
	}
	say := func(ctx context.Context, u scene.Utterance) (reply []byte, err error) {
		conn, err := pool.Acquire(ctx) // idle, released by another client, or newly dialed: whichever is first
		if err != nil {
			return nil, err
		}
		defer func() { conn.Fail(err) }() // nil: back to the pool; an error: closed
		for _, m := range u.Messages {
			if err := conn.WriteMessage(ctx, m.Type, m.Data); err != nil {
				return nil, err
			}
		}
		_, reply, err = conn.ReadMessage(ctx)
		return reply, err
	}
	warm := func(ctx context.Context) error { return pool.Warm(ctx, s.Size) } // as a program does when it starts
	return scene.Side{Warm: warm, Say: say, Stats: pool.Stats, Close: pool.Close}, nil
}
