package endpoint

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// TestSetAppliesPart checks that a Set uses the endpoints of an update beside its error, and
// that the error alone removes none.
func TestSetAppliesPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := make(resolverScript), make(resolverScript)
		s, err := NewSet(SetConfig{Resolver: Merge(one, two), Ejector: Never()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(t.Context())
		check := func(failed bool, want ...string) {
			t.Helper()
			synctest.Wait()
			snap := s.Snapshot()
			if got := s.Rank(nil, ""); len(got) != len(want) || slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, w) }) {
				t.Errorf("ranked are %v, want %v", got, want)
			}
			if (snap.UpdateErr != nil) != failed {
				t.Errorf("UpdateErr is %v", snap.UpdateErr)
			}
		}
		one.send("a b", nil)
		two.send("c", nil)
		check(false, "a", "b", "c")
		one.send("", errors.New("down"))
		check(true, "a", "b", "c")
		two.send("d", nil) // one still fails
		check(true, "a", "b", "d")
		one.send("a", nil)
		check(false, "a", "d")
	})
	_, err := NewSet(SetConfig{Resolver: Static(Endpoint{Addr: "a"}, Endpoint{Addr: "a"}), Ejector: Never()})
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "endpoint 1") {
		t.Errorf("NewSet of duplicates returned %v", err)
	}
}
