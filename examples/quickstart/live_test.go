package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/respool/respool/examples/quickstart/scene"
)

// looked is what the tests read of a pool on the live page.
type looked struct {
	Name     string
	Load     struct{ Max, Idle, Leased int }
	Counters struct{ Acquired, Released, Made, Destroyed, Rejected int }
}

// look asks the live page for all pools.
func look(t *testing.T, url string) (pools []looked) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url + "pools.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var answer struct{ Pools []looked }
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Pools
}

// With -live the page shows the pools while they work, and after that until an
// interrupt.
func TestLive(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		defer in.Close()
		code <- scene.Run(ctx, []string{"-live=127.0.0.1:0", "-clients=4", "-utterances=5", "-size=2", "-handshake-delay=0"}, in, in, pooled)
	}()
	lines := bufio.NewReader(out)
	url := ""
	for _, end := range []string{" shows the pools\n", " still shows them; interrupt to end\n"} {
		for got := ""; !strings.HasSuffix(got, end); {
			var err error
			if got, err = lines.ReadString('\n'); err != nil {
				t.Fatalf("%v before a line that ends in %q", err, end)
			}
			if now, ok := strings.CutSuffix(strings.TrimPrefix(got, "live: "), end); ok {
				url = now
			}
		}
		look(t, url)
	}
	pools := look(t, url)
	if len(pools) != 3 || pools[0].Name != "quickstart, burst" || pools[2].Name != "quickstart, pool" {
		t.Fatalf("pools %+v", pools)
	}
	if b := pools[0]; b.Counters.Acquired != 2 || b.Counters.Rejected != 2 {
		t.Errorf("burst: %+v", b)
	}
	if p := pools[2]; p.Counters.Acquired != 20 || p.Counters.Released != 20 || p.Load.Max != 2 || p.Counters.Made != 2 ||
		p.Counters.Destroyed != p.Counters.Made || p.Load.Idle+p.Load.Leased != 0 {
		t.Errorf("pool: %+v", p)
	}
	cancel()
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Error(err)
	}
	if got := <-code; got != 0 {
		t.Errorf("exit %d", got)
	}
	if _, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/debug/pools/")); err == nil {
		t.Error("it still listens")
	}
}

// If the address is in use the program ends before it begins.
func TestLiveTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stdout, stderr bytes.Buffer
	code := scene.Run(t.Context(), []string{"-live=" + l.Addr().String()}, &stdout, &stderr, pooled)
	if code != 1 || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "quickstart: -live: ") {
		t.Errorf("exit %d, %q, %q", code, &stdout, &stderr)
	}
}
