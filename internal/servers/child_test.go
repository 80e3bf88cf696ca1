package servers

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// A server process gets the address to listen on as its argument, prints
//
//	listening HOST:PORT
//
// and obeys the lines of its standard input; EOF ends it:
//
//	count   prints the number of clients: count N
//	empty   waits until it has none, and prints the close codes of those that left: empty CODE...
//	stop    closes all connections and exits
//	drain   sends close frames to all clients, waits until they have left, and exits
//
// Those using npm packages are in testdata. Those written in Go are the test binary itself,
// with asServer in its environment.
const asServer = "RESPOOL_SERVER"

// library is a server library for Go.
type library interface {
	addr() string
	count() int
	codes() []int
	stop()
	drain()
}

// libraries start the servers by name.
var libraries = map[string]func(addr string) (library, error){
	"coder": startCoder,
	"geth":  startGeth,
	"gws":   startGws,
	"nats":  startNats,
}

// serve is the main function of a server process, and returns its exit status.
func serve(name string) int {
	l, err := libraries[name](os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("listening", l.addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "count":
			fmt.Println("count", l.count())
		case "empty":
			untilEmpty(l)
			fmt.Println("empty", strings.Trim(fmt.Sprint(l.codes()), "[]"))
		case "stop":
			l.stop()
			return 0
		case "drain":
			l.drain()
			untilEmpty(l)
			return 0
		}
	}
	return 0
}

// untilEmpty has no timeout of its own: the parent process has one.
func untilEmpty(l library) {
	for l.count() > 0 {
		time.Sleep(time.Millisecond) // polling interval: the libraries do not report it
	}
}

// clientList is the list of clients of a server whose library has none.
type clientList[C comparable] struct {
	mu   sync.Mutex
	here map[C]bool
	left []int // close codes
}

func (g *clientList[C]) arrive(c C) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.here == nil {
		g.here = map[C]bool{}
	}
	g.here[c] = true
}

func (g *clientList[C]) leave(c C, code int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.here, c)
	g.left = append(g.left, code)
}

func (g *clientList[C]) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.here)
}

func (g *clientList[C]) codes() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// each calls f for every client concurrently.
func (g *clientList[C]) each(f func(C)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.here {
		go f(c)
	}
}
