package main

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/respool/respool/examples/quickstart/scene"
)

// asMain in the environment makes the test binary the program itself.
const asMain = "QUICKSTART_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// half and result are the part of the JSON that the tests read.
type half struct {
	Asked, Replies, Wrong, Lost, Refused, Unchecked int
	Dials, Waits                                    int
	Peak                                            *int `json:"peak_connections"`
	Accepted                                        *int `json:"accepted_connections"`
	Answered                                        *int `json:"answered_utterances"`
}

type result struct {
	Pool, Dial  *half
	Cold        *half
	Ratio       map[string]float64
	Burst       *struct{ Callers, Limit, Accepted, Refused, Lost int }
	Interrupted bool
	Problems    []string
	OK          bool
	Exit        int
}

// play runs the scene with the program's own pool and returns what -json prints.
func play(t *testing.T, ctx context.Context, args ...string) (int, result) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	small := []string{"-json", "-clients=8", "-utterances=5", "-chunks=3", "-chunk-bytes=64", "-size=3"}
	code := scene.Run(ctx, append(small, args...), &stdout, &stderr, pooled)
	var res result
	if err := json.Unmarshal(stdout.Bytes(), &res); err != nil {
		t.Fatalf("exit %d, not JSON: %v\n%s\n%s", code, err, &stdout, &stderr)
	}
	if res.Exit != code {
		t.Errorf("exit %d, but the result says %d", code, res.Exit)
	}
	if !strings.Contains(stderr.String(), "pool: ") {
		t.Errorf("no progress on standard error: %q", &stderr)
	}
	return code, res
}

func TestScene(t *testing.T) {
	for _, flags := range [][]string{
		{"-handshake-delay=1ms", "-inference-delay=1ms"},
		{"-handshake-delay=0", "-inference-delay=0"},
		{"-handshake-delay=0", "-inference-delay=0", "-tls"},
		{"-handshake-delay=0", "-inference-delay=0", "-clients=1", "-utterances=1", "-size=1", "-chunks=1"},
	} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			code, res := play(t, t.Context(), flags...)
			if code != 0 || !res.OK || res.Interrupted || len(res.Problems) > 0 {
				t.Fatalf("exit %d, %+v", code, res)
			}
			reconcile(t, res)
		})
	}
}

// reconcile compares the counts of a run without faults with each other.
func reconcile(t *testing.T, res result) {
	t.Helper()
	clients, utterances, size := 8, 5, 3
	if res.Pool.Asked == 1 {
		clients, utterances, size = 1, 1, 1
	}
	all := clients * utterances
	for name, h := range map[string]*half{"pool": res.Pool, "dial": res.Dial} {
		if h.Asked != all || h.Replies != all || *h.Answered != all {
			t.Errorf("%s: %d asked, %d answered, %d replies, want %d", name, h.Asked, *h.Answered, h.Replies, all)
		}
		if h.Wrong+h.Lost+h.Refused+h.Unchecked != 0 {
			t.Errorf("%s: %+v", name, *h)
		}
	}
	p, d := res.Pool, res.Dial
	if res.Cold.Replies != clients || res.Cold.Dials < 1 || res.Cold.Dials > size {
		t.Errorf("cold: %+v", *res.Cold)
	}
	if p.Dials != size || p.Dials > size || *p.Accepted < p.Dials || *p.Peak < 1 || *p.Peak > size {
		t.Errorf("pool of %d: %d dials, %d accepted, peak %d", size, p.Dials, *p.Accepted, *p.Peak)
	}
	if d.Dials != all || *d.Accepted != all || *d.Peak < 1 {
		t.Errorf("dial: %d dials, %d accepted, peak %d", d.Dials, *d.Accepted, *d.Peak)
	}
	if q := res.Ratio["dials"]; q != float64(p.Dials)/float64(d.Dials) {
		t.Errorf("ratio of dials %v", q)
	}
	b := res.Burst
	callers := max(clients, 2)
	if b.Callers != callers || b.Limit != size || b.Accepted != size || b.Refused != callers-size || b.Lost != 0 {
		t.Errorf("burst: %+v", *b)
	}
}

// fault is how a server of the user's treats its n-th utterance, from 1. It returns the
// reply, nil for none.
type fault func(n int64, id string, heard []byte, chunks int) any

func honest(_ int64, id string, heard []byte, chunks int) any {
	return map[string]any{"utterance": id, "chunks": chunks, "bytes": len(heard), "crc32": crc32.ChecksumIEEE(heard)}
}

// serve starts a server that speaks the documented protocol in its own words.
func serve(t *testing.T, f fault) (url string) {
	var handlers sync.WaitGroup
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			var begin struct {
				Utterance string
				Chunks    int
			}
			if ws.ReadJSON(&begin) != nil {
				return
			}
			var heard []byte
			for range begin.Chunks {
				_, chunk, err := ws.ReadMessage()
				if err != nil {
					return
				}
				heard = append(heard, chunk...)
			}
			reply := f(n.Add(1), begin.Utterance, heard, begin.Chunks)
			if reply != nil && ws.WriteJSON(reply) != nil {
				return
			}
		}
	}))
	t.Cleanup(func() {
		srv.Close()
		handlers.Wait() // each returns when its client has closed
	})
	return "ws" + strings.TrimPrefix(srv.URL, "http") + "/speech?key=secret"
}

