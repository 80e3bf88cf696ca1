package main

import (
	"log"
	"net"
	"net/http"

	"github.com/gorilla/websocket"
)

// serve starts a server on loopback that sends back each message, and returns its
// URL.
func serve() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var upgrader websocket.Upgrader
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, message, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, message) != nil {
				return
			}
		}
	}))
	return "ws://" + l.Addr().String()
}
