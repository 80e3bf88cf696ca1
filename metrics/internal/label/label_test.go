package label_test

import (
	"maps"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/respool/respool/metrics/internal/label"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":              "",
		"Grüße, 世界\n\"": "Grüße, 世界\n\"",
		"\xff":          `\xff`,
		"a\xe4\xb8b":    `a\xe4\xb8b`, // two bytes of three
		"\uFFFDx":       "\uFFFDx",    // valid, though it stands for what is not
		"\xffü\xfe":     `\xffü\xfe`,
	} {
		if got := label.Clean(in); got != want || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("ok")
	f.Add("\xffü")
	f.Fuzz(func(t *testing.T, s string) {
		got := label.Clean(s)
		if !utf8.ValidString(got) || utf8.ValidString(s) && got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

func TestTally(t *testing.T) {
	all := make(label.Tally)
	all.Add("a", 1)
	all.AddAll(map[string]int64{"a": 2, "\xff": 3, `\xff`: 4})
	if want := (label.Tally{"a": 3, `\xff`: 7}); !maps.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}

func TestUnique(t *testing.T) {
	var names label.Names
	var got []string
	for _, name := range []string{"db", "db", "db#2", "db", "\xff", `\xff`} {
		got = append(got, names.Unique(name))
	}
	if want := []string{"db", "db#2", "db#2#2", "db#3", `\xff`, `\xff#2`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
