package main

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/wspool/mux"
)

// Scenes of wspool/mux: calls that share a connection.
var muxScenes = []sched.Scene{
	{Name: "mux-cancel", Doc: "mux: a call that is canceled against a call that writes the batch, on one connection", Bound: 1, Run: muxCancel},
	{Name: "mux-late", Doc: "mux: a call that is canceled against its reply and another call, on one connection", Bound: 1, Run: muxLate},
}

// words is a Codec: a message is the id of the call and a word.
type words struct {
	encoding func(word string) // called for each call that is about to be sent
}

func (words) IDBits() int { return 31 }

func (c words) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	c.encoding(body.(string))
	dst = strconv.AppendUint(dst, id, 10)
	return websocket.TextMessage, append(append(dst, ' '), body.(string)...), nil
}

func (words) Classify(_ int, data []byte) (mux.Frame, error) {
	id, _, _ := bytes.Cut(data, []byte(" "))
	n, err := strconv.ParseUint(string(id), 10, 64)
	return mux.Frame{Kind: mux.Reply, ID: n}, err
}

// shared is a mux.Client of one connection, and the server, which answers each call at once except
// those of which the word begins with "slow".
type shared struct {
	*sockets
	client *mux.Client
	seen   map[string]int // words that the server has; guarded by the wire's mu
	held   []string       // calls that it has not answered; likewise

	canceled atomic.Bool // the context of the slow call has ended
	late     bool        // it had before that call was added to the batch
}

func newShared(x *sched.X) *shared {
	m := &shared{seen: make(map[string]int)}
	m.sockets = newSockets(x, m.serve, nil)
	client, err := mux.New(m.pool, mux.Config{Codec: words{m.encoding}, MaxInFlight: 2, OrphanWait: -1, IdleAfter: -1})
	x.Require(err == nil, "mux.New: %v", err)
	m.client = client
	m.call("first")
	return m
}

func (m *shared) encoding(word string) {
	if word == "slow" {
		m.late = m.canceled.Load()
	}
}

func (m *shared) serve(w *wire, message string) {
	id, word, _ := strings.Cut(message, " ")
	m.seen[word]++
	m.x.Require(m.seen[word] == 1, "%q is sent twice", word)
	if strings.HasPrefix(word, "slow") {
		m.held = append(m.held, message)
		return
	}
	w.sayLocked(id + " re " + word)
}

// answer has the server send the replies that it holds.
func (m *shared) answer() {
	w := m.wires[0]
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, message := range m.held {
		id, word, _ := strings.Cut(message, " ")
		w.sayLocked(id + " re " + word)
	}
	m.held = nil
}

// reply checks the reply of a call.
func (m *shared) reply(r mux.Message, word string) {
	_, text, _ := strings.Cut(string(r.Data), " ")
	m.x.Require(text == "re "+word, "I13: the reply of %q is %q", word, r.Data)
}

// call makes a call that succeeds.
func (m *shared) call(word string) {
	r, err := m.client.Call(context.Background(), mux.Request{Body: word})
	m.x.Require(err == nil, "%q: %v", word, err)
	m.reply(r, word)
}

// slow makes the slow call, which is canceled, and returns its fate; nil: it was answered.
func (m *shared) slow(ctx context.Context) error {
	r, err := m.client.Call(ctx, mux.Request{Body: "slow"})
	if err == nil {
		m.reply(r, "slow")
		return nil
	}
	var failed *mux.CallError
	m.x.Require(errors.As(err, &failed) && errors.Is(err, context.Canceled), "the slow call: %v", err)
	return failed.Fate
}

// rest checks what is left on the connection when the calls have ended, and closes all.
func (m *shared) rest(orphans int) {
	s := m.client.Stats()
	m.x.Require(s.InFlight == 0 && s.Orphans == orphans, "%d calls are in flight, %d are orphans, want %d", s.InFlight, s.Orphans, orphans)
	m.answer() // the late reply
	m.call("last")
	m.call("again")
	s = m.client.Stats()
	m.x.Require(s.InFlight == 0 && s.Orphans == 0, "in the end %d calls are in flight, %d are orphans", s.InFlight, s.Orphans)
	m.x.Require(s.Unknown == 0, "%d replies are to calls that were not sent", s.Unknown)
	err := m.client.Close(context.Background())
	m.x.Require(err == nil, "Close of the client: %v", err)
	m.end()
}

// cancels returns a function that makes the slow call, and one that cancels it.
func (m *shared) cancels(fate *error) (call, cancel func()) {
	ctx, end := context.WithCancel(context.Background())
	return func() { *fate = m.slow(ctx) }, func() {
		end()
		m.canceled.Store(true)
	}
}

// fates checks the fate of the slow call, and returns how often it was sent.
func (m *shared) fates(fate error) int {
	n := m.seen["slow"]
	m.x.Require(fate == nil || n == 0 && fate == mux.ErrNotSent || n == 1 && fate == mux.ErrMayHaveRun,
		"a call was sent %d times, and its fate is %v", n, fate)
	m.x.Require(n == 0 || !m.late, "a call was sent that had been canceled before it was added to the batch")
	return n
}

func muxCancel(x *sched.X) {
	m := newShared(x)
	var fate error
	slow, cancel := m.cancels(&fate)
	x.Actor("slow", slow)
	x.Actor("cancel", cancel)
	x.Actor("caller", func() { m.call("fast") })
	x.Explore()
	n := m.fates(fate)
	m.rest(n)
	x.Require(m.fates(fate) == n, "a call was sent after it had failed with ErrNotSent")
}

func muxLate(x *sched.X) {
	m := newShared(x)
	var fate error
	slow, cancel := m.cancels(&fate)
	x.Actor("slow", slow)
	x.Actor("server", m.answer)
	x.Actor("cancel and call", func() {
		cancel()
		m.call("fast")
	})
	x.Explore()
	n := m.fates(fate)
	if fate == nil {
		n = 0
	} else if len(m.held) == 0 {
		n = min(n, m.client.Stats().Orphans) // the late reply need not have been read yet
	}
	m.rest(n)
	x.Require(fate != mux.ErrNotSent || m.fates(fate) == 0, "a call was sent after it had failed with ErrNotSent")
}
