package essql_test

import (
	"os"
	"testing"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"
)

// TestMain runs a projector instead of the tests in the processes that TestAKilledProcessLosesAndRepeatsNothing starts.
func TestMain(m *testing.M) {
	// The driver prints each connection that a test cuts.
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		panic(err)
	}
	if os.Getenv(projectorVariable) != "" {
		os.Exit(runProjectorProcess())
	}
	goleak.VerifyTestMain(m)
}
