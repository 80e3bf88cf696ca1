//go:build unix

package suite

import "syscall"

// openFiles returns how many files this process may have open; the runtime has
// raised the limit as far as it goes. False: it is not known.
func openFiles() (uint64, bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true
}
