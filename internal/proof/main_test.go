package proof_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/proof/testkit"
)

func TestMain(m *testing.M) {
	testkit.SetRapidChecks(1500)
	goleak.VerifyTestMain(m)
}
