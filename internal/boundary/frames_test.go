package boundary_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/respool/respool/internal/boundary"
)

// answer is the HTTP response before the first frame.
const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

// state is everything that a FrameTracker reports.
type state struct {
	clean              bool
	messages, controls uint64
	open, closing      bool
}

func counts(t *boundary.FrameTracker) state {
	return state{t.Clean(), t.Messages(), t.Controls(), t.Open(), t.Closing()}
}

// The state after each part of a stream.
func TestFrameCounts(t *testing.T) {
	type step struct {
		in   string
		want state
	}
	big := string(make([]byte, 125))
	for name, steps := range map[string][]step{
		"a message": {
			{"\x81", state{messages: 1, open: true}},
			{"\x02a", state{messages: 1, open: true}},
			{"b", state{clean: true, messages: 1}},
		},
		"an empty message": {
			{"\x82", state{messages: 1, open: true}},
			{"\x00", state{clean: true, messages: 1}},
		},
		"several at once": {
			{"\x81\x01a\x82\x00\x89\x00\x81\x7e\x00\x01b\x81\x02c", state{messages: 4, controls: 1, open: true}},
			{"d\x8a\x01e", state{clean: true, messages: 4, controls: 2}},
		},
		"fragments": {
			{"\x01\x01a", state{clean: true, messages: 1, open: true}},
			{"\x89\x01p", state{clean: true, messages: 1, controls: 1, open: true}},
			{"\x00\x00", state{clean: true, messages: 1, controls: 1, open: true}},
			{"\x80", state{messages: 1, controls: 1, open: true}},
			{"\x01", state{messages: 1, controls: 1, open: true}},
			{"b", state{clean: true, messages: 1, controls: 1}},
		},
		"a ping in parts": {
			{"\x89", state{}},
			{"\x02", state{}},
			{"a", state{}},
			{"b", state{clean: true, controls: 1}},
		},
		"the longest ping": {
			{"\x89\x7d" + big, state{clean: true, controls: 1}},
		},
		"a close inside a message": {
			{"\x01\x00\x88\x02\x03", state{messages: 1, open: true}},
			{"\xe8", state{clean: true, messages: 1, controls: 1, open: true, closing: true}},
		},
		"a compressed message": {
			{"\xc1\x01a", state{clean: true, messages: 1}},
		},

		"a continuation of nothing":    {{"\x80\x00", state{clean: true, messages: 1}}},
		"one after the end":            {{"\x81\x00\x80\x00", state{clean: true, messages: 2}}},
		"a message inside another":     {{"\x01\x00\x81\x00", state{clean: true, messages: 2}}},
		"a reserved opcode":            {{"\x83", state{messages: 1}}, {"\x00", state{clean: true, messages: 1}}},
		"a reserved control opcode":    {{"\x8b", state{messages: 1}}, {"\x00", state{clean: true, messages: 1}}},
		"a ping without FIN":           {{"\x09\x00", state{clean: true, messages: 1, controls: 1}}},
		"a ping with RSV1":             {{"\xc9\x00", state{clean: true, messages: 1, controls: 1}}},
		"a ping with a mask":           {{"\x89\x801234", state{clean: true, messages: 1, controls: 1}}},
		"a ping too long":              {{"\x89\x7e\x00\x01a", state{clean: true, messages: 1, controls: 1}}},
		"all wrong with it":            {{"\x79\xfe\x00\x011234a", state{clean: true, messages: 1, controls: 1}}},
		"a continuation with RSV1":     {{"\x01\x00\xc0\x00", state{clean: true, messages: 2}}},
		"a continuation with a mask":   {{"\x01\x00\x80\x801234", state{clean: true, messages: 2}}},
		"a message with a mask":        {{"\x81\x801234", state{clean: true, messages: 1}}},
		"a length of more than 63 bit": {{"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", state{messages: 1, open: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			whole, bytewise := boundary.Frames(), boundary.Frames()
			whole.Feed([]byte(answer))
			bytewise.Feed([]byte(answer))
			for _, s := range steps {
				whole.Feed([]byte(s.in))
				if got := counts(whole); got != s.want {
					t.Errorf("after %q: %+v, want %+v", s.in, got, s.want)
				}
				for i := range s.in {
					bytewise.Feed([]byte(s.in[i : i+1]))
				}
				if got := counts(bytewise); got != s.want {
					t.Errorf("byte by byte, after %q: %+v, want %+v", s.in, got, s.want)
				}
			}
		})
	}
}

// The head of the HTTP response ends at its empty line, whatever ends the lines. Those of
// interim responses come before it.
func TestHead(t *testing.T) {
	for _, head := range []string{answer, "a: b\n\n", "a\r\n\n", "a\n\r\n", "a\r\r\n\r\n", "a\n\r\r\n\n", "a\n\rb\n\n",
		"HTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\n" + answer, "HTTP/1.0   100\n\nHTTP/1.1 199 x\r\n\r\n" + answer, "HTTP/1.1 103\n\na b\n\n"} {
		f := boundary.Frames()
		for i := range head {
			f.Feed([]byte(head[i : i+1]))
			if s := counts(f); s != (state{clean: true}) {
				t.Fatalf("%q: after %q: %+v", head, head[:i+1], s)
			}
		}
		f.Feed([]byte("\x81\x01a"))
		if s := counts(f); s != (state{clean: true, messages: 1}) {
			t.Errorf("%q: behind it %+v", head, s)
		}
	}
}

// Pings and pongs are kept, in order and however they are cut, up to the close frame
// or the first frame that breaks a rule.
func TestFrameControls(t *testing.T) {
	good := "\x89\x03abc" + "\xc1\x01x" + "\x8a\x00" + "\x01\x00" + "\x8a\x00" + "\x80\x00" + "\x89\x01d"
	want := []boundary.Control{{Opcode: boundary.Ping, Payload: "abc"}, {Opcode: boundary.Pong}, {Opcode: boundary.Pong}, {Opcode: boundary.Ping, Payload: "d"}}
	for _, bad := range []string{"\x09\x01e", "\x89\x81maskf", "\x88\x00", "\xa1\x00", "\xc9\x00", "\x80\x00", "\x83\x00", "\x8b\x00", "\x01\x00\x01\x00", "\x89\x7e\x00\x00"} {
		stream := good + bad + "\x89\x03end"
		for cut := 1; cut <= len(stream); cut++ {
			f := boundary.Frames()
			f.Deflate = true
			f.Feed([]byte(answer))
			for p := stream; p != ""; p = p[min(cut, len(p)):] {
				f.Feed([]byte(p[:min(cut, len(p))]))
			}
			if n, got := f.Kept(), f.Take(); n != len(want) || !slices.Equal(got, want) || f.Kept() != 0 {
				t.Errorf("%q, in pieces of %d: %q", bad, cut, got)
			}
		}
	}
}

// Nothing is allocated but what is kept of pings and pongs.
func TestFrameAllocs(t *testing.T) {
	f := boundary.Frames()
	f.Feed([]byte(answer))
	stream := append(frame(70000, false), 0x01, 0, 0x80, 0, 0x88, 1, 'x')
	if n := testing.AllocsPerRun(100, func() {
		f.Feed(stream[:3])
		f.Feed(stream[3:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFrames(b *testing.B) {
	for _, size := range []int{0, 100, 1000, 64 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			f := boundary.Frames()
			f.Feed([]byte(answer))
			p := frame(size, false)
			b.ReportAllocs()
			for b.Loop() {
				f.Feed(p)
			}
		})
	}
}
