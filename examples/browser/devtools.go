package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/devtools"
)

// client is a client of the DevTools of a browser. The commands of all tabs are in flight on
// one connection at once. It is safe for concurrent use.
type client struct {
	pool *wspool.Pool
	mux  *mux.Client

	mu             sync.Mutex
	loads          map[page]chan struct{} // gets a token when the page is complete
	lost           chan struct{}          // closed when the connection has ended; replaced then
	inFlight, most int                    // commands now, and at most
}

// page is what a session, which is that of a tab, loads.
type page struct{ session, loader string }

func newClient(url string) (*client, error) {
	pool, err := wspool.New(wspool.Config{
		URL:       url,
		MaxSize:   1,
		ReadLimit: 64 << 20, // of a screenshot
	})
	if err != nil {
		return nil, err
	}
	c := &client{pool: pool, loads: make(map[page]chan struct{}), lost: make(chan struct{})}
	c.mux, err = mux.New(pool, mux.Config{
		Codec:   devtools.Codec{},
		OnEvent: c.event,
		Trace:   &mux.Trace{Disconnected: c.disconnected},
	})
	if err != nil {
		return nil, errors.Join(err, pool.Close(context.Background()))
	}
	return c, nil
}

type values map[string]any

// call executes a command and stores its result in the value that result points to; nil
// ignores it. session is empty for commands to the browser.
func (c *client) call(ctx context.Context, session, method string, params values, result any) error {
	c.count(1)
	defer c.count(-1)
	return devtools.Call(ctx, c.mux, devtools.Command{Method: method, Params: params, SessionID: session}, result)
}

func (c *client) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight += n
	c.most = max(c.most, c.inFlight)
}

// mostInFlight returns how many commands were in flight at once, at most.
func (c *client) mostInFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

// event is called with the events of all tabs, one after the other.
func (c *client) event(_ context.Context, m mux.Message) error {
	e, err := devtools.ParseEvent(m)
	if err != nil || e.Method != "Page.lifecycleEvent" {
		return err
	}
	var p struct{ LoaderID, Name string }
	if err := json.Unmarshal(e.Params, &p); err != nil {
		return err
	}
	if p.Name == "load" {
		select {
		case c.load(page{e.SessionID, p.LoaderID}) <- struct{}{}:
		default: // it has a token
		}
	}
	return nil
}

// load returns the channel of a page. It makes no difference whether it is called before or after
// the event of the page.
func (c *client) load(p page) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loads[p] == nil {
		c.loads[p] = make(chan struct{}, 1)
	}
	return c.loads[p]
}

// forget deletes what is known of the pages of a session.
func (c *client) forget(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.loads, func(p page, _ chan struct{}) bool { return p.session == session })
}

// disconnected is called when the connection has ended, and with it all sessions.
func (c *client) disconnected(mux.ConnEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.lost)
	c.lost = make(chan struct{})
}

// connection returns a channel that is closed when the connection ends.
func (c *client) connection() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// close waits for commands in flight until ctx ends, and closes the connection.
func (c *client) close(ctx context.Context) error {
	return errors.Join(c.mux.Close(ctx), c.pool.Close(ctx))
}
