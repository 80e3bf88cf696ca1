package repocheck

import "testing"

func TestSeedableExamples(t *testing.T) {
	try(t, seedable, nil, []example{
		{name: "package random", files: map[string]string{"wspool/a.go": code(module+"/internal/random", "crypto/rand"), "internal/random/a.go": code("math/rand/v2")}},
		{name: "a package on the list, and one below it", files: map[string]string{"examples/x/a.go": code("math/rand"), "internal/treap/a.go": code("math/rand/v2")}},
		{name: "a test", files: map[string]string{"wspool/a.go": code(), "wspool/a_test.go": code("math/rand/v2")}},
		{name: "math/rand/v2", files: map[string]string{"wspool/a.go": code("context", "math/rand/v2")},
			want: []string{"wspool/a.go:4: import " + module + `/internal/random in place of "math/rand/v2"`}},
		{name: "math/rand", files: map[string]string{"internal/randomized/a.go": code("math/rand")},
			want: []string{"internal/randomized/a.go:3: import " + module + `/internal/random in place of "math/rand"`}},
		{name: "not Go", files: map[string]string{"wspool/a.go": "package"},
			want: []string{"wspool/a.go:1:8: expected 'IDENT', found 'EOF'"}},
	})
}
