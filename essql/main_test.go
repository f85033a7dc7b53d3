package essql_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs a projector instead of the tests in the processes that TestAKilledProcess starts.
func TestMain(m *testing.M) {
	if os.Getenv(projectorVariable) != "" {
		os.Exit(runProjectorProcess())
	}
	goleak.VerifyTestMain(m)
}
