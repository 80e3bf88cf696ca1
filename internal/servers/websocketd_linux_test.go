package servers

import (
	"net"
	"testing"
)

// websocketd runs a process per connection and connects it to standard input and output:
// here cat, an echo of lines. It adds a newline to each message and removes it again.
var websocketd = brand{start: startWebsocketd, ask: askText}

func TestWebsocketd(t *testing.T) { signalled(t, websocketd) }

func startWebsocketd(t testing.TB, addr string) running {
	t.Helper()
	program := debian(t, "/usr/bin/websocketd")
	addr = orUnused(t, addr)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return startDaemon(t, addr, program, "--address="+host, "--port="+port, "--loglevel=error", "cat")
}
