// Package scene plays the quickstart's scene: many clients stream audio chunks
// to an inference server over WebSocket at once, first through a pool, then the
// same work with a dial per utterance, then a burst of callers over an admission
// limit. It checks every reply and prints both halves side by side.
//
// The server is embedded and listens on loopback, or is the user's own (-url).
// Either speaks this protocol, any number of utterances on one connection, one
// after the other:
//
//	client  text    {"utterance":"pool-c007-u012","chunks":10}
//	client  binary  a chunk of audio, as many times as "chunks" said
//	server  any     {"utterance":"pool-c007-u012","chunks":10,"bytes":32000,"crc32":305419896}
//
// The reply names the utterance that it answers and what the server received: crc32 is
// the IEEE checksum of all chunks in order. The embedded server must send every field.
// In the reply of another server the fields that it sends must be right; a reply that is
// not a JSON object with an "utterance" counts as unchecked.
package scene

import (
	"context"
	"crypto/tls"
	"os"
	"os/signal"
	"syscall"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// Server is the server of one part of the scene, and the settings of its pool.
type Server struct {
	URL       string             // ws or wss
	TLS       *tls.Config        // trusts the embedded server's certificate; nil: the system's roots
	Size      int                // maximum number of connections of a pool
	Admission resource.Admission // of the pool; nil: none
	Meter     *metrics.Meter     // watches the pool
}

// Message is one WebSocket message; Type is gorilla's TextMessage or BinaryMessage.
type Message struct {
	Type int
	Data []byte
}

// Utterance is what a client sends before it waits for one reply. The messages belong
// to the client, which changes them once Say has returned.
type Utterance struct {
	ID       string
	Messages []Message
}

// Side is one way of reaching the server.
type Side struct {
	// Warm dials the connections before the first utterance, whose latency would
	// include a dial otherwise. Nil: there is nothing to dial ahead.
	Warm func(ctx context.Context) error
	// Say sends one utterance and returns the reply. All clients call it
	// concurrently.
	Say func(ctx context.Context, u Utterance) (reply []byte, err error)
	// Stats is called after Close.
	Stats func() wspool.Stats
	// Close closes all connections, and returns when they are closed or ctx ends.
	Close func(ctx context.Context) error
}

// Open makes one Side for one server.
type Open func(s Server) (Side, error)

// Main plays the scene with the program's arguments and returns its exit status: 0 if
// every reply was right, 1 if one was wrong or lost or a count did not add up, 2 for bad
// flags, 130 if it was interrupted and everything else was right. After the first
// interrupt the utterances in progress finish and the program reports what was done;
// the second ends the program at once.
func Main(open Open) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			signal.Stop(signals) // before cancel: the next interrupt has its usual effect
			cancel()
		case <-ctx.Done():
		}
	}()
	return Run(ctx, os.Args[1:], os.Stdout, os.Stderr, open)
}
