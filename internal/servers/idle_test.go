package servers

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/respool/respool/wspool"
)

// quiet is the behavior of a brand of server while its clients are idle.
type quiet struct {
	brand
	pongs   bool // it reports how many of its pings were answered; otherwise its pings are messages
	goodbye int  // close code at the end; 0: it sends a message
}

// pinging are the servers that ping their clients.
var pinging = map[string]quiet{
	"engine":  {brand: engineIO, goodbye: 1005},
	"socket":  {brand: socketIO}, // pings with an unsolicited message
	"graphql": {brand: graphQL, goodbye: 1001},
	"python":  {brand: pythonWebSockets, pongs: true, goodbye: 1001},
	"aiohttp": {brand: aiohttp, pongs: true, goodbye: 1001},
}

// TestIdle keeps connections idle until the server has pinged each many times, with ping
// frames or with messages of its protocol: none may be closed, and each must then serve.
// The pool sees a close frame of the server on an idle connection.
func TestIdle(t *testing.T) {
	t.Parallel()
	for name, q := range pinging {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q.play(t)
		})
	}
}

func (q quiet) play(t *testing.T) {
	const conns, pings = 4, 8
	s := q.start(t, "127.0.0.1:0")
	cfg := wspool.Config{URL: "ws://" + s.address() + "/", MaxSize: conns, KeepAlive: -1}
	if q.reach != nil {
		q.reach(&cfg)
	}
	var heard atomic.Int64
	if answer := cfg.OnUnsolicited; answer != nil {
		cfg.OnUnsolicited = func(ctx context.Context, m wspool.Message) (*wspool.Message, error) {
			heard.Add(1)
			return answer(ctx, m)
		}
	}
	answered := heard.Load
	if q.pongs {
		answered = func() int64 { return int64(s.(*process).pongs(t)) }
	}
	pool := newPool(t, cfg)
	full := func(ctx context.Context) error { return pool.Warm(ctx, conns) }
	succeed(t, full)
	until(t, "the server does not ping", func() bool { return answered() >= conns*pings })
	if s := pool.Stats(); s.Made != conns || s.Destroyed != 0 {
		t.Errorf("after %d pings: %v", answered(), s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []*wspool.Conn
	for id := range int64(conns) {
		c := acquire(t, pool)
		all = append(all, c)
		if err := q.ask(ctx, c, id); err != nil {
			t.Error(err)
		}
	}
	if s := pool.Stats(); s.Made != conns {
		t.Errorf("with all leased: %v", s)
	}
	for _, c := range all {
		c.Release()
	}
	if s := pool.Stats(); s.Made != conns {
		t.Errorf("a ping behind a reply has cost a connection: %v", s)
	}
	s.end(t, drain)
	until(t, "the end of the server is not seen", func() bool { return pool.Stats().Idle == 0 })
	closePool(t, pool)
	want := map[int]int64{}
	if q.goodbye != 0 {
		want[q.goodbye] = conns
	}
	if closed := pool.Stats().Closed; !maps.Equal(closed, want) {
		t.Errorf("connections ended with %v, want %v", closed, want)
	}
}
