package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// What the users of this project claimed when they chose a pool for audio that
// streams to an inference server: half the latency, 30 % less memory, twice as
// much at once. Beside a dial for each utterance.
const (
	claimedLatency = 0.5
	claimedMemory  = 0.7
	claimedAtOnce  = 2

	speakerConns = 50   // what they share
	chunks       = 10   // of an utterance
	chunkBytes   = 3200 // 100 ms of 16 kHz, 16 bit
)

// say is one utterance over a connection: its chunks, that it is over, the answer.
func say(write func(kind int, p []byte) error, read func() ([]byte, error), chunk []byte) error {
	for range chunks {
		if err := write(websocket.BinaryMessage, chunk); err != nil {
			return err
		}
	}
	if err := write(websocket.TextMessage, question); err != nil {
		return err
	}
	return answered(read())
}

// headlineRow has speakers speak for a while, one utterance after the other,
// through a pool and with a dial for each.
func headlineRow(name, scheme string, server *echoPeer) row {
	chunk := bytes.Repeat([]byte{1}, chunkBytes)
	pooled := func(ctx context.Context, a address, s size) (asker, func() error, error) {
		p, err := openSockets(a, scheme, func(c *wspool.Config) {
			c.URL = a.speech(scheme, s)
			c.MaxSize = speakerConns
		})
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, _ int) (err error) {
			c, err := p.Acquire(ctx)
			if err != nil {
				return err
			}
			defer func() { c.Fail(err) }()
			return say(
				func(kind int, p []byte) error { return c.WriteMessage(ctx, kind, p) },
				func() ([]byte, error) { _, got, err := c.ReadMessage(ctx); return got, err },
				chunk,
			)
		}, func() error { return closePool(p) }, nil
	}
	dialling := func(_ context.Context, a address, s size) (asker, func() error, error) {
		a.WS, a.WSS = a.speech("ws", s), a.speech("wss", s)
		return func(ctx context.Context, _ int) error {
			ws, err := dialBare(ctx, a, scheme, nil)
			if err != nil {
				return err
			}
			err = say(
				ws.WriteMessage,
				func() ([]byte, error) { _, got, err := ws.ReadMessage(); return got, err },
				chunk,
			)
			return errors.Join(err, closeBare(ws))
		}, func() error { return nil }, nil
	}
	return row{name, []entrant{
		{"respool", openSpeakers(server, pooled)},
		{"dialling", openSpeakers(server, dialling)},
	}}
}

func headlineGoals(row, scheme string) []goal {
	const than = "dialling"
	return []goal{
		{row: row, work: "100 speakers on 50 connections, beside a dial for each utterance, " + scheme + ": latency p50", metric: "p50 ms", rule: ratioAtMost, bound: claimedLatency, than: than},
		{row: row, work: "  p99", metric: "p99 ms", than: than},
		{row: row, work: "  utterances a second", metric: "op/s", rule: ratioAtLeast, bound: claimedAtOnce, than: than, more: true},
		{row: row, work: "  memory in use, client", metric: "live KiB", rule: ratioAtMost, bound: claimedMemory, than: than},
		{row: row, work: "  allocated for an utterance", metric: "KiB/op", than: than},
		{row: row, work: "  connections made for an utterance", metric: "conns/op", than: than},
	}
}

// openSpeakers makes a session of a way to say one utterance. Each round begins
// without a connection, so that those of a pool count as its memory.
func openSpeakers(server *echoPeer, way func(context.Context, address, size) (asker, func() error, error)) func(context.Context, size) (session, error) {
	return func(ctx context.Context, s size) (session, error) {
		a, err := server.open(ctx)
		if err != nil {
			return session{}, err
		}
		measure := func(ctx context.Context) (sample, error) {
			heap, stack := memoryInUse() // what others left is gone
			ask, end, err := way(ctx, a, s)
			if err != nil {
				return nil, err
			}
			got, err := speak(ctx, a, s, heap+stack, ask)
			return got, errors.Join(err, end())
		}
		return session{measure: measure, close: server.close}, nil
	}
}

// speak has all of them speak and looks how long each utterance took, and how
// much memory this process, their client, has in use halfway, beyond base.
func speak(ctx context.Context, a address, s size, base float64, ask asker) (sample, error) {
	before, err := a.counts(ctx)
	if err != nil {
		return nil, err
	}
	allocated := allocatedNow()
	spoken, stop := context.WithCancel(ctx)
	live := make(chan float64, 1)
	go func() {
		_ = pause(spoken, s.speakFor/2)
		heap, stack := memoryInUse()
		live <- heap + stack
	}()

	var mu sync.Mutex
	var took []time.Duration
	perSec, err := perSecond(ctx, s.speakFor, slices.Repeat([]asker{func(ctx context.Context, n int) error {
		begin := time.Now()
		err := ask(ctx, n)
		d := time.Since(begin)
		mu.Lock()
		defer mu.Unlock()
		took = append(took, d)
		return err
	}}, s.speakers))
	stop()
	inUse := <-live
	if err != nil {
		return nil, err
	}
	now := allocatedNow()
	after, err := a.counts(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	n := float64(len(took))
	at := func(share float64) float64 { return millis(took[int(share*(n-1))]) }
	return sample{
		"p50 ms": at(0.5), "p99 ms": at(0.99), "op/s": perSec,
		"live KiB": max(0, inUse-base) / 1024,
		"KiB/op":   float64(now-allocated) / 1024 / n,
		"conns/op": float64(after.Opened-before.Opened) / n,
	}, nil
}

// allocatedNow is how many bytes were ever allocated.
func allocatedNow() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// speech is where the server listens to an utterance before it answers: a
// handshake takes as long as a network would take, and so does it to find an
// answer.
func (a address) speech(scheme string, s size) string {
	q := url.Values{"handshake": {s.speechHandshake.String()}, "takes": {s.speechTakes.String()}}
	return fmt.Sprintf("%s/speech?%s", a.url(scheme), q.Encode())
}
