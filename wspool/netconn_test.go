package wspool_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// streaming returns a lease as a stream, of a peer whose other end is returned.
func streaming(t *testing.T) (net.Conn, *witness, *wspool.Pool) {
	w := witnesses(t)
	w.mute = true
	w.cfg.Exchange = wspool.Unpaired
	p := pool(t, w.cfg)
	return acquire(t, p).NetConn(t.Context(), websocket.BinaryMessage), w, p
}

// The bytes written to a stream and sent back are the bytes read, both ways at
// once, whatever the pieces.
func TestStreamCopies(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			peer := listen(t, scheme == "wss", echo)
			peer.cfg.Exchange = wspool.Unpaired
			p := pool(t, peer.cfg)
			s := acquire(t, p).NetConn(t.Context(), websocket.BinaryMessage)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			data := make([]byte, 1<<20)
			r := rand.NewChaCha8([32]byte{byte(seed)})
			r.Read(data)
			var all sync.WaitGroup
			all.Go(func() {
				// io.Copy reads up to 32 KiB at a time; these are smaller pieces.
				n, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, 1777))
				if n != int64(len(data)) || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			})
			var got bytes.Buffer
			if n, err := io.Copy(&got, io.LimitReader(s, int64(len(data)))); n != int64(len(data)) || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
			all.Wait()
			if !bytes.Equal(got.Bytes(), data) {
				t.Error("read something else than was written")
			}
			if s.RemoteAddr().String() == "" || s.LocalAddr().String() == s.RemoteAddr().String() {
				t.Errorf("from %v to %v", s.LocalAddr(), s.RemoteAddr())
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if s := p.Stats(); s.Idle != 1 {
				t.Errorf("%v", s)
			}
		})
	}
}

// A deadline ends a read at its instant, whenever it was set, and one that ended
// between messages has done no harm.
func TestStreamReadDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, w, p := streaming(t)
		buf := make([]byte, 10)
		timeout := func(what string, want time.Duration) {
			t.Helper()
			n, err := s.Read(buf)
			var ne net.Error
			if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %d, %v", what, n, err)
			}
			at(t, what, w.now(), want)
		}
		s.SetReadDeadline(time.Now().Add(time.Second))
		timeout("before the read", time.Second)
		timeout("passed", time.Second)
		s.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { s.SetDeadline(time.Now().Add(2 * time.Second)) })
		timeout("during the read", 4*time.Second)
		s.SetReadDeadline(time.Now().Add(time.Second))
		time.AfterFunc(ms, func() { s.SetReadDeadline(time.Now().Add(3 * time.Second)) })
		timeout("put off", 7*time.Second+ms)
		s.SetReadDeadline(time.Now().Add(time.Minute))
		time.AfterFunc(time.Second, func() { s.SetReadDeadline(time.Now().Add(-time.Minute)) })
		timeout("brought forward", 8*time.Second+ms)
		s.SetDeadline(time.Time{})
		w.send(0, frame(websocket.BinaryMessage, "whole"))
		if n, err := s.Read(buf); string(buf[:n]) != "whole" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
		s.Close()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A deadline in the middle of a message ends the reading.
func TestStreamDeadlineInMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, w, p := streaming(t)
		w.send(0, frame(websocket.BinaryMessage, "message")[:5])
		s.SetReadDeadline(time.Now().Add(time.Second))
		got, err := io.ReadAll(s)
		if string(got) != "mes" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q, %v", got, err)
		}
		at(t, "ended", w.now(), time.Second)
		s.SetReadDeadline(time.Time{})
		w.send(0, frame(websocket.BinaryMessage, "message")[5:])
		if n, err := s.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("read on: %d, %v", n, err)
		}
		s.Close()
		if s := p.Stats(); s.Idle != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A deadline that passes between two Reads, or was set in the past then, ends no more than
