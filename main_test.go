package eventstore_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// parallel is how many tests run at a time unless -parallel says otherwise: most of the parallel ones wait most of the
// time, so that the number of processors is no measure.
const parallel = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(parallel)
	}
	const suite = "github.com/ThreeDotsLabs/watermill/internal/subscriber"
	goleak.VerifyTestMain(m,
		// Watermill's suite leaves goroutines of its own behind, which wait to hand on a message that nobody takes.
		goleak.IgnoreAnyFunction(suite+".(*multiplier).Subscribe.func2"),
		goleak.IgnoreAnyFunction(suite+".(*multiplier).Subscribe.func3"),
	)
}
