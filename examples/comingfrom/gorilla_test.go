package comingfrom_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// sockets is one connection for each URL, behind a mutex.
type sockets struct {
	mu  sync.Mutex
	all map[string]*websocket.Conn
}

func (s *sockets) ask(url, question string, patience time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // one question at a time, whatever the URL
	ws := s.all[url]
	if ws == nil {
		var err error
		if ws, _, err = websocket.DefaultDialer.Dial(url, nil); err != nil {
			return "", err
		}
		s.all[url] = ws
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(question)); err != nil {
		return "", err
	}
	ws.SetReadDeadline(time.Now().Add(patience)) // a deadline that passes ends all reading for good
	_, answer, err := ws.ReadMessage()
	return string(answer), err
}

// After one timeout no question is answered any more.
func Example_withMutex() {
	url, stop := serveSockets()
	defer stop()
	s := sockets{all: make(map[string]*websocket.Conn)}
	for _, question := range []string{"one", "sleep", "two"} {
		patience := time.Minute
		if question == "sleep" {
			patience = 20 * time.Millisecond
		}
		answer, err := s.ask(url, question, patience)
		fmt.Println(answer, err != nil && strings.HasSuffix(err.Error(), "i/o timeout"))
	}
	s.all[url].Close()
	// Output:
	// ONE false
	//  true
	//  true
}

// After one timeout its connection is closed, and the next question has another one.
func Example_afterMutex() {
	url, stop := serveSockets()
	defer stop()
	pools, err := wspool.NewManager(wspool.ManagerConfig[string]{
		MaxTotal: 100, // connections to all URLs
		Config: func(url string) (wspool.Config, error) {
			return wspool.Config{URL: url, MaxSize: 8}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ask := func(question string, patience time.Duration) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, answer, err := pools.Exchange(ctx, url, websocket.TextMessage, []byte(question))
		return string(answer), err
	}
	for _, question := range []string{"one", "sleep", "two"} {
		patience := time.Minute
		if question == "sleep" {
			patience = 20 * time.Millisecond
		}
		answer, err := ask(question, patience)
		fmt.Println(answer, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(pools.Close(ctx))
	// Output:
	// ONE <nil>
	//  wspool: read: context deadline exceeded
	// TWO <nil>
	// <nil>
}
