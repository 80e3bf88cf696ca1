package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/chromedp"
	ethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
	"github.com/sourcegraph/jsonrpc2"
	jsonrpc2ws "github.com/sourcegraph/jsonrpc2/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// The known defects of clients that share a connection are replayed on mux, on peers that are Go
// modules, and on a client written with the defects that none of those has. The table says which
// clients have a defect: a case that no client fails would check nothing.

// rpcClient is a JSON-RPC client on one WebSocket.
type rpcClient struct {
	call    func(ctx context.Context, method string, params []any, result any) error
	pending func() int // calls that it keeps although their callers have gone; nil: it cannot be known
}

// rpcOptions are what a case needs of a client.
type rpcOptions struct {
	wrap func(net.Conn) net.Conn // of each connection; nil: none
	deaf bool                    // the handler of the server's notifications blocks until the test ends
}

// dial is the NetDial of o.
func (o rpcOptions) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil && o.wrap != nil {
		c = o.wrap(c)
	}
	return c, err
}

type rpcKind struct {
	name  string
	open  func(t *testing.T, url string, o rpcOptions) rpcClient
	cases []string // that are replayed; nil: all
}

const (
	oursName     = "mux"
	gethName     = "go-ethereum"
	jsonrpc2Name = "sourcegraph/jsonrpc2"
	chromedpName = "chromedp"
	naiveName    = "naive"
)

var rpcKinds = []rpcKind{
	{name: oursName, open: openOurs},
	{name: gethName, open: openGeth},
	{name: jsonrpc2Name, open: openJSONRPC2},
	{name: chromedpName, open: openChromedp, cases: []string{"late answer", "death in flight", "lost write"}},
	{name: naiveName, open: openNaive},
}

func openOurs(t *testing.T, url string, o rpcOptions) rpcClient {
	cfg := mux.Config{Codec: jsonrpc.Codec{}, DrainWait: time.Second}
	if o.deaf {
		cfg.OnEvent = func(ctx context.Context, _ mux.Message) error { <-ctx.Done(); return nil }
	}
	p := newPool(t, wspool.Config{URL: url, MaxSize: 4, NetDial: o.dial})
	c, err := mux.New(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // calls of a server that does not answer are not waited for
		c.Close(ctx)
		until(t, "the client does not end", func() bool { s := c.Stats(); return s.InFlight+s.Waiting+len(s.Conns) == 0 })
	})
	return rpcClient{
		call: func(ctx context.Context, method string, params []any, result any) error {
			return jsonrpc.Call(ctx, c, method, params, result)
		},
		pending: func() int { s := c.Stats(); return s.InFlight + s.Orphans },
	}
}