func TestOwnServer(t *testing.T) {
	code, res := play(t, t.Context(), "-url="+serve(t, honest))
	if code != 0 || res.Pool.Replies != 40 || res.Dial.Replies != 40 || res.Pool.Unchecked != 0 || res.Burst.Accepted != 3 {
		t.Errorf("exit %d, %+v", code, res)
	}
	if res.Pool.Peak != nil || res.Dial.Peak != nil {
		t.Error("peak connections of another server are reported")
	}
}

// A server whose replies name no utterance can be used; they count as unchecked.
func TestOwnServerUnchecked(t *testing.T) {
	code, res := play(t, t.Context(), "-url="+serve(t, func(int64, string, []byte, int) any { return "hello" }))
	if code != 0 || res.Pool.Replies != 40 || res.Pool.Unchecked != 40 || res.Dial.Unchecked != 40 {
		t.Errorf("exit %d, %+v %+v", code, res.Pool, res.Dial)
	}
}

func TestWrongReply(t *testing.T) {
	for name, f := range map[string]fault{
		"id": func(n int64, id string, heard []byte, chunks int) any {
			if n == 7 {
				id = "another"
			}
			return honest(n, id, heard, chunks)
		},
		"audio": func(n int64, id string, heard []byte, chunks int) any {
			if n == 7 {
				heard[len(heard)-1]++
			}
			return honest(n, id, heard, chunks)
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, res := play(t, t.Context(), "-url="+serve(t, f))
			if code != 1 || res.OK || res.Pool.Wrong != 1 || res.Pool.Replies != 39 || res.Dial.Wrong != 0 {
				t.Errorf("exit %d, %+v", code, res)
			}
			if !strings.Contains(strings.Join(res.Problems, "\n"), "wrong reply") {
				t.Errorf("problems %q", res.Problems)
			}
		})
	}
}

// The server does not reply to one utterance: its client times out, the others do not.
func TestLostReply(t *testing.T) {
	code, res := play(t, t.Context(), "-timeout=1s", "-url="+serve(t, func(n int64, id string, heard []byte, chunks int) any {
		if n == 7 {
			return nil
		}
		return honest(n, id, heard, chunks)
	}))
	if code != 1 || res.OK || res.Pool.Lost < 1 || res.Pool.Asked != res.Pool.Replies+res.Pool.Lost {
		t.Errorf("exit %d, %+v", code, res)
	}
	if !strings.Contains(strings.Join(res.Problems, "\n"), context.DeadlineExceeded.Error()) {
		t.Errorf("problems %q", res.Problems)
	}
}

func TestNoServer(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	url := "ws" + strings.TrimPrefix(srv.URL, "http") + "/?key=secret"
	srv.Close()
	code, res := play(t, t.Context(), "-url="+url)
	if code != 1 || res.Pool.Replies != 0 || res.Pool.Lost != 8 || res.Dial != nil {
		t.Errorf("exit %d, %+v %+v", code, res.Pool, res.Dial)
	}
	if p := strings.Join(res.Problems, "\n"); p == "" || strings.Contains(p, "secret") {
		t.Errorf("problems %q", p)
	}
}

// After an interrupt the utterances in progress finish and none begins; the result says so.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	code, res := play(t, ctx, "-utterances=100000", "-url="+serve(t, func(n int64, id string, heard []byte, chunks int) any {
		if n == 20 {
			cancel()
		}
		return honest(n, id, heard, chunks)
	}))
	p := res.Pool
	if code != 130 || !res.Interrupted || !res.OK || p.Asked != p.Replies || p.Replies < 20 || p.Replies >= 800000 {
		t.Errorf("exit %d, %+v %+v", code, res, p)
	}
	if res.Dial != nil || res.Burst != nil {
		t.Error("went on after the interrupt")
	}
}

// The text is what a newcomer sees: lines in a pipe, then the table.
func TestTable(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := scene.Run(t.Context(), []string{"-clients=4", "-utterances=2", "-size=2", "-handshake-delay=1ms"}, &stdout, &stderr, pooled)
	if code != 0 || stderr.Len() > 0 {
		t.Errorf("exit %d, standard error %q", code, &stderr)
	}
	at := 0
	for _, want := range []string{
		"pool: 8 of 8 utterances (100 %)", "dial: 8 of 8 utterances (100 %)", "dial per utterance  pool / dial\n",
		"utterances/s", "latency p50", "latency p95", "latency p99", "latency p99, cold pool", "dials", "peak connections at the server",
		"waits for a connection", "refusals", "heap in use at peak", "wrong or lost replies",
		"Burst: 4 callers at once, admission limit 2: 2 accepted + 2 refused = 4.", "Simulated:", "All 22 replies were right",
	} {
		i := strings.Index(stdout.String()[at:], want)
		if i < 0 {
			t.Fatalf("%q is not in its place in\n%s", want, &stdout)
		}
		at += i
	}
	for line := range strings.SplitSeq(stdout.String(), "\n") {
		if len(line) >= 80 || strings.Contains(line, "\r") {
			t.Errorf("not a plain line of 80 columns: %q", line)
		}
	}
}
