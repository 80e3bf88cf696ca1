package house

import (
	"strings"
	"testing"
)

func TestLengthExamples(t *testing.T) {
	long := strings.Repeat("\n", maxLines)
	try(t, length, nil, []example{
		{name: "as long as may be", files: map[string]string{"a/a.go": long, "a/a_test.go": long + "\n", "a/b.txt": long + "\n"}},
		{name: "one more", files: map[string]string{"a/a.go": long + "\n"}, want: []string{"a/a.go: 361 lines, more than 360"}},
		{name: "nothing to look at", files: map[string]string{"a_test.go": ""}, want: []string{"no Go file"}},
	})
}
