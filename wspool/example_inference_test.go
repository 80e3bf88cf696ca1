package wspool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// inferenceEvent is a message of an inference service, or one to it.
type inferenceEvent struct {
	Type string `json:"type"` // generate, cancel; token, done, cancelled
	Text string `json:"text,omitempty"`
}

// An answer arrives in tokens. A user that leaves in the middle of it cancels it at the
// server, so that the connection can be lent again.
func Example_inference() {
	url, stop := localServer(inferenceService)
	defer stop()

	pool, err := wspool.New(wspool.Config{
		URL:     url,
		MaxSize: 16,
		MinIdle: 2, // the first users after a quiet time need not wait for a handshake
		// A user that left says nothing about the connection. If it is not clean it is closed
		// whatever Broken says.
		Broken: func(err error) bool { return !errors.Is(err, context.Canceled) },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer pool.Close(ctx)

	for _, patience := range []int{100, 2, 100} { // in tokens
		user, leave := context.WithCancel(ctx)
		tokens := 0
		err := pool.Do(user, func(ctx context.Context, c *wspool.Conn) error {
			return generate(ctx, c, "count to four", func(token string) {
				fmt.Print(token, " ")
				if tokens++; tokens == patience {
					leave()
				}
			})
		})
		leave()
		fmt.Println("|", err)
	}
	fmt.Println("connections closed:", pool.Stats().Destroyed)
	// Output:
	// one two three four | <nil>
	// one two | context canceled
	// one two three four | <nil>
	// connections closed: 0
}

// generate sends a prompt and passes the tokens of the answer on as they arrive.
func generate(ctx context.Context, c *wspool.Conn, prompt string, show func(token string)) error {
	if err := c.WriteJSON(ctx, inferenceEvent{"generate", prompt}); err != nil {
		return err
	}
	for {
		var e inferenceEvent
		err := c.ReadJSON(ctx, &e)
		switch {
		case ctx.Err() != nil: // the user has left
			return errors.Join(context.Cause(ctx), cancelAnswer(context.WithoutCancel(ctx), c))
		case err != nil:
			return err
		case e.Type == "done":
			return nil
		}
		show(e.Text)
	}
}

// cancelAnswer stops the server and drops the rest of the answer, up to the confirmation.
func cancelAnswer(ctx context.Context, c *wspool.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := c.WriteJSON(ctx, inferenceEvent{Type: "cancel"}); err != nil {
		return err
	}
	return c.Drain(ctx, 0, func(m wspool.Message) bool {
		var e inferenceEvent
		return json.Unmarshal(m.Data, &e) == nil && e.Type == "cancelled"
	})
}

// inferenceService answers each prompt with four tokens and "done", and stops at a cancel,
// which it confirms, also after the answer is complete.
func inferenceService(_ *http.Request, ws *websocket.Conn) {
	requests := make(chan inferenceEvent)
	go func() {
		defer close(requests)
		var e inferenceEvent
		for ws.ReadJSON(&e) == nil {
			requests <- e
			e = inferenceEvent{}
		}
	}()
	var answer []string // what is left of it
	for {
		next := time.After(5 * time.Millisecond) // the time of a token
		select {
		case e, open := <-requests:
			switch {
			case !open:
				return
			case e.Type == "cancel":
				answer = nil
				ws.WriteJSON(inferenceEvent{Type: "cancelled"})
			default:
				answer = strings.Fields("one two three four")
			}
		case <-next:
			if len(answer) == 0 {
				continue
			}
			ws.WriteJSON(inferenceEvent{"token", answer[0]})
			if answer = answer[1:]; len(answer) == 0 {
				ws.WriteJSON(inferenceEvent{Type: "done"})
			}
		}
	}
}

// A service that keeps the conversation in the connection: each conversation has a
// connection that no other one has used, dialled ahead, and ends with it.
func ExampleConn_Discard() {
	url, stop := localServer(func(_ *http.Request, ws *websocket.Conn) {
		var conversation []string
		for {
			_, p, err := ws.ReadMessage()
			if err != nil {
				return
			}
			conversation = append(conversation, string(p))
			ws.WriteMessage(websocket.TextMessage, []byte(strings.Join(conversation, ", ")))
		}
	})
	defer stop()
	pool, err := wspool.New(wspool.Config{URL: url, MaxSize: 16, MinIdle: 2}) // two wait for the next conversations
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	for _, user := range []string{"ann", "bob"} {
		c, err := pool.Acquire(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, question := range []string{"hello", "I am " + user} {
			answer, err := answerTo(ctx, c, question)
			fmt.Println(answer, err)
		}
		c.Discard(errConversationOver) // never Release: the next user would continue it
	}
	// Output:
	// hello <nil>
	// hello, I am ann <nil>
	// hello <nil>
	// hello, I am bob <nil>
}

// errConversationOver is the cause that Destroy, traces and metrics see.
var errConversationOver = errors.New("conversation is over")
