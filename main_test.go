package eventstore_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	const suite = "github.com/ThreeDotsLabs/watermill/internal/subscriber"
	goleak.VerifyTestMain(m,
		// Watermill's suite leaves goroutines of its own behind, which wait to hand on a message that nobody takes.
		goleak.IgnoreAnyFunction(suite+".(*multiplier).Subscribe.func2"),
		goleak.IgnoreAnyFunction(suite+".(*multiplier).Subscribe.func3"),
	)
}
