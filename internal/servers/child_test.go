package servers

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// A server process is given the address to listen on, says
//
//	listening HOST:PORT
//
// and obeys the lines on its standard input, whose end is its end:
//
//	count   says how many clients it has: count N
//	empty   waits until it has none, and says the close codes of those that left: empty CODE...
//	stop    hangs up on all of them and ends
//	drain   says goodbye to all of them, waits until they have left, and ends
//
// Those of npm are in testdata. Those written in Go are the test binary itself,
// with asServer in its environment.
const asServer = "RESPOOL_SERVER"

// library is one of those written in Go.
type library interface {
	addr() string
	count() int
	codes() []int
	stop()
	drain()
}

// libraries start them.
var libraries = map[string]func(addr string) (library, error){
	"coder": startCoder,
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

// untilEmpty has no end of its own: the one who waits for this process has.
func untilEmpty(l library) {
	for l.count() > 0 {
		time.Sleep(time.Millisecond) // between looks: the libraries tell of no end
	}
}

// guests are the clients of a server that keeps no list itself.
type guests[C comparable] struct {
	mu   sync.Mutex
	here map[C]bool
	left []int // close codes
}

func (g *guests[C]) arrive(c C) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.here == nil {
		g.here = map[C]bool{}
	}
	g.here[c] = true
}

func (g *guests[C]) leave(c C, code int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.here, c)
	g.left = append(g.left, code)
}

func (g *guests[C]) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.here)
}

func (g *guests[C]) codes() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// each calls f for every client at once.
func (g *guests[C]) each(f func(C)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.here {
		go f(c)
	}
}
