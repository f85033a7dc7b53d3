package esclient

import "github.com/watermill-eventstore/watermill-eventstore/internal/notation"

// validateName refuses names that the server refuses, or that no user could type.
func validateName(argument, name string) error {
	if problem := notation.Problem(name); problem != "" {
		return &ArgumentError{Argument: argument, Reason: problem}
	}
	return nil
}
