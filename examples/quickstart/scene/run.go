package scene

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/metrics"
)

// closeTimeout bounds the closing of a side.
const closeTimeout = 10 * time.Second

// run is one run of the scene.
type run struct {
	set      setting
	seed     uint32
	open     Open
	cert     *certificate // nil: no TLS
	progress *progress
	res      *result
	meters   []*metrics.Meter // closed at the end: -live shows closed pools too
}

// Run plays the scene with the flags in args, as [Main] does, and returns the exit
// status. After ctx has ended no client begins an utterance; those in progress finish,
// and Run reports what was done.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, open Open) int {
	set, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(stdout)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "quickstart: %v\n(-h shows all flags)\n", err)
		return 2
	}
	r := &run{set: set, seed: rand.Uint32(), open: open, progress: newProgress(stdout), res: &result{}}
	if set.json {
		r.progress = newProgress(stderr)
	}
	linger, err := r.live(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "quickstart: %v\n", err)
		return 1
	}
	stop := context.AfterFunc(ctx, func() {
		r.progress.note("interrupted: finishing the utterances in progress; interrupt again to abort")
	})
	r.play(ctx)
	stop()
	defer r.forget()
	defer linger()
	if !set.json {
		r.res.print(stdout)
		return r.res.Exit
	}
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r.res); err != nil {
		fmt.Fprintf(stderr, "quickstart: %v\n", err)
		return 1
	}
	return r.res.Exit
}

// play plays the parts one after the other, up to the first that fails.
func (r *run) play(ctx context.Context) {
	r.res.Setting = r.set.result(r.seed)
	err := r.parts(ctx)
	if err != nil {
		r.problem("%v", err)
	}
	if r.res.Pool != nil && r.res.Dial != nil {
		r.res.Ratio = ratios(r.res.Pool, r.res.Dial)
	}
	r.res.Interrupted = ctx.Err() != nil
	r.res.OK = len(r.res.Problems) == 0
	switch {
	case !r.res.OK:
		r.res.Exit = 1
	case r.res.Interrupted:
		r.res.Exit = 130
	}
}

func (r *run) parts(ctx context.Context) (err error) {
	if r.set.tls {
		if r.cert, err = newCertificate(); err != nil {
			return err
		}
	}
	if r.res.Pool, err = r.half(ctx, "pool", r.open, r.set.utterances); err != nil || ctx.Err() != nil {
		return err
	}
	if r.res.Cold, err = r.half(ctx, "cold", r.openCold, 1); err != nil || ctx.Err() != nil {
		return err
	}
	if r.res.Dial, err = r.half(ctx, "dial", dialed, r.set.utterances); err != nil || ctx.Err() != nil {
		return err
	}
	return r.burst(ctx)
}

// stage is the server of a part; srv is nil if it is not the embedded one.
type stage struct {
	Server
	srv *server
}

// server returns a new embedded server, so that each part counts its own connections, or
// the user's.
func (r *run) server() (at stage, stop func(), err error) {
	if r.set.url != "" {
		return stage{Server: Server{URL: r.set.url, Size: r.set.size}}, func() {}, nil
	}
	srv, err := startServer(r.set, r.cert)
	if err != nil {
		return stage{}, nil, err
	}
	return stage{Server: srv.at, srv: srv}, srv.stop, nil
}

// openCold opens the pool and does not warm it.
func (r *run) openCold(s Server) (Side, error) {
	side, err := r.open(s)
	side.Warm = nil
	return side, err
}

// half has all clients say so many utterances through one side at once and measures
// it. The side is warm if it can be: its first dials are not in the latencies, but
// are in the other figures.
func (r *run) half(ctx context.Context, name string, open Open, utterances int) (*half, error) {
	at, stop, err := r.server()
	if err != nil {
		return nil, err
	}
	defer stop()
	if at.Meter, err = r.meter(name); err != nil {
		return nil, err
	}
	side, err := open(at.Server)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var done atomic.Int64
	all := crowd(r.set, r.seed, name, r.set.clients, utterances, &done)
	mem := watchMemory()
	r.warm(ctx, side)
	shown := r.progress.watch(name, r.set.clients*utterances, &done)
	begun := time.Now()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.talk(ctx, side, utterances) })
	}
	wg.Wait()
	took := time.Since(begun)
	peak, allocated := mem.stop()
	shown()
	r.close(name, side)

	h, err := sum(all, took)
	if err != nil {
		r.problem("%s: %v", name, err)
	}
	h.HeapPeak, h.Allocated = peak, allocated
	stats := side.Stats()
	h.Dials, h.Waits = stats.Made, stats.Waited
	if at.srv != nil {
		answered := at.srv.answered.Load()
		accepted, peak := at.srv.conns.counts()
		h.Answered, h.Accepted, h.PeakConnections = &answered, &accepted, &peak
	}
	return h, r.addsUp(ctx, name, h, r.set.clients*utterances)
}

// warm warms a side. If that fails the clients find out why: they dial on demand.
func (r *run) warm(ctx context.Context, side Side) {
	if side.Warm == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.set.timeout)
	defer cancel()
	begun := time.Now()
	if err := side.Warm(ctx); err != nil {
		r.progress.note("warming: %v", err)
		return
	}
	r.progress.note("warming: %d dials in %.1f ms", side.Stats().Made, milliseconds(time.Since(begun)))
}

// addsUp reports what is wrong with a half of so many utterances. The error says that
// there is no point in going on.
func (r *run) addsUp(ctx context.Context, name string, h *half, all int) error {
	if bad := h.Wrong + h.Lost + h.Refused; bad > 0 {
		r.problem("%s: %d of %d utterances without a right reply: %d wrong, %d lost, %d refused",
			name, bad, h.Asked, h.Wrong, h.Lost, h.Refused)
	} else if ctx.Err() == nil && h.Replies != all {
		r.problem("%s: %d replies to %d utterances", name, h.Replies, all)
	}
	if h.Answered != nil && *h.Answered != int64(h.Replies+h.Wrong) {
		r.problem("%s: the server answered %d utterances, the clients saw %d replies",
			name, *h.Answered, h.Replies+h.Wrong)
	}
	if h.Accepted != nil && *h.Accepted < h.Dials {
		r.problem("%s: %d dials, but the server accepted %d connections", name, h.Dials, *h.Accepted)
	}
	if h.Replies == 0 && ctx.Err() == nil {
		return fmt.Errorf("%s: no utterance had a right reply", name)
	}
	return nil
}

// close closes a side. It is a problem if that takes too long.
func (r *run) close(name string, side Side) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := side.Close(ctx); err != nil {
		r.problem("%s: %v", name, err)
	}
}

func (r *run) problem(format string, args ...any) {
	r.res.Problems = append(r.res.Problems, fmt.Sprintf(format, args...))
}

func (s *setting) result(seed uint32) settingResult {
	out := settingResult{
		Clients: s.clients, Utterances: s.utterances, Chunks: s.chunks, ChunkBytes: s.chunkBytes,
		Size: s.size, TLS: s.tls, Seed: seed, Server: "embedded",
		HandshakeDelayMS: milliseconds(s.handshake), InferenceDelayMS: milliseconds(s.inference),
	}
	if s.url != "" {
		u, _ := url.Parse(s.url) // check has parsed it
		out.Server = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
		out.TLS, out.HandshakeDelayMS, out.InferenceDelayMS = u.Scheme == "wss", 0, 0
	}
	return out
}
