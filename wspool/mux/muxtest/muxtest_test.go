package muxtest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/muxtest"
)

// colon is the codec of a small protocol: a call is "ID:BODY", a reply "ID=RESULT". flaw
// breaks one rule.
type colon struct{ flaw string }

func (c colon) IDBits() int {
	if c.flaw == "bits" {
		return 8
	}
	return 53
}

func (c colon) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	text, ok := body.(string)
	if !ok {
		if c.flaw == "keeps" {
			dst = append(dst, "half a message"...)
		}
		if c.flaw == "accepts" {
			return websocket.TextMessage, append(dst, "?"...), nil
		}
		return 0, dst, errors.New("want a string")
	}
	switch c.flaw {
	case "overwrites":
		dst = dst[:0]
	case "one id":
		id = 1
	case "int32":
		id = uint64(int32(id))
	}
	dst = strconv.AppendUint(dst, id, 10)
	return websocket.TextMessage, append(append(dst, ':'), text...), nil
}

func (c colon) AppendCancel(dst []byte, id uint64, _ []byte) (int, []byte, error) {
	return websocket.TextMessage, append(dst, "0:cancel"...), nil
}

func (c colon) CancelFinal() bool { return false }

func (c colon) Classify(_ int, data []byte) (mux.Frame, error) {
	if c.flaw == "panics" && len(data) > 0 && data[len(data)-1] == '=' {
		panic("nothing behind the =")
	}
	var text string
	if c.flaw == "allocates" {
		clone := string(data)
		escaped.Store(&clone)
		text = clone
	} else {
		text = string(data) // the compiler keeps a short one on the stack
	}
	var id uint64
	for i := range len(text) {
		switch d := text[i] - '0'; {
		case text[i] == '=' && i > 0 && id == 0 && c.flaw != "cancel":
			return mux.Frame{Kind: mux.Ignore}, nil
		case text[i] == '=' && i > 0:
			if c.flaw == "changes" {
				data[i] = '!'
			}
			return mux.Frame{Kind: mux.Reply, ID: id}, nil
		case d > 9:
			return mux.Frame{}, errBad
		default:
			id = id*10 + uint64(d)
		}
	}
	return mux.Frame{}, errBad
}

// escaped moves what is stored in it to the heap.
var escaped atomic.Pointer[string]

var errBad = errors.New("bad message")

// flawVariable tells a child process which flaw its codec has.
const flawVariable = "MUXTEST_FLAW"

func TestRun(t *testing.T) {
	server := func(call mux.Message) (mux.Message, error) {
		id, body, ok := strings.Cut(string(call.Data), ":")
		if !ok {
			return mux.Message{}, errBad
		}
		return mux.Message{Type: websocket.TextMessage, Data: fmt.Appendf(nil, "%s=%s", id, body)}, nil
	}
	muxtest.Run(t, muxtest.Suite{
		Codec: colon{os.Getenv(flawVariable)}, Bodies: []any{"a", "b=c"}, BadBodies: []any{1}, Reply: server, Notifies: true,
		CancelReply: func(cancel mux.Message) (mux.Message, bool) {
			m, err := server(cancel)
			return m, err == nil
		},
		Messages: []muxtest.Case{
			{Name: "reply", Message: mux.Message{Data: []byte("5=x")}, Want: mux.Frame{Kind: mux.Reply, ID: 5}},
			{Name: "bad", Message: mux.Message{Data: []byte("x")}, Bad: true},
		},
	})
}

// The kit fails a codec with any of these flaws, and names the rule. A failing test of a test
// needs a process of its own.
func TestRun_FindsFlaws(t *testing.T) {
	for flaw, want := range map[string]string{
		"bits":       "IDBits must be between",
		"keeps":      "dst was not returned as it was",
		"accepts":    "no error",
		"overwrites": "did not keep what dst holds",
		"one id":     "does not depend on the id",
		"int32":      "the reply",
		"cancel":     "to the cancel message is",
		"panics":     "nothing behind the =",
		"allocates":  "allocates",
		"changes":    "changed the message",
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRun$")
			child.Env = append(os.Environ(), flawVariable+"="+flaw)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("%v, and the output lacks %q:\n%s", err, want, out)
			}
		})
	}
}
