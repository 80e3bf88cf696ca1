package cluster_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// orders tell a child what to do.
type orders struct {
	Addr string        // where to listen; port 0: any
	RPC  bool          // it speaks JSON-RPC, and sends everything back otherwise
	Take time.Duration // what an answer takes
}

// child is a server in a process of its own.
type child struct {
	orders
	name string

	mu      sync.Mutex
	leaving bool
	conns   map[*childConn]bool
	all     sync.WaitGroup
}

type childConn struct {
	ws    *websocket.Conn
	mu    sync.Mutex // of writes
	calls flights
}

// beChild is the main function of a child. On an interrupt it drains: with RPC it announces that it
// leaves, and clients close their connections when what they have sent is answered; otherwise, and
// after five seconds, it answers what it has and closes each connection with 1001. Then it ends.
func beChild(text string) int {
	c := &child{conns: map[*childConn]bool{}}
	if err := json.Unmarshal([]byte(text), &c.orders); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	l, err := net.Listen("tcp", c.Addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c.name = l.Addr().String()
	fmt.Println(c.name)
	s := &http.Server{Handler: c}
	go s.Serve(l)
	go func() { // a child ends with its parent
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	<-stop
	l.Close()
	c.mu.Lock()
	c.leaving = true
	for conn := range c.conns {
		if c.RPC {
			go conn.leave()
		} else {
			go conn.bye()
		}
	}
	c.mu.Unlock()
	done := make(chan struct{})
	go func() { c.all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		return 1
	}
	return 0
}

// leave announces that the server leaves.
func (c *childConn) leave() {
	c.mu.Lock()
	c.ws.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","method":"bye"}`))
	c.mu.Unlock()
	time.AfterFunc(5*time.Second, c.bye)
}

// bye closes the connection when what it has is answered. Its client closes TCP then.
func (c *childConn) bye() {
	c.calls.wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), time.Now().Add(time.Second))
}

func (c *child) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	conn := &childConn{ws: ws}
	c.mu.Lock()
	if c.leaving {
		c.mu.Unlock()
		conn.bye()
		return
	}
	c.conns[conn] = true
	c.all.Add(1)
	c.mu.Unlock()
	defer c.all.Done()
	defer conn.calls.wait()
	for {
		_, p, err := ws.ReadMessage()
		if err != nil {
			break
		}
		conn.calls.add(1)
		if !c.RPC {
			c.answer(conn, append([]byte(c.name+" "), p...))
			continue
		}
		var call struct{ ID json.RawMessage }
		if json.Unmarshal(p, &call) != nil {
			conn.calls.add(-1)
			break
		}
		go c.answer(conn, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%q}`, call.ID, c.name))
	}
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
}

func (c *child) answer(conn *childConn, reply []byte) {
	defer conn.calls.add(-1)
	time.Sleep(c.Take) // the time of the server's work
	conn.mu.Lock()
	defer conn.mu.Unlock()
	conn.ws.WriteMessage(websocket.TextMessage, reply)
}
