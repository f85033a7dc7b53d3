package esclient

import "fmt"

// WrongExpectedVersionError is the error of a write to a stream that does not have the expected version. Nothing was
// written. It matches [ErrWrongExpectedVersion].
//
// If Expected is [Any], a batch began with an event that the server has already, and went on with one that it does not
// have.
type WrongExpectedVersionError struct {
	Stream   string
	Expected ExpectedVersion
	// Current is the number of the stream's last event, or -1 if it has none. It is [UnknownVersion] if the server does
	// not tell it, as for transactions, and for deletes up to 20.10.
	Current int64
}

// UnknownVersion is the number of a stream's last event if the server does not tell it.
const UnknownVersion int64 = -1 << 31

// Error names the stream, the expected version, and the current one if it is known.
func (e *WrongExpectedVersionError) Error() string {
	if e.Current == UnknownVersion {
		return fmt.Sprintf("%v of stream %q: it is not at %v", ErrWrongExpectedVersion, e.Stream, e.Expected)
	}
	return fmt.Sprintf("%v of stream %q: expected %v, it is at %v",
		ErrWrongExpectedVersion, e.Stream, e.Expected, ExpectedVersion(e.Current))
}

// Is makes the error match [ErrWrongExpectedVersion].
func (e *WrongExpectedVersionError) Is(target error) bool { return target == ErrWrongExpectedVersion }

// OutcomeUnknownError is the error of a write, or another change, that was sent and got no reply, and that the client
// could not repeat safely. It matches [ErrOutcomeUnknown].
//
// After an append, either all of its events are in the stream or none is. To find out, read the stream and look for the
// ids of the events. To write the events again, give them the same ids: the server recognises them unless it was
// restarted, another node leads, or it has written some hundred thousand others since. If that append fails in another
// way, the outcome of the first one is still unknown. The documentation of other methods names their possible effects.
type OutcomeUnknownError struct {
	Err error // why the outcome is unknown
}

// Error names the cause.
func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("%v: %s", ErrOutcomeUnknown, trimPrefix(e.Err))
}

// Is makes the error match [ErrOutcomeUnknown].
func (e *OutcomeUnknownError) Is(target error) bool { return target == ErrOutcomeUnknown }

// Unwrap returns Err.
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }
