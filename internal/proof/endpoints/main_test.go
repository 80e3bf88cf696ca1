package endpoints

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/proof/testkit"
)

func TestMain(m *testing.M) {
	testkit.SetRapidChecks(400)
	goleak.VerifyTestMain(m)
}
