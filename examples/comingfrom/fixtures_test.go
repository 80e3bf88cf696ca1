package comingfrom_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Session represents a resource that is slow to open.
type Session struct {
	n    int64
	of   *service
	dead bool // the service has ended it
}

// service opens sessions.
type service struct{ opened, closed atomic.Int64 }

func (s *service) open(context.Context) (*Session, error) {
	return &Session{n: s.opened.Add(1), of: s}, nil
}

// errDead is what a session returns that its service has ended.
var errDead = errors.New("session is dead")

// Ask asks one question.
func (s *Session) Ask(_ context.Context, question string) (string, error) {
	if s.dead {
		return "", errDead
	}
	return fmt.Sprintf("%s? yes, says %d", question, s.n), nil
}

func (s *Session) Close() { s.of.closed.Add(1) }

// serveSockets starts a server that answers each message in capitals, except "sleep".
func serveSockets() (url string, stop func()) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var upgrader websocket.Upgrader
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if string(p) != "sleep" && ws.WriteMessage(kind, []byte(strings.ToUpper(string(p)))) != nil {
				return
			}
		}
	}))
	return "ws" + strings.TrimPrefix(s.URL, "http"), s.Close
}
