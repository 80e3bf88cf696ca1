// Package livepage tests the page of metrics/live in a real browser while pools are in
// use: its figures are those of the pools, its charts begin with the history of the
// meters, a leak is shown with its stack, no name is run as code, no width leaves a void
// or clips a text, and the page survives a restart of the server. It is in this module
// because the driver of the browser is needed by tests alone.
//
// With RESPOOL_SCREENSHOTS=dir the tests write screenshots, as PNG:
//
//	RESPOOL_E2E=1 RESPOOL_SCREENSHOTS=/tmp go test -v -run Screenshots ./internal/servers/livepage
package livepage
