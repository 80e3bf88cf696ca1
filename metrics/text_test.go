package metrics_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/respool/respool/metrics"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"plain ünï":             "plain ünï",
		"a\nb\tc\x00d\x7f":      "a b c d ",
		"\xff\xfeok":            "  ok",
		"left\u202eright\u200b": "left right ",
		"<script>":              "<script>", // who shows it escapes it
		strings.Repeat("x", 64): strings.Repeat("x", 64),
		strings.Repeat("x", 65): strings.Repeat("x", 61) + "…",
		strings.Repeat("é", 40): strings.Repeat("é", 30) + "…",
	} {
		if got := metrics.Clean(in, 64); got != want {
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
		got := metrics.Clean(in, limit)
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

func (badError) Error() string   { panic("no text") }
func (badError) Is(error) bool   { panic("no kin") }
func (badError) As(any) bool     { panic("no kin") }
func (badError) Unwrap() []error { panic("no chain") }

func TestWords(t *testing.T) {
	if got := metrics.Words(nil); got != "" {
		t.Errorf("nil is %q", got)
	}
	if got := metrics.Words(badError{}); !strings.Contains(got, "panics") {
		t.Errorf("one whose text panics is %q", got)
	}
	long := metrics.Words(errors.New(strings.Repeat("secret ", 100)))
	if len(long) > 200 || !strings.HasSuffix(long, "…") {
		t.Errorf("a long one is %q", long)
	}
}
