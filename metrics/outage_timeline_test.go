package metrics_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// lineServer echoes lines on a TCP port, which it keeps over stops and starts.
type lineServer struct {
	address string
	serving sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	down     bool
	conns    map[net.Conn]struct{}
}

func newLineServer(t *testing.T) *lineServer {
	s := &lineServer{address: "127.0.0.1:0", conns: make(map[net.Conn]struct{})}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	s.address = s.listener.Addr().String()
	t.Cleanup(func() { s.stop(); s.serving.Wait() })
	return s
}

func (s *lineServer) start() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.listener, s.down = listener, false
	s.mu.Unlock()
	s.serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			if s.down { // it was accepted just before
				c.Close()
			}
			s.mu.Unlock()
			s.serving.Go(func() { s.echo(c) })
		}
	})
	return nil
}

func (s *lineServer) echo(c net.Conn) {
	defer c.Close()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
			break
		}
	}
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// stop ends the server as a crash does: dials are refused, and connections end.
func (s *lineServer) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	s.listener.Close()
	for c := range s.conns {
		c.Close()
	}
}

// ask sends a line and reads its echo.
func ask(ctx context.Context, c net.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		return err
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return err
}

// TestOutageTimeline has callers work through an outage of a real server, and logs what
// docs/operating.md shows of it. RESPOOL_OUTAGE=10s makes the outage longer than the
// usual half a second.
func TestOutageTimeline(t *testing.T) {
	length := 500 * time.Millisecond
	if text := os.Getenv("RESPOOL_OUTAGE"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	server := newLineServer(t)
	meter, err := metrics.New("outage", metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer meter.Close()
	var dials atomic.Int64
	began := time.Now()
	since := func() time.Duration { return time.Since(began).Round(time.Millisecond) }
	outage := make(chan time.Duration, 16) // when one begins or ends, by turns
	pool, err := resource.New(resource.Config[net.Conn]{
		Make: func(ctx context.Context) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", server.address)
		},
		Destroy: func(c net.Conn, _ error) { c.Close() },
		MaxSize: 10,
		Trace: meter.Trace(&resource.Trace{Outage: func(cause error) {
			t.Logf("%v: outage begins: %t; cause: %v", since(), cause != nil, cause)
			select {
			case outage <- since():
			default:
			}
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := meter.Watch(pool); err != nil {
		t.Fatal(err)
	}

	var served, broken, failed, slowest atomic.Int64
	over := make(chan struct{})
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				asked := time.Now()
				err := pool.Do(ctx, ask)
				var refused *resource.AcquireError
				switch {
				case err == nil:
					served.Add(1)
					time.Sleep(time.Millisecond) // the caller's own work
				case errors.As(err, &refused):
					failed.Add(1)
					for took := int64(time.Since(asked)); ; {
						most := slowest.Load()
						if took <= most || slowest.CompareAndSwap(most, took) {
							break
						}
					}
					_ = refused.Wait(ctx) // instead of a loop with a sleep
				default:
					broken.Add(1)
				}
				cancel()
			}
		})
	}
	until(t, "callers are served", func() bool { return served.Load() >= 100 })
	report := func(what string) {
		s := pool.Stats()
		t.Logf("%v: %s; %v; dials %d, served %d, lost in use %d, failed acquires %d (the slowest after %v)",
			since(), what, s.Load, dials.Load(), served.Load(), broken.Load(), failed.Load(), time.Duration(slowest.Load()).Round(time.Millisecond))
	}
	report("before")

	server.stop()
	stopped := since()
	t.Logf("%v: the server is down", stopped)
	begun := <-outage
	dialsBefore := dials.Load()
	time.Sleep(length) // the outage, in real time: its length is what the figures are about
	report("at the end of the outage")
	during := dials.Load() - dialsBefore
	if s := meter.Snapshot(0); !s.Outage || s.LastMake == nil {
		t.Errorf("the snapshot does not show the outage: %t, %v", s.Outage, s.LastMake)
	}
	if most := int64(20 + 30*length.Seconds()); during > most {
		t.Errorf("%d dials in an outage of %v, want at most %d", during, length, most)
	}
	servedBefore := served.Load()

	until(t, "the port is free", func() bool { return server.start() == nil })
	up := since()
	t.Logf("%v: the server is up", up)
	ended := <-outage
	until(t, "callers are served again", func() bool { return served.Load() > servedBefore+100 })
	report("100 callers later")
	t.Logf("noticed after %v, %d dials in %v, recovered after %v", begun-stopped, during, length, ended-up)

	close(over)
	callers.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
	if s := meter.Snapshot(0); s.Outage || s.Outages != 1 {
		t.Errorf("after the recovery: outage %t, %d outages, want 1 that has ended", s.Outage, s.Outages)
	}
}

// until waits until cond holds.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not after a minute", what)
		}
		time.Sleep(time.Millisecond) // between two looks, in real time: the server is a real one
	}
}
