package servers

import "testing"

var faults = []fault{stop, drain, kill}

func TestCoder(t *testing.T)     { each(t, brand{start: own("coder"), ask: askEcho}) }
func TestGws(t *testing.T)       { each(t, brand{start: own("gws"), ask: askEcho}) }
func TestNats(t *testing.T)      { each(t, brand{start: own("nats"), reach: reachNats, ask: askNats}) }
func TestWs(t *testing.T)        { each(t, brand{start: script("ws.js"), ask: askEcho}) }
func TestWebsocket(t *testing.T) { each(t, brand{start: script("websocket.js"), ask: askEcho}) }
func TestEngine(t *testing.T)    { each(t, engineIO) }
func TestSocket(t *testing.T)    { each(t, socketIO) }
func TestGraphQL(t *testing.T)   { each(t, graphQL) }
func TestRPC(t *testing.T)       { each(t, rpcWebSockets) }
func TestPython(t *testing.T)    { each(t, pythonWebSockets) }
func TestAiohttp(t *testing.T)   { each(t, aiohttp) }

func each(t *testing.T, b brand) {
	for _, f := range faults {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			endure(t, b, f)
		})
	}
}
