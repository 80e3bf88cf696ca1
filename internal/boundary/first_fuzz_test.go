package boundary

import "testing"

// FuzzFirstMessage: a message that FirstMessage returns is whole for a FrameTracker too, is
// the first, and everything before it is pings and pongs that break no rule.
func FuzzFirstMessage(f *testing.F) {
	f.Add([]byte("\x89\x02p1\x81\x02hi\x89\x00"), false)
	f.Add([]byte("\x8a\x00\x82\x7e\x00\x01x"), true)
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01x\x81"), true)
	f.Add([]byte("\x88\x02\x03\xe8\x81\x02hi"), false)
	f.Add([]byte("\xc1\x01x"), true)
	f.Fuzz(func(t *testing.T, p []byte, deflate bool) {
		m, n, ok := FirstMessage(p)
		track := Frames()
		track.Deflate = deflate
		track.Feed([]byte("\r\n"))
		if !ok {
			return
		}
		track.Feed(p[:n-1])
		early := track.Messages() > 0 && track.Clean()
		track.Feed(p[n-1 : n])
		if early || track.Messages() != 1 || !track.Clean() || track.Open() || track.Closing() {
			t.Fatalf("%q of %q: %d messages, clean %v, open %v", m.Payload, p[:n], track.Messages(), track.Clean(), track.Open())
		}
		if track.over {
			t.Fatalf("%q breaks a rule", p[:n])
		}
		if m.Opcode != text && m.Opcode != binaryData || string(m.Payload) != string(p[n-len(m.Payload):n]) {
			t.Fatalf("opcode %d, %q", m.Opcode, m.Payload)
		}
	})
}
