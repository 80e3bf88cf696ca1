package servers

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/internal/relay"
)

// network is a network with an echo server; cut makes it drop every packet.
type network interface {
	address() string
	cut(t testing.TB)
	heal(t testing.TB)
}

// newNetwork returns a pair of interfaces or, if the kernel does not permit that, a relay,
// and logs which.
func newNetwork(t testing.TB) network {
	t.Helper()
	n, err := newInterfaces(t)
	if err == nil {
		return n
	}
	t.Logf("this machine permits no network namespace, so that a relay goes silent instead: %v", err)
	r, err := relay.New(own("coder")(t, "127.0.0.1:0").address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return relayed{r}
}

// interfaces is a pair of interfaces, one of them in a namespace with the server.
type interfaces struct {
	ip     string // path of the program
	name   string // of the namespace
	ours   string // interface outside the namespace
	theirs string // interface or address in the namespace
	here   string // address outside the namespace
	there  string // interface or address in the namespace
	at     string
}

// newInterfaces fails if the kernel does not permit a step.
func newInterfaces(t testing.TB) (*interfaces, error) {
	t.Helper()
	pid := os.Getpid()
	// 198.18.0.0/15 is reserved for tests between networks (RFC 2544).
	net := fmt.Sprintf("198.18.%d.", pid>>6&255)
	n := &interfaces{
		ip:   outside.Program(t, []string{"ip"}, packages...),
		name: fmt.Sprintf("respool-%d", pid), ours: fmt.Sprintf("rsp%da", pid), theirs: fmt.Sprintf("rsp%db", pid),
		here: fmt.Sprint(net, pid<<2&255+1), there: fmt.Sprint(net, pid<<2&255+2),
	}
	if err := n.run("netns", "add", n.name); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := n.run("netns", "del", n.name); err != nil { // deletes both interfaces too
			t.Error(err)
		}
	})
	for _, args := range [][]string{
		{"link", "add", n.ours, "type", "veth", "peer", "name", n.theirs, "netns", n.name},
		{"addr", "add", n.here + "/30", "dev", n.ours},
		{"link", "set", n.ours, "up"},
		{"-n", n.name, "addr", "add", n.there + "/30", "dev", n.theirs},
		{"-n", n.name, "link", "set", n.theirs, "up"},
	} {
		if err := n.run(args...); err != nil {
			return nil, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr := n.there + ":0"
	n.at = launch(t, []string{asServer + "=coder"}, addr, n.ip, "netns", "exec", n.name, self, addr).address()
	return n, nil
}

func (n *interfaces) run(args ...string) error {
	if out, err := exec.Command(n.ip, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

func (n *interfaces) address() string { return n.at }

// cut makes each side send its packets to an unused hardware address, so that the interface
// of the other side drops them.
func (n *interfaces) cut(t testing.TB) {
	t.Helper()
	const unusedMAC = "02:00:00:00:00:01"
	for _, args := range [][]string{
		{"neigh", "replace", n.there, "lladdr", unusedMAC, "dev", n.ours, "nud", "permanent"},
		{"-n", n.name, "neigh", "replace", n.here, "lladdr", unusedMAC, "dev", n.theirs, "nud", "permanent"},
	} {
		if err := n.run(args...); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *interfaces) heal(t testing.TB) {
	t.Helper()
	for _, args := range [][]string{
		{"-n", n.name, "neigh", "del", n.here, "dev", n.theirs},
		{"neigh", "del", n.there, "dev", n.ours},
	} {
		if err := n.run(args...); err != nil {
			t.Fatal(err)
		}
	}
}

// relayed is a network implemented by a relay.
type relayed struct{ *relay.Relay }

func (r relayed) address() string { return r.Addr() }

func (r relayed) cut(testing.TB) {
	r.OnConn((*relay.Conn).BlackHole)
	for _, c := range r.Conns() {
		c.BlackHole()
	}
}

func (r relayed) heal(testing.TB) { r.OnConn(nil) }
