package eventstore

import "github.com/ThreeDotsLabs/watermill"

func orNop(log watermill.LoggerAdapter) watermill.LoggerAdapter {
	if log == nil {
		return watermill.NopLogger{}
	}
	return log
}

// quiet reports whether log drops everything, so that the fields of a line for each message need not be made.
func quiet(log watermill.LoggerAdapter) bool {
	_, nop := log.(watermill.NopLogger)
	return nop
}
