package suite

import (
	"bytes"
	"context"
	"errors"
	"runtime/metrics"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/bench/peer"
)

// The users of this project chose a pool for audio that streams to an inference server,
// and claimed half the latency, 30 % less memory and twice the throughput of a dial for
// each utterance.
const (
	claimedLatency    = 0.5
	claimedMemory     = 0.7
	claimedThroughput = 2

	speakers     = 100
	speakFor     = 2 * time.Second
	speakerConns = 50   // connections of the pool
	chunks       = 10   // of an utterance
	chunkBytes   = 3200 // 100 ms of 16 kHz, 16 bit
)

var chunk = bytes.Repeat([]byte{1}, chunkBytes)

// say is one utterance: its chunks, a text that ends it, the reply.
func say(write func(kind int, p []byte) error, read func() (int, []byte, error)) {
	for range chunks {
		check(write(websocket.BinaryMessage, chunk))
	}
	check(write(websocket.TextMessage, question))
	_, got, err := read()
	answered(got, err)
}

// A speaker says one utterance and returns the time until its reply.
type speaker func(ctx context.Context) time.Duration

// headlineRow has speakers speak for a while, one utterance after the other, through a
// pool and with a dial for each utterance.
func headlineRow(scheme string, s size) row {
	one := func(name string, open func(x *setup, a address) speaker) entrant {
		return entrant{name, func(x *setup) measurement {
			a := x.server()
			// Each round begins without a connection, so that those of a pool count as
			// its memory.
			return perRound(func(x *setup) sample {
				before := memoryInUse()
				speak := open(x, speech(a, s))
				got := speakAll(x.ctx, a, s, speak)
				got["live KiB"] = liveMemory(x.ctx, s, before, speak)
				return got
			})(x)
		}}
	}
	const than = "dialing"
	return row{name: scheme + "-headline", entrants: []entrant{
		one("respool", func(x *setup, a address) speaker {
			p := x.sockets(a, scheme, speakerConns, nil)
			return func(ctx context.Context) time.Duration {
				begin := time.Now()
				c := must(p.Acquire(ctx))
				err := attempt(func() {
					say(func(kind int, p []byte) error { return c.WriteMessage(ctx, kind, p) },
						func() (int, []byte, error) { return c.ReadMessage(ctx) })
				})
				took := time.Since(begin)
				c.Fail(err)
				check(err)
				return took
			}
		}),
		one("dialing", func(_ *setup, a address) speaker {
			d := dialer(a, scheme)
			return func(ctx context.Context) time.Duration {
				begin := time.Now()
				ws := d.dial(ctx)
				err := attempt(func() { say(ws.WriteMessage, ws.ReadMessage) })
				took := time.Since(begin) // without the closing handshake
				check(errors.Join(err, closeGorilla(ws)))
				return took
			}
		}),
	}, figures: []figure{
		{work: "100 speakers on 50 connections, beside a dial for each utterance, " + scheme + ": latency p50", metric: "p50 ms", rule: ratioAtMost, bound: claimedLatency, than: than},
		{work: "  p99", metric: "p99 ms", than: than},
		{work: "  utterances a second", metric: "op/s", rule: ratioAtLeast, bound: claimedThroughput, than: than, more: true},
		{work: "  memory in use at the client, without garbage", metric: "live KiB", rule: ratioAtMost, bound: claimedMemory, than: than},
		{work: "  allocated for an utterance", metric: "KiB/op", than: than},
		{work: "  connections opened for an utterance", metric: "conns/op", than: than},
	}}
}

// speakAll has all speakers speak. The first utterance of each begins without a
// connection either way, and is not in the quantiles.
func speakAll(ctx context.Context, a address, s size, speak speaker) sample {
	opened, allocated := must(a.Counts(ctx)).Opened, allocatedNow()
	each := make([][]float64, s.count(speakers))
	perSec := perSecond(s.count(speakers), s.time(speakFor), func(i int) { each[i] = append(each[i], millis(speak(ctx))) })
	allocated = allocatedNow() - allocated
	opened = must(a.Counts(ctx)).Opened - opened
	var took []float64
	all := 0.0
	for _, of := range each {
		all += float64(len(of))
		took = append(took, of[min(1, len(of)-1):]...)
	}
	return sample{
		"p50 ms": quantile(took, 0.5), "p99 ms": quantile(took, 0.99), "op/s": perSec,
		"KiB/op": float64(allocated) / 1024 / all, "conns/op": float64(opened) / all,
	}
}

// liveMemory has the speakers speak once more, and returns how much memory this process,
// their client, uses meanwhile beyond base. Looking at it disturbs the speakers: nothing
// else is measured meanwhile.
func liveMemory(ctx context.Context, s size, base float64, speak speaker) float64 {
	half := s.time(speakFor) / 4
	inUse := make(chan float64, 1)
	go func() {
		_ = peer.Pause(ctx, half)
		inUse <- memoryInUse()
	}()
	err := attempt(func() { perSecond(s.count(speakers), 2*half, func(int) { speak(ctx) }) })
	kib := (<-inUse - base) / 1024
	check(err)
	failIf(kib <= 0, "%v KiB in use, want more than 0", kib)
	return kib
}

// allocatedNow is how many bytes this process has allocated so far.
func allocatedNow() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
