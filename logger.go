package eventstore

import "github.com/ThreeDotsLabs/watermill"

// orNop returns log, or a logger that drops every line if log is nil.
func orNop(log watermill.LoggerAdapter) watermill.LoggerAdapter {
	if log == nil {
		return watermill.NopLogger{}
	}
	return log
}

// isNop reports whether log drops every line, so that the caller can save the work for the fields.
func isNop(log watermill.LoggerAdapter) bool {
	_, nop := log.(watermill.NopLogger)
	return nop
}
