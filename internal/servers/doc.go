// Package servers holds package wspool to its promises against WebSocket
// servers that nobody here wrote: coder/websocket, gws, nats-server, the npm
// packages ws and websocket, and Chromium's DevTools. It has no code of its
// own, only tests, and is a module of its own so that the libraries it needs are
// nobody else's.
//
// Each server is a process of its own, so that it can be killed. Under the load
// of many callers it is restarted, drained with goodbyes, and killed; package
// load_test.go says what must hold.
//
// The servers written in Go need nothing but Go. The others are skipped unless
// RESPOOL_E2E=1, which fetches what is missing:
//
//	RESPOOL_E2E=1 go test -v ./internal/servers
package servers
