// Package livepage looks at the page of metrics/live with a real browser while
// pools work: its numbers are those of the pools, a leak is found with its
// stack, no name is run as code, and a restart of the server is survived. It is
// a module's package of its own because what drives the browser is for tests
// alone.
//
// With RESPOOL_SCREENSHOTS=dir the tests also write what they see, as PNG:
//
//	RESPOOL_E2E=1 RESPOOL_SCREENSHOTS=/tmp go test -v -run Screenshots ./internal/servers/livepage
package livepage
