// Subscriptions follows prices by JSON-RPC subscriptions while their server is restarted. The
// subscribers share one WebSocket connection. When it is lost each of them gets a gap, and its
// subscription is made again. Run it from the root of the repository with
//
//	go run ./examples/subscriptions
//
// It fails if a price is missing where no gap was reported, or if a subscriber does not go on.
// The server is in server.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintf(os.Stderr, "subscriptions: takes no arguments, got %q\n", os.Args[1:])
		os.Exit(2)
	}
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run restarts the server when every subscriber has read prices, and prints what happens to w.
func run(w io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s := &server{addr: "127.0.0.1:0", conns: make(map[*websocket.Conn]map[int]bool)}
	if err := s.listen(); err != nil {
		return err
	}
	defer s.stop()
	go s.trade(ctx.Done())
	pool, err := wspool.New(wspool.Config{URL: "ws://" + s.addr, MaxSize: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close(ctx)) }()
	client, err := mux.New(pool, mux.Config{Codec: jsonrpc.Codec{Unsubscribe: "unsubscribe"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()

	line := log.New(w, "", log.Lmicroseconds)
	var begun sync.WaitGroup
	all, running := errgroup.WithContext(ctx)
	for _, symbol := range []string{"BTC", "ETH", "SOL"} {
		begun.Add(1)
		half := sync.OnceFunc(begun.Done)
		all.Go(func() error {
			defer half()
			return follow(running, client, symbol, line, half)
		})
	}
	begun.Wait()
	line.Print("server stops")
	s.stop()
	time.Sleep(200 * time.Millisecond) // its start takes so long
	line.Print("server starts")
	all.Go(s.listen)
	return all.Wait()
}

// follow reads 20 prices of a symbol, calls half, and reads up to 20 prices behind a gap.
func follow(ctx context.Context, client *mux.Client, symbol string, line *log.Logger, half func()) error {
	subscribe := mux.Request{Body: jsonrpc.Request{Method: "subscribe", Params: []string{symbol}}}
	stream, err := client.Stream(ctx, subscribe, mux.StreamConfig{
		// If the server could go on behind a given price, that of last would be sent to it.
		Resume: func(last mux.Message) (mux.Request, bool) { return subscribe, true },
	})
	if err != nil {
		return err
	}
	var last, next price
	read, gaps := 0, 0                       // the number of prices since the last gap, and of gaps
	for item, err := range stream.All(ctx) { // closes the stream, which unsubscribes
		if err != nil {
			return err
		}
		if gap := item.Gap; gap != nil {
			line.Printf("%s gap of %v behind price %d: %v", symbol, gap.Lasted.Round(time.Millisecond), last.N, gap.Cause)
			read, gaps = 0, gaps+1
			continue
		}
		if err := jsonrpc.DecodePart(item.Message, &next); err != nil {
			return err
		}
		read++
		switch {
		case read > 1 && next.N != last.N+1, next.N <= last.N:
			return fmt.Errorf("%s: price %d follows price %d without a gap", symbol, next.N, last.N)
		case read == 1 && gaps == 0:
			line.Printf("%s begins with price %d", symbol, next.N)
		case read == 1:
			line.Printf("%s goes on with price %d; prices missed: %d", symbol, next.N, next.N-last.N-1)
		case read == 20 && gaps == 0:
			half()
		case read == 20:
			line.Printf("%s ends with price %d", symbol, next.N)
			return nil
		}
		last = next
	}
	return fmt.Errorf("%s: the server ended the stream", symbol)
}
