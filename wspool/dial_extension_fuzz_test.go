package wspool

import (
	"net/http"
	"strings"
	"testing"
)

// Whatever a server answers to the offer, an accepted answer is one
// permessage-deflate without context takeover of the server's and without a window
// of ours.
func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"permessage-deflate; server_no_context_takeover", `a;b="c,d";e`, ";;,=", `"`, "permessage-deflate; server_max_window_bits=9;server_no_context_takeover",
	} {
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		h := http.Header{extensionField: {first, second}}
		deflate, err := checkExtensions(h, true)
		all := strings.ToLower(first + "," + second)
		switch {
		case err != nil && deflate:
			t.Errorf("%q: %v, and taken", all, err)
		case err == nil && strings.Trim(all, ", \t\r\n") != "" && !deflate && strings.TrimFunc(all, func(r rune) bool { return r <= ' ' || r == ',' || r > '~' }) != "":
			t.Errorf("%q: nothing is wrong with it, nothing chosen", all)
		case deflate && (!strings.Contains(all, serverNoTake) || strings.Contains(all, clientMaxBits) || strings.Count(all, deflateName) != 1):
			t.Errorf("%q is taken", all)
		}
		if _, err := checkExtensions(h, false); err == nil && deflate {
			t.Errorf("%q is taken, and nothing was offered", all)
		}
		if amendExtensions(h, true) != deflate {
			t.Errorf("%q: deflate %v, and amended otherwise", all, deflate)
		}
	})
}
