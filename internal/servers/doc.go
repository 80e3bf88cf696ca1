// Package servers tests package wspool against independent WebSocket servers:
// coder/websocket, gws, nats-server, go-ethereum's rpc package, the npm packages ws, websocket, engine.io, socket.io,
// graphql-ws and rpc-websockets, Python's websockets and aiohttp, websocketd, mosquitto,
// Tomcat and Chromium's DevTools, and through nginx and HAProxy. It contains only tests, and
// is a module of its own so that users do not get its requirements.
//
// Each server is a separate process, so that it can be killed. Under the load of many callers
// it is restarted, drained with close frames, and killed; load_test.go documents what must
// hold. Callers use each proxy while that is reloaded, drained, killed, or disconnected from
// its servers (proxy_linux_test.go); processes are stopped and a network drops packets
// (silence_linux_test.go); and every row of wspool's table of settings is tested
// (settings_linux_test.go). Callers share connections with package mux and its codecs to
// go-ethereum, graphql-ws, socket.io, rpc-websockets and Chromium, which are restarted and
// killed too (mux_test.go). Known defects of clients that share a connection are replayed on
// mux and on go-ethereum's and sourcegraph's clients (mux_defects_test.go).
//
// The servers written in Go need nothing but Go. The others are skipped without
// RESPOOL_E2E=1, which installs what is missing, from npm and, as root, from Debian:
//
//	RESPOOL_E2E=1 go test -v ./internal/servers
package servers
