package scene

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// setting is the values of the flags.
type setting struct {
	clients    int
	utterances int
	chunks     int
	chunkBytes int
	size       int
	handshake  time.Duration
	inference  time.Duration
	timeout    time.Duration
	tls        bool
	url        string
	json       bool
	live       string
}

// maxAudio bounds the audio of all clients together, so that a typing error is reported
// before it exhausts the memory.
const maxAudio = 1 << 30

// maxChunk is the largest message that the embedded server reads.
const maxChunk = 1 << 20

// badFlags collects every problem, so that one error can name all of them.
type badFlags []string

func (b *badFlags) add(format string, args ...any) { *b = append(*b, fmt.Sprintf(format, args...)) }

func (b badFlags) err() error {
	if len(b) == 0 {
		return nil
	}
	return errors.New("bad flags: " + strings.Join(b, "; "))
}

// newFlags declares the flags into s. A value that cannot be parsed goes to bad instead
// of ending the parse.
func newFlags(s *setting, bad *badFlags) *flag.FlagSet {
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	number := func(p *int, name string, def int, usage string) {
		*p = def
		fs.Func(name, fmt.Sprintf("%s (default %d)", usage, def), func(v string) error {
			n, err := strconv.Atoi(v)
			if err != nil {
				bad.add("-%s %q is not a whole number", name, v)
				return nil
			}
			*p = n
			return nil
		})
	}
	duration := func(p *time.Duration, name string, def time.Duration, usage string) {
		*p = def
		fs.Func(name, fmt.Sprintf("%s (default %v)", usage, def), func(v string) error {
			d, err := time.ParseDuration(v)
			if err != nil {
				bad.add("-%s %q is not a duration such as 50ms", name, v)
				return nil
			}
			*p = d
			return nil
		})
	}
	number(&s.clients, "clients", 100, "`how many` clients speak at once")
	number(&s.utterances, "utterances", 40, "`how many` utterances each client says, one after the other")
	number(&s.chunks, "chunks", 10, "`how many` audio chunks are in an utterance")
	number(&s.chunkBytes, "chunk-bytes", 3200, "`bytes` in a chunk: 3200 is 100 ms of 16 kHz 16-bit audio")
	number(&s.size, "size", 32, "`how many` connections the pool may have")
	duration(&s.handshake, "handshake-delay", 50*time.Millisecond,
		"`how long` the embedded server sleeps before it answers a handshake, to stand for a real network")
	duration(&s.inference, "inference-delay", 5*time.Millisecond,
		"`how long` the embedded server sleeps before it answers an utterance, to stand for a model")
	duration(&s.timeout, "timeout", 10*time.Second, "`how long` after its start an utterance without reply is lost")
	fs.BoolVar(&s.tls, "tls", false, "embedded server with TLS, with a certificate made for this run")
	fs.StringVar(&s.url, "url", "", "`address`, ws:// or wss://, of a server to use instead of the embedded one")
	fs.StringVar(&s.live, "live", "", "`address` such as :8080 to look at the pools with a browser, during the run and after it\n"+
		"until an interrupt; without a host, from this machine alone")
	fs.BoolVar(&s.json, "json", false, "result as JSON on standard output, progress on standard error")
	return fs
}

// parse reads args. The error names every bad flag, or is flag.ErrHelp.
func parse(args []string) (setting, error) {
	var s setting
	var bad badFlags
	fs := newFlags(&s, &bad)
	for unknown := false; ; {
		err := fs.Parse(args)
		rest := fs.Args()
		switch {
		case errors.Is(err, flag.ErrHelp):
			return s, err
		case err != nil: // the flag package stops here; continue after it
			var name string
			if name, unknown = strings.CutPrefix(err.Error(), "flag provided but not defined: "); unknown {
				bad.add("%s is not a flag", name)
			} else {
				bad.add("%v", err)
			}
			args = rest
			continue
		case len(rest) > 0: // not a flag: the value of an unknown flag, or a stray word
			if !unknown {
				bad.add("%q is not a flag", rest[0])
			}
			unknown, args = false, rest[1:]
			continue
		}
		break
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	s.check(set, &bad)
	return s, bad.err()
}

// check adds to bad the values that can be parsed but not used.
func (s *setting) check(set map[string]bool, bad *badFlags) {
	atLeast := func(name string, n, least int) {
		if n < least {
			bad.add("-%s is %d, not at least %d", name, n, least)
		}
	}
	atLeast("clients", s.clients, 1)
	atLeast("utterances", s.utterances, 1)
	atLeast("chunks", s.chunks, 1)
	atLeast("chunk-bytes", s.chunkBytes, 1)
	atLeast("size", s.size, 1)
	if s.chunkBytes > maxChunk {
		bad.add("-chunk-bytes is %d, over %d", s.chunkBytes, maxChunk)
	}
	if audio := float64(s.clients) * float64(s.chunks) * float64(s.chunkBytes); audio > maxAudio {
		bad.add("-clients x -chunks x -chunk-bytes is %.1f GiB, over 1 GiB", audio/(1<<30))
	}
	if s.handshake < 0 {
		bad.add("-handshake-delay is %v, not at least 0", s.handshake)
	}
	if s.inference < 0 {
		bad.add("-inference-delay is %v, not at least 0", s.inference)
	}
	if s.timeout <= 0 {
		bad.add("-timeout is %v, not over 0", s.timeout)
	}
	if _, _, err := net.SplitHostPort(s.live); set["live"] && err != nil {
		bad.add("-live %q is not an address such as :8080 or localhost:8080", s.live)
	}
	if !set["url"] {
		return
	}
	u, err := url.Parse(s.url)
	if err != nil || u.Hostname() == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		bad.add("-url is not a ws:// or wss:// address") // the address is not shown: it may contain a secret
	} else if u.User != nil || u.Fragment != "" {
		bad.add("-url has a user name, a password or a fragment")
	}
	for _, name := range []string{"tls", "handshake-delay", "inference-delay"} {
		if set[name] {
			bad.add("-%s is for the embedded server and cannot go with -url", name)
		}
	}
}

// usage writes the help text.
func usage(w io.Writer) {
	fmt.Fprint(w, `Many clients stream audio to an inference server over WebSocket at once:
through a pool, then with a dial per utterance, then a burst over an admission limit.

Usage: quickstart [flags]

`)
	var s setting
	var bad badFlags
	fs := newFlags(&s, &bad)
	fs.SetOutput(w)
	fs.PrintDefaults()
	fmt.Fprint(w, `
A server given with -url must speak this, any number of times on a connection:
  client  text    {"utterance":"pool-c007-u012","chunks":10}
  client  binary  a chunk of audio, "chunks" times
  server  any     {"utterance":"pool-c007-u012","chunks":10,"bytes":32000,"crc32":305419896}
Fields of its reply that are there must be right; crc32 (IEEE) is over all chunks.
A reply that is not a JSON object with "utterance" is counted as unchecked.

Exit status: 0 all replies right; 1 one wrong or lost, or a count that does not
add up; 2 bad flags; 130 interrupted, and all else right.
`)
}
