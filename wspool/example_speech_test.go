package wspool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// Six utterances to a speech service, on one connection. Audio goes up while
// transcripts come down; a user that interrupts has the rest dropped; a keepalive
// message is sent between utterances; and the service greets with a session id, and
// sends unrequested reports behind some of its answers.
func Example_speech() {
	alive, closed := make(chan struct{}), make(chan struct{}) // alive is closed when the service has had a keepalive
	close(closed)
	url, stop := localServer(speechService(sync.OnceFunc(func() { close(alive) })))
	defer stop()

	pool, err := wspool.New(wspool.Config{
		URL:      url,
		MaxSize:  4,
		Greeting: true,
		OnConnect: func(_ context.Context, c *wspool.Conn) error {
			m, _ := c.Greeting()
			var session struct{ ID string }
			if err := json.Unmarshal(m.Data, &session); err != nil {
				return err
			}
			c.SetValue(session.ID)
			return nil
		},
		Heartbeat: wspool.Heartbeat{
			Every:   50 * time.Millisecond, // 5 s for a real service
			Message: wspool.Message{Type: websocket.TextMessage, Data: []byte(`{"type":"KeepAlive"}`)},
		},
		Quiet:         20 * time.Millisecond,  // for reports behind the last transcript
		OnUnsolicited: wspool.DropUnsolicited, // for reports that come later still
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer pool.Close(ctx)

	for i, words := range []string{"good morning", "what is new", "stop please", "and now this", "never mind that", "thank you"} {
		thinks := closed
		if i == 3 {
			thinks = alive // until a keepalive was sent, while the lease holds the connection
		}
		audio := microphone(strings.Fields(words), thinks)
		interrupted := func(partial string) bool { return partial == "stop" || partial == "never mind" }
		err := pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
			text, err := speak(ctx, c, audio, interrupted)
			session, _ := wspool.ValueOf[string](c)
			fmt.Printf("%s: %s\n", session, text)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("connections:", pool.Stats().Made)
	// Output:
	// session 1: good morning
	// session 1: what is new
	// session 1: (interrupted)
	// session 1: and now this
	// session 1: (interrupted)
	// session 1: thank you
	// connections: 1
}

// speechEvent is a message of the service, or one to it, that is no audio.
type speechEvent struct {
	Type string `json:"type"`
	Text string `json:"text,omitempty"`
}

// speak sends the audio of one utterance and returns its transcript. It reads transcripts
// while it sends audio: a write and a read may run at the same time.
func speak(ctx context.Context, c *wspool.Conn, audio <-chan []byte, interrupted func(partial string) bool) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends sendAudio
	sent := make(chan error, 1)
	go func() { sent <- sendAudio(ctx, c, audio) }()
	for {
		var e speechEvent
		if err := c.ReadJSON(ctx, &e); err != nil {
			return "", err
		}
		switch {
		case e.Type == "final":
			return e.Text, <-sent
		case e.Type == "partial" && interrupted(e.Text):
			return "(interrupted)", errors.Join(<-sent, cancelSpeech(ctx, c))
		}
	}
}

// sendAudio sends frames until there are no more, and then the end of the stream.
func sendAudio(ctx context.Context, c *wspool.Conn, audio <-chan []byte) error {
	for {
		select {
		case frame, more := <-audio:
			if !more {
				return c.WriteJSON(ctx, speechEvent{Type: "finish"})
			}
			if err := c.WriteMessage(ctx, websocket.BinaryMessage, frame); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cancelSpeech stops the service and drops what it still sends, up to its confirmation: the
// connection is clean then, and is lent again.
func cancelSpeech(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteJSON(ctx, speechEvent{Type: "cancel"}); err != nil {
		return err
	}
	return c.Drain(ctx, 0, func(m wspool.Message) bool {
		var e speechEvent
		return json.Unmarshal(m.Data, &e) == nil && e.Type == "cancelled"
	})
}

// microphone returns a channel with a frame for each word, after the user has thought.
func microphone(words []string, thinks <-chan struct{}) <-chan []byte {
	frames := make(chan []byte, len(words))
	go func() {
		defer close(frames)
		<-thinks
		for _, word := range words {
			frames <- []byte(word)
		}
	}()
	return frames
}

// speechService greets, answers each piece of audio with the transcript so far and
// "finish" with all of it, and behind every second of those sends a report.
func speechService(alive func()) func(*http.Request, *websocket.Conn) {
	sessions := 0
	return func(_ *http.Request, ws *websocket.Conn) {
		sessions++
		ws.WriteJSON(map[string]string{"id": fmt.Sprint("session ", sessions)})
		var words []string
		for finished := 0; ; {
			kind, p, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if kind == websocket.BinaryMessage {
				words = append(words, string(p))
				ws.WriteJSON(speechEvent{"partial", strings.Join(words, " ")})
				continue
			}
			var e speechEvent
			if json.Unmarshal(p, &e) != nil {
				return
			}
			switch e.Type {
			case "KeepAlive":
				alive()
			case "cancel":
				words = nil
				ws.WriteJSON(speechEvent{Type: "cancelled"})
			case "finish":
				ws.WriteJSON(speechEvent{"final", strings.Join(words, " ")})
				words = nil
				if finished++; finished%2 == 0 {
					ws.WriteJSON(speechEvent{Type: "report"})
				}
			}
		}
	}
}