func openGeth(t *testing.T, url string, o rpcOptions) rpcClient {
	c, err := ethrpc.DialOptions(t.Context(), url, ethrpc.WithWebsocketDialer(websocket.Dialer{NetDialContext: o.dial}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if o.deaf {
		if _, err := c.EthSubscribe(t.Context(), make(chan json.RawMessage), "ticks"); err != nil {
			t.Fatal(err)
		}
	}
	return rpcClient{call: func(ctx context.Context, method string, params []any, result any) error {
		return c.CallContext(ctx, result, method, params...)
	}}
}

// ignorant is jsonrpc2's handler of notifications. It ignores them, and returns when until is
// closed; nil: at once.
type ignorant struct{ until <-chan struct{} }

func (h ignorant) Handle(context.Context, *jsonrpc2.Conn, *jsonrpc2.Request) {
	if h.until != nil {
		<-h.until
	}
}

func openJSONRPC2(t *testing.T, url string, o rpcOptions) rpcClient {
	d := websocket.Dialer{NetDialContext: o.dial}
	ws, _, err := d.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	var h ignorant
	if o.deaf {
		h.until = t.Context().Done()
	}
	c := jsonrpc2.NewConn(context.Background(), jsonrpc2ws.NewObjectStream(ws), h, jsonrpc2.SetLogger(log.New(io.Discard, "", 0)))
	t.Cleanup(func() { c.Close() })
	return rpcClient{
		call: func(ctx context.Context, method string, params []any, result any) error {
			return c.Call(ctx, method, params, result)
		},
		pending: func() int { // nothing changes it meanwhile
			return reflect.ValueOf(c).Elem().FieldByName("pending").Len()
		},
	}
}

// openChromedp opens the part of chromedp that shares the connection to a browser.
func openChromedp(t *testing.T, url string, o rpcOptions) rpcClient {
	d := websocket.Dialer{NetDialContext: o.dial}
	ws, _, err := d.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b, err := chromedp.NewBrowserTransport(ctx, cdpConn{ws}, chromedp.WithBrowserErrorf(func(string, ...any) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		ws.Close()
		<-b.LostConnection
	})
	return rpcClient{call: func(ctx context.Context, method string, params []any, result any) error {
		return b.Call(ctx, method, params, result)
	}}
}

// cdpConn is chromedp's connection.
type cdpConn struct{ *websocket.Conn }

func (d cdpConn) Read(_ context.Context, m *cdproto.Message) error {
	var got struct {
		ID     int64
		Result json.RawMessage
	}
	err := d.ReadJSON(&got)
	m.ID, m.Result = got.ID, []byte(got.Result)
	return err
}

func (d cdpConn) Write(_ context.Context, m *cdproto.Message) error {
	return d.WriteJSON(map[string]any{"id": m.ID, "method": m.Method, "params": json.RawMessage(m.Params)})
}

// naive is a client with the defects of several published ones: it uses the id of a call that was
// given up for the next call, ids do not fit into a float64, calls are not told of the connection's
// end, and a write heeds no context.
type naive struct {
	ws      *websocket.Conn
	writing sync.Mutex

	mu      sync.Mutex
	waiting map[uint64]chan json.RawMessage
}

func openNaive(t *testing.T, url string, o rpcOptions) rpcClient {
	d := websocket.Dialer{NetDialContext: o.dial}
	ws, _, err := d.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &naive{ws: ws, waiting: map[uint64]chan json.RawMessage{}}
	ended := make(chan struct{})
	go func() { defer close(ended); c.read() }()
	t.Cleanup(func() { ws.Close(); <-ended })
	return rpcClient{call: c.call, pending: func() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.waiting) }}
}

func (c *naive) call(ctx context.Context, method string, params []any, result any) error {
	got := make(chan json.RawMessage, 1)
	c.mu.Lock()
	id := uint64(1<<53 + 1)
	for c.waiting[id] != nil {
		id++
	}
	c.waiting[id] = got
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}()
	c.writing.Lock()
	err := c.ws.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	c.writing.Unlock()
	if err != nil {
		return err
	}
	select {
	case reply := <-got:
		if result == nil {
			return nil
		}
		return json.Unmarshal(reply, result)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *naive) read() {
	for {
		_, p, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		var reply struct {
			ID     uint64
			Result json.RawMessage
		}
		if json.Unmarshal(p, &reply) != nil {
			continue
		}
		c.mu.Lock()
		if got := c.waiting[reply.ID]; got != nil {
			select {
			case got <- reply.Result:
			default: // it was answered before
			}
		}
		c.mu.Unlock()
	}
}

// rpcCall is a call as the server gets it.
type rpcCall struct {
	ID     json.RawMessage
	Method string
	Params []json.RawMessage
}

// text is the first parameter.
func (c rpcCall) text() (s string) {
	if len(c.Params) > 0 {
		json.Unmarshal(c.Params[0], &s)
	}
	return s
}

// rpcServer calls handle for each call, on one goroutine for each connection.
func rpcServer(t *testing.T, handle func(ws *websocket.Conn, c rpcCall)) string {
	p := &peer{handle: func(ws *websocket.Conn) {
		for {
			var c rpcCall
			if ws.ReadJSON(&c) != nil {
				return
			}
			handle(ws, c)
		}
	}}
	return p.listen(t)
}

