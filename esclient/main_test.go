package esclient_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// parallel is how many tests run at a time unless -parallel says otherwise: most of them wait most of the time, so that
// the number of processors is no measure.
const parallel = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(parallel)
	}
	goleak.VerifyTestMain(m)
}
