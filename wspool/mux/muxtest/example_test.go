package muxtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/muxtest"
)

// lines is the codec of a protocol with a number before each text: "7 hello" is a call, and
// "7 hello, too" its reply.
type lines struct{}

func (lines) IDBits() int { return 64 }

func (lines) Append(dst []byte, id uint64, body any) (messageType int, out []byte, err error) {
	text, ok := body.(string)
	if !ok {
		return 0, dst, errors.New("lines: want a string")
	}
	dst = append(strconv.AppendUint(dst, id, 10), ' ')
	return websocket.TextMessage, append(dst, text...), nil
}

func (lines) Classify(_ int, data []byte) (mux.Frame, error) {
	var id uint64
	for i, c := range data {
		switch {
		case c == ' ' && i > 0:
			return mux.Frame{Kind: mux.Reply, ID: id}, nil
		case c < '0' || c > '9':
			return mux.Frame{}, errNoNumber
		}
		id = 10*id + uint64(c-'0')
	}
	return mux.Frame{}, errNoNumber
}

var errNoNumber = errors.New("lines: the message has no number")

// In the tests of a codec, Run is called with the t of a test:
//
//	func TestCodec(t *testing.T) { muxtest.Run(t, suite) }
func ExampleRun() {
	suite := muxtest.Suite{
		Codec:  lines{},
		Bodies: []any{"hello", ""},
		Reply: func(call mux.Message) (mux.Message, error) { // what the server answers
			return mux.Message{Type: call.Type, Data: append(bytes.Clone(call.Data), ", too"...)}, nil
		},
		Messages: []muxtest.Case{
			{Name: "no number", Message: mux.Message{Data: []byte("hello")}, Bad: true},
		},
	}
	fmt.Println("passed:", passes(func(t *testing.T) { muxtest.Run(t, suite) }))
	// Output:
	// passed: true
}

// passes runs a test inside an example, without its output.
func passes(test func(t *testing.T)) bool {
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer null.Close()
	os.Stdout = null
	all := func(string, string) (bool, error) { return true, nil }
	return testing.RunTests(all, []testing.InternalTest{{Name: "TestCodec", F: test}})
}