// Reads that begin before the next deadline is set, also inside a message.
func TestStreamDeadlineBetweenReads(t *testing.T) {
	for what, first := range map[string]time.Duration{"passes": time.Second, "has passed": -time.Second} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, w, p := streaming(t)
				const size = 10000 // more than is taken in ahead, so that the last Reads reach the network
				message := append([]byte{0x82, 126, size >> 8, size & 255}, make([]byte, size)...)
				go w.send(0, message[:size/2])
				got := 0
				read := func(n int) {
					t.Helper()
					n, err := io.ReadFull(s, make([]byte, n))
					if got += n; err != nil {
						t.Fatalf("after %d bytes: %v", got, err)
					}
				}
				read(10)
				for range 2 {
					s.SetReadDeadline(time.Now().Add(first))
					time.Sleep(2 * time.Second)
					if n, err := s.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("a Read after the deadline: %d, %v", n, err)
					}
					s.SetReadDeadline(time.Now().Add(time.Second))
					read(100)
				}
				go w.send(0, message[size/2:])
				read(size - got)
				s.SetReadDeadline(time.Now().Add(time.Second))
				began := w.now()
				if n, err := s.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("behind the message: %d, %v", n, err)
				}
				at(t, "ended", w.now()-began, time.Second)
				s.Close()
				if s := p.Stats(); s.Idle != 1 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// A new deadline that passes inside the rest of a message ends the reading, as the first does.
func TestStreamLaterDeadlineInMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, w, _ := streaming(t)
		w.send(0, frame(websocket.BinaryMessage, "message")[:5])
		s.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(s, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		s.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v", n, err)
		}
		at(t, "ended", w.now(), 3*time.Second)
		s.Close()
	})
}

// A deadline that breaks off a write ends the writing, and no more than that.
func TestStreamWriteDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		until := make(chan struct{})
		peer := listenMem(t, 4096, deaf(until))
		peer.cfg.Exchange = wspool.Unpaired
		began := time.Now()
		p := pool(t, peer.cfg)
		s := acquire(t, p).NetConn(t.Context(), websocket.BinaryMessage)
		s.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := s.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
		at(t, "ended", time.Since(began), time.Second)
		s.SetWriteDeadline(time.Time{})
		if _, err := s.Write([]byte("more")); err == nil {
			t.Error("wrote behind half a message")
		}
		close(until)
		s.Close()
		if s := p.Stats(); s.Idle != 0 {
			t.Errorf("%v", s)
		}
	})
}

// Messages without bytes are no end, one of another type is an error, and an end
// of the peer's making with code 1000 is io.EOF.
func TestStreamMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, w, _ := streaming(t)
		var raw []byte
		for _, m := range []string{"", "a", "", "", "bc"} {
			raw = append(raw, frame(websocket.BinaryMessage, m)...)
		}
		w.send(0, raw)
		got := make([]byte, 3)
		if _, err := io.ReadFull(s, got); err != nil || string(got) != "abc" {
			t.Errorf("%q, %v", got, err)
		}
		w.send(0, frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1000, ""))))
		if p, err := io.ReadAll(s); len(p) != 0 || err != nil {
			t.Errorf("%q, %v, want io.EOF", p, err)
		}
		s.Close()
	})
	bubble(t, func(t *testing.T) {
		s, w, p := streaming(t)
		w.send(0, frame(websocket.TextMessage, "text"))
		for range 2 {
			if n, err := s.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("%d, %v", n, err)
			}
		}
		s.Close()
		if s := p.Stats(); s.Idle != 0 {
			t.Errorf("%v", s)
		}
	})
	bubble(t, func(t *testing.T) {
		s, w, _ := streaming(t)
		w.send(0, frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1011, "no"))))
		var ce *wspool.CloseError
		if _, err := io.ReadAll(s); !errors.As(err, &ce) || ce.Code != 1011 {
			t.Errorf("%v", err)
		}
		s.Close()
	})
}

// Close wakes a reader, and the lease is over.
func TestStreamClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _, p := streaming(t)
		read := make(chan error)
		go func() {
			_, err := s.Read(make([]byte, 10))
			read <- err
		}()
		synctest.Wait()
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-read; !errors.Is(err, wspool.ErrReleased) {
			t.Errorf("Read: %v", err)
		}
		if _, err := io.Copy(s, strings.NewReader("late")); !errors.Is(err, wspool.ErrReleased) {
			t.Errorf("Write: %v", err)
		}
		s.SetDeadline(time.Now().Add(time.Hour)) // keeps nothing running
		if s := p.Stats(); s.Leased != 0 {
			t.Errorf("%v", s)
		}
	})
}
