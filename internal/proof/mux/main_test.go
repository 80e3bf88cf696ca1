package mux_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/proof/testkit"
)

func TestMain(m *testing.M) {
	testkit.SetRapidChecks(250)
	goleak.VerifyTestMain(m)
}
