package esclient

import "fmt"

// WrongExpectedVersionError is a stream that was not at the expected version. Nothing was written. It is
// ErrWrongExpectedVersion.
type WrongExpectedVersionError struct {
	Stream   string
	Expected ExpectedVersion
	// Current is the number of the stream's last event, -1 if it has none; UnknownVersion where the server does not
	// tell, as with deletes up to 20.10 and with transactions. With Expected Any it means that a batch began with an
	// event that the server knows and went on with one that it does not.
	Current int64
}

// UnknownVersion stands for the number of a stream's last event where the server does not tell it.
const UnknownVersion int64 = -1 << 31

func (e *WrongExpectedVersionError) Error() string {
	if e.Current == UnknownVersion {
		return fmt.Sprintf("%v of stream %q: it is not at %v", ErrWrongExpectedVersion, e.Stream, e.Expected)
	}
	return fmt.Sprintf("%v of stream %q: expected %v, it is at %v",
		ErrWrongExpectedVersion, e.Stream, e.Expected, ExpectedVersion(e.Current))
}

// Is makes the error match ErrWrongExpectedVersion.
func (e *WrongExpectedVersionError) Is(target error) bool { return target == ErrWrongExpectedVersion }

// OutcomeUnknownError is a write, or another change, that was sent, whose reply did not come, and that could not be
// repeated safely. It is ErrOutcomeUnknown.
//
// The events of an append are in the stream or they are not; all of them or none. To find out, read the stream back and
// look for the event ids. To write them again, give the events the same ids: the server recognises them unless it was
// restarted, another node leads, or it has written some hundred thousand others since. An append that fails then in
// another way does not tell what became of the first. What is known of other changes stands with their methods.
type OutcomeUnknownError struct {
	Err error // why the outcome is unknown
}

func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("%v: %s", ErrOutcomeUnknown, trimPrefix(e.Err))
}

// Is makes the error match ErrOutcomeUnknown.
func (e *OutcomeUnknownError) Is(target error) bool { return target == ErrOutcomeUnknown }

func (e *OutcomeUnknownError) Unwrap() error { return e.Err }
