package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime/metrics"
	"slices"
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

// A speaker says one utterance and tells how long it took until that was answered.
type speaker func(ctx context.Context) (time.Duration, error)

// headlineRow has speakers speak for a while, one utterance after the other,
// through a pool and with a dial for each.
func headlineRow(name, scheme string, server *echoPeer) row {
	return row{name, []entrant{
		{"respool", openSpeakers(server, scheme, pooledSpeaker)},
		{"dialling", openSpeakers(server, scheme, diallingSpeaker)},
	}}
}

var chunk = bytes.Repeat([]byte{1}, chunkBytes)

func pooledSpeaker(a address, scheme string) (speaker, func() error, error) {
	p, err := openSockets(a, scheme, func(c *wspool.Config) { c.MaxSize = speakerConns })
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) (took time.Duration, err error) {
		begin := time.Now()
		c, err := p.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		defer func() { c.Fail(err) }()
		err = say(
			func(kind int, p []byte) error { return c.WriteMessage(ctx, kind, p) },
			func() ([]byte, error) { _, got, err := c.ReadMessage(ctx); return got, err },
			chunk,
		)
		return time.Since(begin), err
	}, func() error { return closePool(p) }, nil
}

// diallingSpeaker closes each connection politely, which is not in the time until
// the answer.
func diallingSpeaker(a address, scheme string) (speaker, func() error, error) {
	d, err := a.dialer(scheme)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) (time.Duration, error) {
		begin := time.Now()
		ws, err := d.dial(ctx)
		if err != nil {
			return 0, err
		}
		err = say(
			ws.WriteMessage,
			func() ([]byte, error) { _, got, err := ws.ReadMessage(); return got, err },
			chunk,
		)
		took := time.Since(begin)
		return took, errors.Join(err, closeBare(ws))
	}, func() error { return nil }, nil
}

func headlineGoals(row, scheme string) []goal {
	const than = "dialling"
	return []goal{
		{row: row, work: "100 speakers on 50 connections, beside a dial for each utterance, " + scheme + ": latency p50", metric: "p50 ms", rule: ratioAtMost, bound: claimedLatency, than: than},
		{row: row, work: "  p99", metric: "p99 ms", than: than},
		{row: row, work: "  utterances a second", metric: "op/s", rule: ratioAtLeast, bound: claimedAtOnce, than: than, more: true},
		{row: row, work: "  memory in use, client: garbage left out", metric: "live KiB", rule: ratioAtMost, bound: claimedMemory, than: than},
		{row: row, work: "  allocated for an utterance", metric: "KiB/op", than: than},
		{row: row, work: "  connections made for an utterance", metric: "conns/op", than: than},
	}
}

// openSpeakers makes a session of a way to say one utterance. Each round begins
// without a connection, so that those of a pool count as its memory.
func openSpeakers(server *echoPeer, scheme string, way func(address, string) (speaker, func() error, error)) func(context.Context, size) (session, error) {
	return func(ctx context.Context, s size) (session, error) {
		a, err := server.open(ctx)
		if err != nil {
			return session{}, err
		}
		speech := a.speech(s)
		measure := func(ctx context.Context) (sample, error) {
			heap, stack := memoryInUse() // what others left is gone
			one, end, err := way(speech, scheme)
			if err != nil {
				return nil, err
			}
			got, err := speak(ctx, a, s, one)
			if err == nil {
				err = got.live(ctx, s, heap+stack, one)
			}
			return got, errors.Join(err, end())
		}
		return session{measure: measure, close: server.close}, nil
	}
}

// speak has all of them speak. The first utterance of each begins without a
// connection, whatever the way, and is not in the quantiles.
func speak(ctx context.Context, a address, s size, one speaker) (sample, error) {
	before, err := a.counts(ctx)
	if err != nil {
		return nil, err
	}
	allocated := allocatedNow()
	each := make([][]time.Duration, s.speakers)
	perSec, err := perSecond(ctx, s.speakFor, crewOf(one, each))
	if err != nil {
		return nil, err
	}
	now := allocatedNow()
	after, err := a.counts(ctx)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	all := 0
	for _, of := range each {
		all += len(of)
		took = append(took, of[min(1, len(of)-1):]...)
	}
	slices.Sort(took)
	at := func(share float64) float64 { return millis(took[int(share*float64(len(took)-1))]) }
	return sample{
		"p50 ms": at(0.5), "p99 ms": at(0.99), "op/s": perSec,
		"KiB/op":   float64(now-allocated) / 1024 / float64(all),
		"conns/op": float64(after.Opened-before.Opened) / float64(all),
	}, nil
}

// crewOf are askers who say one each, and note how long that took.
func crewOf(one speaker, each [][]time.Duration) []asker {
	out := make([]asker, len(each))
	for i := range out {
		out[i] = func(ctx context.Context, _ int) error {
			took, err := one(ctx)
			each[i] = append(each[i], took)
			return err
		}
	}
	return out
}

// live has them speak once more, and looks how much memory this process, their
// client, has in use meanwhile, beyond base. That disturbs, so nothing else is
// looked at.
func (x sample) live(ctx context.Context, s size, base float64, one speaker) error {
	half := s.speakFor / 4
	inUse := make(chan float64, 1)
	go func() {
		_ = pause(ctx, half)
		heap, stack := memoryInUse()
		inUse <- heap + stack
	}()
	_, err := perSecond(ctx, 2*half, crewOf(one, make([][]time.Duration, s.speakers)))
	x["live KiB"] = (<-inUse - base) / 1024
	if err == nil && x["live KiB"] <= 0 {
		err = fmt.Errorf("%v KiB in use", x["live KiB"])
	}
	return err
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
func (a address) speech(s size) address {
	q := "/speech?" + url.Values{"handshake": {s.speechHandshake.String()}, "takes": {s.speechTakes.String()}}.Encode()
	a.WS += q
	a.WSS += q
	return a
}
