package live

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
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

// In HTTP/2 a deadline ends a stream even while nothing is written. A page with a time
// between updates that is longer than the deadline loses no viewer. The streams of one
// connection end independently.
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

// A stream of HTTP/2 that is not read ends; the other streams of its connection go on.
func TestHTTP2Stalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, many(500))
		client := s.over2()
		s.serve()
		open := func() *http.Response {
			r, err := client.Get("http://here/p/events?pool=many")
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		read, stalled := open(), open()
		ended := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, read.Body)
			ended <- err
		}()
		time.Sleep(5 * time.Minute) // more than the window of a stream holds
		s.page.mu.Lock()
		left := len(s.page.viewers)
		s.page.mu.Unlock()
		if left != 1 {
			t.Errorf("there are %d viewers, want the one that reads", left)
		}
		s.page.Close()
		if err := <-ended; err != nil {
			t.Errorf("the stream that is read ends with %v", err)
		}
		stalled.Body.Close()
		read.Body.Close()
		client.CloseIdleConnections()
		s.stop()
	})
}

// A pool may close while it is watched, and one of its name begin: what is seen
// then are its own figures.
func TestPoolCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.page.cfg.Meters = registered
		s.serve()
		var all []*watcher
		for range 20 {
			all = append(all, s.watch("pool=short-lived", 1<<20))
		}
		time.Sleep(defaultEvery / 2) // between two updates
		for life, seconds := range []int{3, 5} {
			m, err := metrics.New("short-lived", metrics.Config{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := resource.New(resource.Config[int]{
				Make: func(context.Context) (int, error) { return 1, nil }, MaxSize: 3 + life, SampleLeases: 1, Trace: m.Trace(nil),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Watch(p); err != nil {
				t.Fatal(err)
			}
			l, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(seconds) * time.Second)
			l.Release()
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			m.Close()
			time.Sleep(time.Second)
		}
		s.page.Close()
		var seen [2]int // by life
		for i, w := range all {
			gone := 0
			for name, d := w.next(); name != ""; name, d = w.next() {
				switch {
				case name == "pools":
				case d["gone"] == true:
					gone++
				default:
					seen[int(d["max"].(float64))-3]++
					if n := d["counts"].(map[string]any)["acquired"]; n != 1.0 {
						t.Errorf("acquired are %v", n)
					}
				}
			}
			if gone == 0 {
				t.Errorf("number %d is not told that it is gone", i)
			}
			w.conn.Close()
		}
		if seen[0] < 20*3 || seen[1] < 20*5 {
			t.Errorf("the two were seen %v times", seen)
		}
		s.stop()
	})
}
