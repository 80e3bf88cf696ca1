package wspool

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"reflect"
	"testing"
	"testing/iotest"
)

// readerConn reads from a Reader, and does nothing else.
type readerConn struct {
	net.Conn
	r interface{ Read([]byte) (int, error) }
}

func (c readerConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// gorilla reads through an answerConn, in whatever pieces, what it would have read
// without, if that is an answer of a permitted size: the final one.
func FuzzAnswerConn(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01x",
		"HTTP/1.1 101\n\n",
		"HTTP/1.1   101 x\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 101 x\r\n\r\r\n\r\n",
		"HTTP/1.0 200 OK\n\r\n",
		"\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100\n\nHTTP/1.1 101 x\r\nA: b\r\n\r\n\x81\x01x",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		all := bufio.NewReader(bytes.NewReader(answer))
		want, err := http.ReadResponse(all, nil)
		for err == nil && interim(want) {
			want, err = http.ReadResponse(all, nil)
		}
		if err != nil || len(answer) > maxHead {
			return
		}
		for _, r := range []interface{ Read([]byte) (int, error) }{
			bytes.NewReader(answer), iotest.OneByteReader(bytes.NewReader(answer)), iotest.DataErrReader(bytes.NewReader(answer)),
		} {
			c := &answerConn{Conn: readerConn{r: r}}
			got, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || got.StatusCode != want.StatusCode || !reflect.DeepEqual(got.Header, want.Header) {
				t.Fatalf("%q: %v, %v, want %v", answer, got, err, want)
			}
		}
	})
}
