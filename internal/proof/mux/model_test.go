package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
)

// script is a whole test as data.
type script struct {
	maxConns, maxInFlight, growAt int
	replays, final                bool
	ops                           []op
}

// op is one step. n selects its object, modulo their number.
type op struct {
	kind string
	n    int
}

var kinds = []string{
	"call", "call", "call", "call", "idempotent", "idempotent", "nowait", "stream", "stream",
	"reply", "reply", "reply", "reply", "repeat", "unknown", "bad", "part", "part", "part", "end", "close", "cancel", "cancel", "kill", "away", "reset",
}

func drawScript(t *rapid.T) script {
	return script{
		maxConns: rapid.IntRange(1, 3).Draw(t, "max conns"), maxInFlight: rapid.IntRange(1, 4).Draw(t, "max in flight"),
		growAt: rapid.IntRange(1, 4).Draw(t, "grow at"), replays: rapid.Bool().Draw(t, "replays"), final: rapid.Bool().Draw(t, "final"),
		ops: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
			return op{rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.IntRange(0, 11).Draw(t, "n")}
		}), 1, 50).Draw(t, "ops"),
	}
}

// work is a call or a stream. What its goroutine and the server note is guarded by world.mu; the rest
// is the model.
type work struct {
	n                int
	idempotent       bool
	nowait, isStream bool
	cancel           context.CancelFunc

	done  bool // noted by its goroutine
	reply string
	err   error
	st    *mux.Stream
	items []string // parts, "gap", "end"

	got []*receipt // noted by the server

	want    string   // "": it waits; "reply", "canceled", "lost", "closed", "ended"
	expect  []string // of items
	replied string
	seen    int // how many receipts the model has taken in
}

// receipt is a request that the server has read.
type receipt struct {
	w        *work
	on       *link
	id       string
	answered bool // by a reply or an end
	given    bool // its caller has given it up
}

// live reports whether the client awaits a reply.
func (r *receipt) live() bool { return !r.answered && !r.given && !r.on.ended }

// link is a connection of the model.
type link struct {
	p               *peer
	closed          bool // noted by the server
	draining, ended bool
}

type world struct {
	script
	c     *mux.Client
	p     *wspool.Pool
	wrong []string

	// Guarded by mu.
	mu    sync.Mutex
	links []*link
	all   []*work

	late, unknown, bad int64
}

func (w *world) err(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// serve notes what the server reads.
func (w *world) serve(p *peer, kind byte, id, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.links, func(l *link) bool { return l.p == p })
	if i < 0 {
		i = len(w.links)
		w.links = append(w.links, &link{p: p})
	}
	l := w.links[i]
	switch kind {
	case 0:
		l.closed = true
	case 'C':
		var n int
		fmt.Sscanf(text, "work %d", &n)
		k := w.all[n]
		k.got = append(k.got, &receipt{w: k, on: l, id: id})
		if l.draining || l.ended {
			w.err("connection %d got work %d after it began to be drained", p.n, n)
		}
	}
}

// start begins a call or a stream on a goroutine. It is called with mu held.
func (w *world) start(k *work) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	r := mux.Request{Body: fmt.Sprint("work ", k.n), Idempotent: k.idempotent, NoWait: k.nowait}
	w.all = append(w.all, k)
	note := func(f func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	}
	go func() {
		if !k.isStream {
			m, err := w.c.Call(ctx, r)
			note(func() { k.done, k.reply, k.err = true, string(m.Data), err })
			return
		}
		st, err := w.c.Stream(ctx, r, mux.StreamConfig{Resume: func(mux.Message) (mux.Request, bool) { return r, true }})
		note(func() { k.st, k.err, k.done = st, err, err != nil })
		for err == nil {
			var i mux.Item
			i, err = st.Next(context.Background())
			note(func() {
				switch {
				case err != nil:
					k.done, k.err = true, err
				case i.Gap != nil:
					k.items = append(k.items, "gap")
				default:
					_, text, _ := strings.Cut(string(i.Data), " ")
					k.items = append(k.items, text)
				}
			})
		}
	}()
}

