package esprom

import "github.com/watermill-eventstore/watermill-eventstore/esclient"

// succeeded is the result of an operation without an error.
const succeeded = "ok"

// reasonOf returns the class of an error, for a label. Some connections end without an error.
func reasonOf(err error) string {
	if err == nil {
		return "error"
	}
	return esclient.ErrorClass(err)
}

// resultOf returns how an operation has ended, for a label.
func resultOf(err error) string {
	if err == nil {
		return succeeded
	}
	return reasonOf(err)
}
