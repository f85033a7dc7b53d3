package eventstore_test

import (
	"flag"
	"log"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// parallel is the default of -parallel. Most parallel tests wait most of the time, so the number of processors does not
// limit them.
const parallel = "8"

func TestMain(m *testing.M) {
	if dir := os.Getenv(saverDir); dir != "" {
		log.Fatal(saveUntilKilled(dir))
	}
	if url := os.Getenv(readerURL); url != "" {
		log.Fatal(readUntilKilled(url, os.Getenv(readerTopic), os.Getenv(readerDir)))
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(parallel)
	}
	const suite = "github.com/ThreeDotsLabs/watermill/internal/subscriber"
	goleak.VerifyTestMain(m,
		// Watermill's suite leaves goroutines behind that wait for a receiver.
		goleak.IgnoreAnyFunction(suite+".(*multiplier).Subscribe.func2"),
		goleak.IgnoreAnyFunction(suite+".(*multiplier).Subscribe.func3"),
	)
}
