package scene

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	s, err := parse([]string{"-clients", "3", "-size=2", "-handshake-delay", "7ms", "-tls", "-json", "-timeout=1s"})
	if err != nil {
		t.Fatal(err)
	}
	want := setting{clients: 3, utterances: 40, chunks: 10, chunkBytes: 3200, size: 2,
		handshake: 7 * time.Millisecond, inference: 5 * time.Millisecond, timeout: time.Second, tls: true, json: true}
	if s != want {
		t.Errorf("parse: %+v, want %+v", s, want)
	}
	if _, err := parse([]string{"-h", "-clients=0"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("parse -h: %v", err)
	}
}

// Every bad flag is named, in whatever way it is bad.
func TestParseNamesEveryBadFlag(t *testing.T) {
	args := []string{"-clients=many", "-utterances=0", "-chunks", "-1", "-chunk-bytes=9999999", "-size=0", "-unknown", "7",
		"-handshake-delay=-1s", "-inference-delay=soon", "-timeout=0", "stray", "-live=8080", "-json=perhaps", "-tls", "-url=http://host"}
	_, err := parse(args)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`-clients "many" is not a whole number`, "-utterances is 0", "-chunks is -1", "-chunk-bytes is 9999999",
		"-size is 0", "-unknown is not a flag", "-handshake-delay is -1s", `-inference-delay "soon" is not a duration`,
		"-timeout is 0s", `"stray" is not a flag`, "-json", `-live "8080" is not an address`, "-url is not a ws://", "-tls is for the embedded server",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	if strings.Contains(err.Error(), `"7"`) {
		t.Errorf("the value of an unknown flag is named as one: %q", err)
	}
}

func TestParseBad(t *testing.T) {
	for _, args := range [][]string{
		{"-url="}, {"-url=ws://me:secret@h"}, {"-url=ws://h/#f"}, {"-url=ws://:80"}, {"-url=ws://%%secret"}, {"-url=ws://"}, {"-url=http://x"}, {"-url=ws://h", "-tls"}, {"-url=ws://h", "-inference-delay=1s"},
		{"-url=ws://h", "-handshake-delay=50ms"}, {"-timeout"}, {"word"}, {"-live="}, {"-live=host"},
		{"-clients=100000", "-chunks=10000", "-chunk-bytes=1048576"}, {"-clients=9223372036854775807", "-chunks=9223372036854775807"},
	} {
		if _, err := parse(args); err == nil || !strings.HasPrefix(err.Error(), "bad flags: ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("parse %q: %v", args, err)
		}
	}
}

func TestRunBadFlags(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), []string{"-size=0", "-nope"}, &stdout, &stderr, dialed)
	if code != 2 || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "quickstart: bad flags: -nope is not a flag; -size is 0") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, &stdout, &stderr)
	}
}

func TestRunHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), []string{"-h"}, &stdout, &stderr, dialed)
	if code != 0 || stderr.Len() > 0 {
		t.Errorf("exit %d, stderr %q", code, &stderr)
	}
	for _, name := range []string{"clients", "utterances", "chunks", "chunk-bytes", "size", "handshake-delay",
		"inference-delay", "timeout", "tls", "url", "json", "live"} {
		if !strings.Contains(stdout.String(), "\n  -"+name) {
			t.Errorf("-%s is not in the help", name)
		}
	}
}

// The address shown is without what may be a secret.
func TestServerShown(t *testing.T) {
	s, err := parse([]string{"-url=wss://host:1/path?token=secret"})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.result(1); got.Server != "wss://host:1/path" || !got.TLS || got.HandshakeDelayMS != 0 {
		t.Errorf("shown: %+v", got)
	}
}
