// Package servers holds package wspool to its promises against WebSocket
// servers that nobody here wrote: coder/websocket, gws, nats-server, the npm
// packages ws, websocket, engine.io, socket.io, graphql-ws and rpc-websockets,
// Python's websockets and aiohttp, websocketd, mosquitto, Tomcat and Chromium's
// DevTools, and through nginx and HAProxy. It has no code of its own, only tests,
// and is a module of its own, so that users do not get the libraries it needs.
//
// Each server is a process of its own, so that it can be killed. Under the load
// of many callers it is restarted, drained with goodbyes, and killed; package
// load_test.go says what must hold. A crowd goes through each proxy while that is
// reloaded, drained, killed, or cut off from its servers (proxy_linux_test.go);
// processes stand still and a network drops packets (silence_linux_test.go); and
// every row of the README's table of settings is played (readme_linux_test.go).
//
// The servers written in Go need nothing but Go. The others are skipped unless
// RESPOOL_E2E=1, which fetches what is missing, from npm and, as root, from Debian:
//
//	RESPOOL_E2E=1 go test -v ./internal/servers
package servers