// pick returns one of the receipts that are wanted, nil if there is none.
func (w *world) pick(n int, wanted func(*receipt) bool) *receipt {
	var some []*receipt
	for _, k := range w.all {
		for _, r := range k.got {
			if wanted(r) {
				some = append(some, r)
			}
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[n%len(some)]
}

// held returns a connection that the client has.
func (w *world) held(n int, usable bool) *link {
	var some []*link
	for _, l := range w.links {
		if !l.ended && !(usable && l.draining) {
			some = append(some, l)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[n%len(some)]
}

// answer has the server answer r with a message, which the model takes in.
func (w *world) answer(r *receipt, kind, text string) {
	r.on.p.send(kind, r.id, text)
	switch {
	case r.on.ended:
	case r.answered:
		w.late++
	case r.given:
		w.late++
		r.answered = kind != "P"
	case r.w.isStream:
		r.w.expect = append(r.w.expect, text)
		if r.answered = kind != "P"; r.answered {
			r.w.want = "ended"
		}
	default:
		r.answered, r.w.want, r.w.replied = true, "reply", kind+r.id+" "+text
	}
}

// lose takes in that connections have ended, or that streams have left them.
func (w *world) lose(l *link) {
	l.ended = true
	for _, k := range w.all {
		if k.want != "" || len(k.got) == 0 {
			continue
		}
		r := k.got[len(k.got)-1]
		switch {
		case r.on != l || r.answered || r.given:
		case k.isStream:
		case k.idempotent && w.replays && len(k.got) == 1: // ten replays are free, and all calls count
		default:
			k.want = "lost"
		}
	}
}

// step takes one step. The server waits to note what it reads until the model has taken the step in.
func (w *world) step(o op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.all)
	switch o.kind {
	case "call", "idempotent", "nowait", "stream":
		if len(all) < 40 {
			w.start(&work{n: len(all), idempotent: o.kind == "idempotent", nowait: o.kind == "nowait", isStream: o.kind == "stream"})
		}
	case "reply":
		if r := w.pick(o.n, func(r *receipt) bool { return !r.answered && !r.w.isStream }); r != nil {
			w.answer(r, "R", fmt.Sprint("reply ", r.w.n))
		}
	case "part", "end":
		if r := w.pick(o.n, func(r *receipt) bool { return !r.answered && r.w.isStream }); r != nil {
			w.answer(r, map[string]string{"part": "P", "end": "Z"}[o.kind], fmt.Sprint(o.kind, " ", r.w.n, " ", len(r.w.expect)))
		}
	case "repeat":
		if r := w.pick(o.n, func(r *receipt) bool { return r.answered }); r != nil {
			w.answer(r, "R", "repeated")
		}
	case "unknown":
		if l := w.held(o.n, false); l != nil {
			l.p.send("R", "2147483647", "nobody asked")
			w.unknown++
		}
	case "bad":
		if l := w.held(o.n, false); l != nil {
			l.p.send("?", "", "")
			w.bad++
		}
	case "cancel":
		if len(all) > 0 {
			k := all[o.n%len(all)]
			k.cancel()
			if k.want == "" && !k.isStream {
				k.want = "canceled"
				w.give(k)
			} else if k.want == "" && len(k.got) == 0 {
				k.want = "canceled" // the stream was not opened yet
			}
		}
	case "close":
		for i := range all {
			if k := all[(o.n+i)%len(all)]; k.isStream && k.st != nil && k.want == "" {
				k.st.Close()
				k.want = "closed"
				w.give(k)
				break
			}
		}
	case "kill":
		if l := w.held(o.n, false); l != nil {
			l.p.cut()
			w.lose(l)
		}
	case "away":
		if l := w.held(o.n, true); l != nil {
			l.p.send("W", "", "")
			l.draining = true
		}
	case "reset":
		// Work that waits for a connection may still get one of those that are replaced.
		w.mu.Unlock()
		w.p.Reset(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		w.mu.Lock()
		for _, l := range w.links {
			l.draining = true
		}
		for _, k := range all { // those that joined after the reset
			for _, r := range k.got[k.seen:] {
				r.on.draining = false
			}
		}
	}
}

// give takes in that the caller of k waits no more.
func (w *world) give(k *work) {
	if len(k.got) > 0 {
		if r := k.got[len(k.got)-1]; r.live() {
			r.given = true
		}
	}
}

// settle waits until nothing moves, and compares the client with the model.
func (w *world) settle() {
	time.Sleep(10 * time.Second) // streams have been resumed
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	live, orphans := map[*link]int{}, map[*link]int{}
	waiting, streams := 0, 0
	for _, k := range w.all {
		most := 1
		if k.idempotent && w.replays {
			most = 2
		}
		if len(k.got) > most && !k.isStream {
			w.err("work %d was sent %d times", k.n, len(k.got))
		}
		for ; k.seen < len(k.got); k.seen++ {
			if k.seen > 0 && k.isStream {
				k.expect = append(k.expect, "gap")
			}
		}
		if n := len(k.got); k.isStream && n > 0 {
			for i, r := range k.got {
				r.given = r.given || !r.answered && (i < n-1 || r.on.draining) // the stream has moved, or waits
			}
		}
		for _, r := range k.got {
			switch {
			case r.live():
				live[r.on]++
			case !r.answered && !r.on.ended && !w.final:
				orphans[r.on]++
			}
		}
		w.outcome(k)
		if k.want == "" {
			if len(k.got) == 0 || !k.got[len(k.got)-1].live() {
				waiting++
			} else if k.isStream {
				streams++
			}
		}
	}
	for _, l := range w.links {
		if l.draining && live[l] == 0 {
			l.ended = true
		}
		if l.ended && !l.closed {
			w.err("connection %d has nothing left and is still held", l.p.n)
		}
		if l.closed && !l.ended {
			w.err("connection %d was closed in use", l.p.n)
		}
	}
	w.compare(live, orphans, waiting, streams)
}

// outcome compares the reply or error that the caller of k got with the model.
func (w *world) outcome(k *work) {
	if k.isStream && !slices.Equal(k.items, k.expect) {
		w.err("stream %d got %q, want %q", k.n, k.items, k.expect)
	}
	if k.want == "" && k.nowait && k.done && errors.Is(k.err, mux.ErrBusy) && len(k.got) == 0 {
		k.want = "busy"
	}
	switch k.want {
	case "":
		if k.done {
			w.err("work %d has ended with %q, %v; the model awaits a reply", k.n, k.reply, k.err)
		}
		return
	case "busy":
		return
	}
	if !k.done {
		w.err("work %d has not ended; the model says %s", k.n, k.want)
		return
	}
	fate := mux.ErrNotSent
	if len(k.got) > 0 {
		fate = mux.ErrMayHaveRun
	}
	var ok bool
	switch k.want {
	case "reply":
		ok = k.err == nil && k.reply == k.replied
	case "ended":
		ok = k.err == io.EOF
	case "closed":
		ok = k.err == mux.ErrStreamClosed
	case "canceled":
		ok = errors.Is(k.err, fate) && errors.Is(k.err, context.Canceled)
	case "lost":
		ok = errors.Is(k.err, mux.ErrMayHaveRun) && !errors.Is(k.err, mux.ErrNotSent)
	}
	if !ok {
		w.err("work %d, sent %d times, has ended with %q, %v; the model says %s %q", k.n, len(k.got), k.reply, k.err, k.want, k.replied)
	}
}

// compare compares the levels and counters.
func (w *world) compare(live, orphans map[*link]int, waiting, streams int) {
	s := w.c.Stats()
	equal := func(name string, client, model int64) {
		if client != model {
			w.err("%s is %d in the client and %d in the model; %+v", name, client, model, s)
		}
	}
	total, given, usable, full := 0, 0, 0, 0
	for _, l := range w.links {
		if l.ended {
			continue
		}
		total += live[l]
		given += orphans[l]
		if !l.draining {
			if usable++; live[l] >= w.maxInFlight {
				full++
			}
		}
		if live[l] > w.maxInFlight {
			w.err("%d are in flight on connection %d", live[l], l.p.n)
		}
	}
	equal("InFlight", int64(s.InFlight), int64(total))
	equal("Orphans", int64(s.Orphans), int64(given))
	equal("Waiting", int64(s.Waiting), int64(waiting))
	equal("Streams", int64(s.Streams), int64(streams))
	equal("Bad", s.Bad, w.bad)
	equal("Unknown", s.Unknown, w.unknown)
	equal("Late", s.Late, w.late)
	if usable > w.maxConns {
		w.err("%d connections take calls", usable)
	}
	if waiting > 0 && (usable < w.maxConns || full < usable) {
		w.err("%d wait, and of %d connections %d are full", waiting, usable, full)
	}
}

// prove runs s and returns the violations; nil if there are none.
func prove(t *testing.T, s script) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.Join(err, fmt.Errorf("the bubble ended with: %v", r))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w := &world{script: s}
		server, stop := listen(w.serve)
		cfg := mux.Config{
			Codec: codec{}, MaxConns: s.maxConns, MaxInFlight: s.maxInFlight, GrowAt: s.growAt, MaxOrphans: 1000,
			OrphanWait: -1, IdleAfter: -1, DrainWait: 1000 * time.Hour, ReplayRatio: -1,
		}
		if s.final {
			cfg.Codec = final{}
		}
		if s.replays {
			cfg.ReplayRatio = 1
		}
		var closeAll func() error
		w.c, w.p, closeAll = open(t, server, cfg)
		for i, o := range s.ops {
			w.step(o)
			if w.settle(); len(w.wrong) > 0 {
				w.wrong = append([]string{fmt.Sprintf("after step %d, %s(%d):", i, o.kind, o.n)}, w.wrong...)
				break
			}
		}
		w.mu.Lock()
		for _, k := range w.all {
			k.cancel()
			if k.st != nil {
				k.st.Close()
			}
		}
		w.mu.Unlock()
		synctest.Wait()
		if err := closeAll(); err != nil {
			w.err("Close: %v", err)
		}
		stop()
		if n := w.c.Stats(); n.InFlight+n.Waiting+n.Streams+n.Orphans+len(n.Conns) > 0 {
			w.err("after Close: %+v", n)
		}
		if len(w.wrong) > 0 {
			err = errors.New(strings.Join(w.wrong, "\n"))
		}
	})
	return err
}

// TestModel checks the client in random scripts.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawScript(r)
		if err := prove(t, s); err != nil {
			r.Fatalf("%v\nin the script\n%+v", err, s)
		}
	})
}
