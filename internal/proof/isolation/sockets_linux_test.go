package isolation_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TCP states in the numbering of the kernel.
const (
	timeWait  = 0x06
	listening = 0x0a
)

// sockets counts the sockets of one server on loopback.
type sockets struct {
	client, server int // in TIME_WAIT, by side
	alive          int // in any other state but listening
}

// socketsOf counts the sockets at both ends of the connections to port.
func socketsOf(t *testing.T, port int) (s sockets) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] == "sl" {
			continue
		}
		local, err1 := portOf(f[1])
		remote, err2 := portOf(f[2])
		state, err3 := strconv.ParseUint(f[3], 16, 8)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatalf("/proc/net/tcp has the line %q", line)
		}
		switch {
		case local != port && remote != port || state == listening:
		case state != timeWait:
			s.alive++
		case remote == port:
			s.client++
		default:
			s.server++
		}
	}
	return s
}

// portOf returns the port of an address in the kernel's table.
func portOf(address string) (int, error) {
	_, port, ok := strings.Cut(address, ":")
	if !ok {
		return 0, fmt.Errorf("no port in %q", address)
	}
	n, err := strconv.ParseUint(port, 16, 16)
	return int(n), err
}
