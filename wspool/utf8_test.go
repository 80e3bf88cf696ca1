package wspool_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// samples are some that are UTF-8, and some that are not.
var samples = []string{
	"", "plain", "é", "κόσμε", "日本語", "𝄞 and 🙂", "\x00",
	"\x80", "\xff", "caf\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf0\x9f\x99", "\xe2\x28\xa1", "ok\xc3", "\xc3\xa9\xa9",
}

// With CheckUTF8 a text that the peer sends and that is none ends the connection
// with code 1007, whoever reads it and however it comes; without it is passed on.
func TestCheckUTF8Read(t *testing.T) {
	for _, check := range []bool{true, false} {
		for _, how := range []string{"message", "reader", "bytes"} {
			t.Run(fmt.Sprint(check, how), func(t *testing.T) {
				for _, text := range samples {
					bubble(t, func(t *testing.T) {
						codes := make(chan int, 1)
						peer := listenMem(t, 4096, func(ws *websocket.Conn) {
							ws.SetCloseHandler(func(code int, _ string) error { codes <- code; return nil })
							ws.ReadMessage()
							ws.NetConn().Write(fragments(0x81, []byte(text), 2))
							drain(ws)
						})
						peer.cfg.CheckUTF8 = check
						gone := ends(&peer.cfg)
						p := pool(t, peer.cfg)
						c := acquire(t, p)
						bad := check && !utf8.ValidString(text)
						write(t, c, "question")
						var err error
						var got []byte
						switch how {
						case "message":
							_, got, err = c.ReadMessage(t.Context())
						default:
							var r io.Reader
							if _, r, err = c.NextReader(t.Context()); err == nil {
								if how == "bytes" {
									r = iotest.OneByteReader(r)
								}
								got, err = io.ReadAll(r)
							}
						}
						if errors.Is(err, wspool.ErrNotUTF8) != bad || !bad && (err != nil || string(got) != text) {
							t.Errorf("%q: %q, %v", text, got, err)
						}
						c.Release()
						synctest.Wait()
						if !bad {
							if s := p.Stats(); s.Idle != 1 {
								t.Errorf("%q: %v", text, s)
							}
							return
						}
						if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrNotUTF8) {
							t.Errorf("%q: ended with %v", text, e.Cause)
						}
						if code := next(t, "code", codes); code != websocket.CloseInvalidFramePayloadData {
							t.Errorf("%q: closed with %d", text, code)
						}
						if s := p.Stats(); s.Closed[1007] != 1 {
							t.Errorf("%v", s)
						}
					})
				}
			})
		}
	}
}

// A message that is nobody's is checked as well.
func TestCheckUTF8Unsolicited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.CheckUTF8 = true
		w.cfg.OnUnsolicited = wspool.DropUnsolicited
		gone := w.ends()
		warm(t, pool(t, w.cfg), 1)
		time.Sleep(time.Second)
		w.send(0, frame(websocket.BinaryMessage, "caf\xe9"))
		none(t, gone)
		w.send(0, frame(websocket.TextMessage, "caf\xe9"))
		if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrNotUTF8) {
			t.Errorf("ended with %v", e.cause)
		}
	})
}

// With CheckUTF8 a text that is none is not sent; that a writer has begun is broken
// off. Binary messages are not looked at.
func TestCheckUTF8Write(t *testing.T) {
	for _, check := range []bool{true, false} {
		for _, text := range samples {
			bubble(t, func(t *testing.T) {
				var got []string
				peer := listenMem(t, 4096, func(ws *websocket.Conn) {
					for {
						kind, p, err := ws.ReadMessage()
						if err != nil {
							return
						}
						got = append(got, string(p))
						ws.WriteMessage(kind, []byte("reply"))
					}
				})
				peer.cfg.CheckUTF8 = check
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				bad := check && !utf8.ValidString(text)
				answer := func(err error) {
					t.Helper()
					if errors.Is(err, wspool.ErrNotUTF8) != bad || err != nil && !bad {
						t.Errorf("%q: %v", text, err)
					}
					if err == nil {
						if _, _, err := c.ReadMessage(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
				answer(c.WriteMessage(t.Context(), websocket.TextMessage, []byte(text)))
				if err := c.WriteMessage(t.Context(), websocket.BinaryMessage, []byte(text)); err != nil {
					t.Error(err)
				}
				if _, _, err := c.ReadMessage(t.Context()); err != nil {
					t.Error(err)
				}
				w, err := c.NextWriter(t.Context(), websocket.TextMessage)
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range []byte(text) {
					if _, err = w.Write([]byte{b}); err != nil {
						break
					}
				}
				if cerr := w.Close(); err == nil {
					err = cerr
				}
				answer(err)
				c.Release()
				synctest.Wait()
				want := []string{text, text, text}
				if bad {
					want = want[:1]
				}
				if s := p.Stats(); (s.Idle == 1) == bad || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
					t.Errorf("%q: the peer got %q; %v", text, got, s)
				}
			})
		}
	}
}
