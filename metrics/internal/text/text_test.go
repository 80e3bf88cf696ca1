package text_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/respool/respool/metrics/internal/text"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"plain ünï":             "plain ünï",
		"a\nb\tc\x00d\x7f":      "a b c d ",
		"\xff\xfeok":            "  ok",
		"left\u202eright\u200b": "left right ",
		"<script>":              "<script>", // the page escapes it
		strings.Repeat("x", 64): strings.Repeat("x", 64),
		strings.Repeat("x", 65): strings.Repeat("x", 61) + "…",
		strings.Repeat("é", 40): strings.Repeat("é", 30) + "…",
	} {
		if got := text.Clean(in, 64); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\nb", 10)
	f.Add(strings.Repeat("\xe2\x82", 40), 12)
	f.Add(strings.Repeat("é", 100), 33)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		limit = 8 + max(limit, 0)%300
		got := text.Clean(in, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("%q became %q", in, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q became %q", in, got)
			}
		}
		if utf8.ValidString(in) && len(in) <= limit && strings.IndexFunc(in, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 && got != in {
			t.Errorf("%q, which is clean, became %q", in, got)
		}
	})
}

type badError struct{}

func (badError) Error() string { panic("no text") }

type wrapping struct{ err error }

func (w *wrapping) Error() string { return w.err.Error() }

func TestOf(t *testing.T) {
	if got := text.Of(nil); got != "" {
		t.Errorf("nil is %q", got)
	}
	if got := text.Of(badError{}); !strings.Contains(got, "panics") {
		t.Errorf("one whose text panics is %q", got)
	}
	var none *wrapping
	if got := text.Of(none); !strings.Contains(got, "panics") {
		t.Errorf("a nil that needs a value is %q", got)
	}
	long := text.Of(errors.New(strings.Repeat("secret ", 100)))
	if len(long) > 200 || !strings.HasSuffix(long, "…") {
		t.Errorf("a long one is %q", long)
	}
}

// What a URL has of secrets is left out, wherever it stands.
func TestOf_Secrets(t *testing.T) {
	_, parse := url.Parse("postgres://joe:s3cret@host:bad/db?key=s3cret") //lint:ignore SA1007 it is to be wrong
	_, get := http.Get("http://joe:s3cret@127.0.0.1:99999/x?key=s3cret#s3cret")
	for in, want := range map[error]string{
		parse: `parse "postgres://…@host:bad/db?…": invalid port ":bad" after host`,
		get:   `Get "http://…@127.0.0.1:99999/x?…": dial tcp: address 99999: invalid port`,
		errors.New("dial wss://a.example/v1?token=s3cret: refused, then ws://s3cret@b.example"): "dial wss://a.example/v1?… refused, then ws://…@b.example",
		errors.New("amqp://joe:s3/cr@et@host/vhost"):                                            "amqp://…@host/vhost",
		errors.New("http://joe:s3@cret@host/@scope/pkg"):                                        "http://…@host/@scope/pkg",
		errors.New("https://host:443/@scope/pkg https://[::1]/@a"):                              "https://host:443/@scope/pkg https://[::1]/@a",
		errors.New("no URL: a?b#c@d, ://, x://"):                                                "no URL: a?b#c@d, ://, x://",
		errors.New("redis://:" + strings.Repeat("s3cret", 999) + "@host"):                       "redis://…@host",
	} {
		if got := text.Of(in); got != want {
			t.Errorf("%.300v\nbecame %s\nnot    %s", in, got, want)
		}
	}
}