// say answers with the id, as it is.
func say(ws *websocket.Conn, id, result string) {
	ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%q}`, id, result)) // the client may have gone
}

// soon is for how long a client with a defect is watched before its call counts as hanging.
const soon = 2 * time.Second

// returns reports whether f returns within d. Otherwise f goes on in the background.
func returns(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// A defect is one case. replay returns what went wrong, nil if holds is true of the client. No call
// is to wait longer than patience.
type defect struct {
	name, issue, holds string   // holds is the sentence that must hold
	peers              []string // that have it
	replay             func(t *testing.T, k rpcKind, patience time.Duration) error
}

var errNotKnown = errors.New("cannot be known")

var muxDefects = []defect{
	{name: "late answer", issue: "cassandra-python#1114", holds: "A reply to a call that was given up is never another call's.", peers: []string{naiveName},
		replay: func(t *testing.T, k rpcKind, _ time.Duration) error {
			var late []string // ids of calls that were given up
			holding := make(chan struct{}, 1)
			c := k.open(t, rpcServer(t, func(ws *websocket.Conn, c rpcCall) {
				if c.Method == "hold" {
					late = append(late, string(c.ID))
					holding <- struct{}{}
					return
				}
				for _, id := range late { // between the call and its reply
					say(ws, id, "late")
				}
				late = nil
				say(ws, string(c.ID), c.text())
			}), rpcOptions{})
			for i := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				go func() { <-holding; cancel() }()
				if err := c.call(ctx, "hold", nil, nil); err == nil {
					return errors.New("a call that was given up has a reply")
				}
				var got string
				if err := c.call(t.Context(), "say", []any{fmt.Sprint(i)}, &got); err != nil || got != fmt.Sprint(i) {
					return fmt.Errorf("call %d got %q, %v", i, got, err)
				}
			}
			return nil
		}},
	{name: "deaf server", issue: "found in the code of sourcegraph/jsonrpc2", holds: "A call returns when its context ends, although the server does not read.", peers: []string{jsonrpc2Name, naiveName},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			stop := make(chan struct{})
			p := &peer{handle: func(*websocket.Conn) { <-stop }}
			url := p.listen(t)
			t.Cleanup(func() { close(stop) })
			c := k.open(t, url, rpcOptions{})
			long := []any{strings.Repeat("x", 1<<20)}
			for i := range 16 { // more than the buffers of the system take
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				in := returns(patience, func() { c.call(ctx, "say", long, nil) })
				cancel()
				if !in {
					return fmt.Errorf("call %d hangs, %v after its context ended", i, patience)
				}
			}
			return nil
		}},
	{name: "sent again", issue: "found in the code of go-ethereum", holds: "A call whose write failed is not sent again: it may have run.", peers: []string{gethName},
		replay: func(t *testing.T, k rpcKind, _ time.Duration) error {
			var ran atomic.Int64
			once := make(chan struct{})
			broken := &breaking{}
			c := k.open(t, rpcServer(t, func(ws *websocket.Conn, c rpcCall) {
				if c.Method == "pay" && ran.Add(1) == 1 {
					close(once)
					return // the reply would be taken, though the write failed
				}
				say(ws, string(c.ID), "done")
			}), rpcOptions{wrap: broken.wrap})
			if err := c.call(t.Context(), "say", nil, nil); err != nil {
				return err
			}
			broken.now.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := c.call(ctx, "pay", nil, nil)
			<-once
			if n := ran.Load(); n != 1 {
				return fmt.Errorf("it ran %d times", n)
			}
			if k.name == oursName {
				fated(t, err, mux.ErrMayHaveRun, errBroken)
			}
			return nil
		}},
	{name: "lost write", issue: "found in the code of chromedp", holds: "A call whose write failed returns.", peers: []string{chromedpName},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			var got atomic.Int64
			broken := &breaking{}
			c := k.open(t, rpcServer(t, func(ws *websocket.Conn, c rpcCall) {
				if c.Method == "say" || got.Add(1) > 1 {
					say(ws, string(c.ID), "done")
				}
			}), rpcOptions{wrap: broken.wrap})
			if err := c.call(t.Context(), "say", nil, nil); err != nil {
				return err
			}
			broken.now.Store(true)
			if !returns(patience, func() { c.call(t.Context(), "pay", nil, nil) }) {
				return errors.New("the call hangs")
			}
			return nil
		}},
	{name: "death in flight", issue: "chromedp#289, chromedp#1529", holds: "Calls in flight fail when the connection dies.", peers: []string{naiveName},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			const n = 100
			seen := 0
			c := k.open(t, rpcServer(t, func(ws *websocket.Conn, _ rpcCall) {
				if seen++; seen == n {
					ws.NetConn().Close()
				}
			}), rpcOptions{})
			var all sync.WaitGroup
			var answered atomic.Int64
			for range n {
				all.Go(func() {
					if c.call(t.Context(), "hold", nil, nil) == nil {
						answered.Add(1)
					}
				})
			}
			if !returns(patience, all.Wait) || answered.Load() > 0 {
				return fmt.Errorf("the callers hang, or %d got a reply", answered.Load())
			}
			return nil
		}},
	{name: "abandoned calls", issue: "found in the code of sourcegraph/jsonrpc2", holds: "Calls that were given up are forgotten.", peers: []string{jsonrpc2Name},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			const callers, each, allowed = 20, 1000, mux.DefaultMaxOrphans
			c := k.open(t, rpcServer(t, func(*websocket.Conn, rpcCall) {}), rpcOptions{})
			if c.pending == nil {
				return errNotKnown
			}
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for range each {
						ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
						c.call(ctx, "hold", nil, nil)
						cancel()
					}
				})
			}
			all.Wait()
			// A connection with too many of them is replaced first, and closed then.
			for by := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // between looks
				n := c.pending()
				switch {
				case n <= allowed:
					return nil
				case time.Now().After(by):
					return fmt.Errorf("%d of %d calls are kept", n, callers*each)
				}
			}
		}},
	{name: "slow subscriber", issue: "jsonrpsee#143", holds: "Notifications that are not taken do not keep replies back.", peers: []string{jsonrpc2Name},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			c := k.open(t, rpcServer(t, func(ws *websocket.Conn, c rpcCall) {
				if c.Method == "flood" {
					for range 3 * mux.DefaultEventBuffer / 2 {
						ws.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":1}}`))
					}
				}
				say(ws, string(c.ID), "0x1")
			}), rpcOptions{deaf: true})
			if !returns(patience, func() { c.call(t.Context(), "flood", nil, nil) }) {
				return errors.New("the call hangs")
			}
			return nil
		}},
	{name: "rounded ids", issue: "go-ethlibs#111", holds: "A server that reads ids as floating point answers every call.", peers: []string{naiveName},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			return answeredAs(t, k, patience, func(id string) string {
				var f float64
				json.Unmarshal([]byte(id), &f)
				b, _ := json.Marshal(f)
				return string(b)
			})
		}},
	{name: "ids with a fraction", issue: "chromium-bidi#2401", holds: "A reply to 7 may have the id 7.0.", peers: []string{gethName, jsonrpc2Name, naiveName},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			return answeredAs(t, k, patience, func(id string) string { return id + ".0" })
		}},
	{name: "ids as strings", issue: "MCP python#1720", holds: `A reply to 7 may have the id "7".`, peers: []string{gethName, jsonrpc2Name, naiveName},
		replay: func(t *testing.T, k rpcKind, patience time.Duration) error {
			return answeredAs(t, k, patience, func(id string) string { return `"` + strings.Trim(id, `"`) + `"` })
		}},
}

