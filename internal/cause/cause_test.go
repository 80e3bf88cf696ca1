package cause

import (
	"errors"
	"fmt"
	"testing"
)

func TestNew(t *testing.T) {
	a, b := New("pool: too old", "too old"), New("pool: too old", "too old")
	around := fmt.Errorf("around: %w", a)
	if !errors.Is(around, a) || errors.Is(around, b) {
		t.Error("an error is not the same as itself, or the same as another with its text")
	}
	var named interface{ Cause() string }
	if !errors.As(around, &named) || named.Cause() != "too old" {
		t.Errorf("the cause is %v", named)
	}
	if got := around.Error(); got != "around: pool: too old" {
		t.Errorf("the text is %q", got)
	}
}
