package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/respool/respool/wspool"
)

// devtools is a client of the DevTools protocol on one connection: requests and replies have
// ids, with events in between. It is not safe for concurrent use.
type devtools struct {
	conn    *wspool.Conn
	session string // of the tab; "": of the browser
	id      int64  // of the last request
	loaded  map[string]bool
}

type values map[string]any

type request struct {
	ID      int64  `json:"id"`
	Session string `json:"sessionId,omitempty"`
	Method  string `json:"method"`
	Params  values `json:"params,omitempty"`
}

// message is a reply, which has an ID, or an event, which has a Method.
type message struct {
	ID     int64
	Method string
	Params struct{ LoaderID, Name string }
	Result json.RawMessage
	Error  *struct{ Message string }
}

// call sends a request and waits for its reply. result may be nil.
func (d *devtools) call(ctx context.Context, method string, params values, result any) error {
	d.id++
	if err := d.conn.WriteJSON(ctx, request{d.id, d.session, method, params}); err != nil {
		return err
	}
	for {
		m, err := d.next(ctx)
		switch {
		case err != nil:
			return err
		case m.ID != d.id:
			continue // an event, or the reply to an abandoned call
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Result, result)
	}
}

// load waits until the page of the loader is complete.
func (d *devtools) load(ctx context.Context, loader string) error {
	for !d.loaded[loader] {
		if _, err := d.next(ctx); err != nil {
			return err
		}
	}
	clear(d.loaded)
	return nil
}

// next reads one message and records completed pages.
func (d *devtools) next(ctx context.Context) (message, error) {
	var m message
	if err := d.conn.ReadJSON(ctx, &m); err != nil {
		return m, err
	}
	if m.Method == "Page.lifecycleEvent" && m.Params.Name == "load" {
		d.loaded[m.Params.LoaderID] = true
	}
	return m, nil
}
