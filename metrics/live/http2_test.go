package live

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
)

// over2 is s for HTTP/2, and a client of it.
func (s *site) over2() *http.Client {
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	s.srv.Protocols = only
	return &http.Client{Transport: &http.Transport{Protocols: only, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := memnet.Pipe(1 << 20)
		s.conns <- theirs
		return ours, nil
	}}}
}

// In HTTP/2 a deadline ends a stream even if nothing is being written: so a page
// that is updated less often than a viewer may take for a frame loses nobody.
// All of one connection are streams of it, and one that ends leaves the others.
func TestHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sample())
		s.page.cfg.Every = 3 * slowest
		client := s.over2()
		s.serve()
		var streams []*http.Response
		for range 3 {
			r, err := client.Get("http://here/p/events?pool=speech")
			if err != nil {
				t.Fatal(err)
			}
			if r.ProtoMajor != 2 {
				t.Fatalf("it is %s", r.Proto)
			}
			streams = append(streams, r)
		}
		streams[2].Body.Close()
		for i, r := range streams[:2] {
			in := bufio.NewScanner(r.Body)
			in.Buffer(nil, 1<<20)
			for n := 0; n < 4; {
				if !in.Scan() {
					t.Fatalf("stream %d ends after %d updates, and %v", i, n, in.Err())
				}
				if strings.HasPrefix(in.Text(), "event: pool\n") || in.Text() == "event: pool" {
					n++
				}
			}
		}
		for _, r := range streams[:2] {
			r.Body.Close()
		}
		synctest.Wait()
		client.CloseIdleConnections()
		s.stop()
	})
}

// A connection that served a stream is not used again: a deadline of the stream
// would be left on it.
func TestLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sample())
		s.srv.ReadTimeout, s.srv.WriteTimeout = 0, 0
		s.serve()
		w := s.watch("", 1<<20)
		w.next()
		s.page.Close()
		if name, _ := w.next(); name != "" {
			t.Errorf("after Close came %q", name)
		}
		time.Sleep(2 * slowest)
		if _, err := w.conn.Write([]byte("GET /p/ HTTP/1.1\r\nHost: here\r\n\r\n")); err == nil {
			if r, err := http.ReadResponse(w.in, nil); err == nil {
				t.Errorf("the connection goes on, with %s", r.Status)
			}
		}
		w.conn.Close()
		s.stop()
	})
}
