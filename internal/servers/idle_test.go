package servers

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/respool/respool/wspool"
)

// quiet is what a brand of server does while its clients are idle.
type quiet struct {
	brand
	pongs   bool // it says how many of its pings were answered; else its pings are messages
	goodbye int  // the close code at the end; 0: a message says it
}

// pinging are the servers that ping their clients.
var pinging = map[string]quiet{
	"engine":  {brand: engineIO, goodbye: 1005},
	"socket":  {brand: socketIO}, // an unsolicited message
	"graphql": {brand: graphQL, goodbye: 1001},
	"python":  {brand: pythonWebSockets, pongs: true, goodbye: 1001},
	"aiohttp": {brand: aiohttp, pongs: true, goodbye: 1001},
}

// TestIdle leaves connections alone until the server has pinged each many times,
// whether with frames or with messages of its own protocol: none may die, and each
// must then serve. The pool sees the goodbyes of a server while they are idle.
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
