package repocheck

import "testing"

func TestInvariantsExamples(t *testing.T) {
	base := map[string]string{
		"ARCHITECTURE.md":  "| | says |\n|---|---|\n| I1 | one | \n| I12 | another |\n",
		"pool/pool.go":     "// The invariants:\n//\n//\tI1   one\n//\t     of (I12)\n//\tI12  another\npackage pool\n",
		"pool/one_test.go": "package pool\n\nfunc TestI1_One(t *testing.T) {}\n\nfunc TestI12_Other(t *testing.T) {}\n",
	}
	try(t, invariants, base, []example{
		{name: "all of both"},
		{name: "a row too few", files: map[string]string{"ARCHITECTURE.md": "| I1 | one |\n"},
			want: []string{"ARCHITECTURE.md: 0 rows of I12, want 1"}},
		{name: "a row twice", files: map[string]string{"ARCHITECTURE.md": "| I1 | one |\n| I12 | another |\n| I1 | one |\n"},
			want: []string{"ARCHITECTURE.md: 2 rows of I1, want 1"}},
		{name: "a number that no test has", files: map[string]string{"pool/one_test.go": "package pool\n\nfunc TestI1_One(t *testing.T) {}\n"},
			want: []string{"I12: no test carries its number"}},
		{name: "stated in two places", files: map[string]string{"pool/b.go": "//\tI1   one\npackage pool\n"},
			want: []string{"I1: stated 2 times in the code, want once"}},
		{name: "no map", files: map[string]string{"ARCHITECTURE.md": absent},
			want: []string{"open ARCHITECTURE.md: file does not exist"}},
	})
}
