//go:build !linux

package main

import "net"

// hungUpWorks says that hungUp can tell.
const hungUpWorks = false

// hungUp is for Linux. Elsewhere a session counts until the goroutine that reads it learns
// that it is over, so on a busy machine the judge may count one too many.
func hungUp(net.Conn) bool { return false }
