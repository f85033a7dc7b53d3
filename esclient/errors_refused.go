package esclient

import "fmt"

// ConfigError names an invalid setting. It matches [ErrInvalidConfig].
type ConfigError struct {
	Setting string // the field of [Config], or the setting of the connection string
	Value   string // the value; empty if it is missing or may have a secret
	Reason  string // why the setting is invalid
	Err     error  // the cause, or nil
}

// Error names the setting, its value, and the reason.
func (e *ConfigError) Error() string {
	s := fmt.Sprintf("%v: %s", ErrInvalidConfig, e.Setting)
	if e.Value != "" {
		s += fmt.Sprintf(" %q", e.Value)
	}
	s += ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is makes the error match [ErrInvalidConfig].
func (e *ConfigError) Is(target error) bool { return target == ErrInvalidConfig }

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

// ArgumentError names an invalid argument. Nothing was sent. It matches [ErrInvalidArgument], and [ErrTooLarge] if the
// argument is too large.
type ArgumentError struct {
	Argument string // the parameter, or the field of one
	Reason   string // why the argument is invalid
	Err      error  // [ErrTooLarge] or nil
}

// Error names the argument and the reason.
func (e *ArgumentError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrInvalidArgument, e.Argument, e.Reason)
}

// Is makes the error match [ErrInvalidArgument].
func (e *ArgumentError) Is(target error) bool { return target == ErrInvalidArgument }

// Unwrap returns Err.
func (e *ArgumentError) Unwrap() error { return e.Err }
