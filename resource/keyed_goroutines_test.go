package resource_test

import (
	"runtime"
	"strings"
)

// goroutinesOf counts goroutines, beside the tests' own, that were started by a
// function whose name contains that.
func goroutinesOf(by string) (n int) {
	buf := make([]byte, 64<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if i := strings.LastIndex(g, "created by "); i >= 0 && strings.Contains(g[i:], by) {
			n++
		}
	}
	return n
}