// answeredAs makes calls to a server that writes ids in its own way.
func answeredAs(t *testing.T, k rpcKind, patience time.Duration, write func(id string) string) error {
	c := k.open(t, rpcServer(t, func(ws *websocket.Conn, c rpcCall) { say(ws, write(string(c.ID)), c.text()) }), rpcOptions{})
	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var got string
		err := c.call(ctx, "say", []any{fmt.Sprint(i)}, &got)
		cancel()
		if err != nil || got != fmt.Sprint(i) {
			return fmt.Errorf("call %d got %q, %v", i, got, err)
		}
	}
	return nil
}

var errBroken = errors.New("broken pipe")

// breaking makes the next write fail after all of it was sent, as a write does that a reset or a
// deadline interrupts behind the last byte.
type breaking struct{ now atomic.Bool }

func (b *breaking) wrap(c net.Conn) net.Conn { return &breakable{c, b} }

type breakable struct {
	net.Conn
	b *breaking
}

func (c *breakable) Write(p []byte) (int, error) {
	broken := c.b.now.CompareAndSwap(true, false) // before the Write: an answer may overtake its return
	n, err := c.Conn.Write(p)
	if broken {
		return n, errBroken
	}
	return n, err
}

func TestMuxDefects(t *testing.T) {
	for _, d := range muxDefects {
		if len(d.peers) == 0 {
			t.Errorf("%s: no client has it", d.name)
		}
		for _, k := range rpcKinds {
			if k.cases != nil && !slices.Contains(k.cases, d.name) {
				continue
			}
			t.Run(d.name+"/"+strings.ReplaceAll(k.name, "/", " "), func(t *testing.T) {
				t.Parallel()
				has := slices.Contains(d.peers, k.name)
				wait := 3 * patience // no client waits that long; a busy machine may be slow
				if has {
					wait = soon
				}
				err := d.replay(t, k, wait)
				switch {
				case errors.Is(err, errNotKnown):
					t.Log(err)
				case has && err == nil:
					t.Errorf("%s: has this defect no more: %s", d.issue, d.holds)
				case has:
					t.Logf("%s: %v", d.issue, err)
				case err != nil:
					t.Errorf("%s: %s It does not: %v", d.issue, d.holds, err)
				}
			})
		}
	}
}
