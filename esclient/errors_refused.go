package esclient

import "fmt"

// ConfigError names a setting that cannot be used. It is ErrInvalidConfig.
type ConfigError struct {
	Setting string // the field of Config, or the setting of the connection string
	Value   string // what it was set to, without secrets; may be empty
	Reason  string
	Err     error // the cause, if there is one
}

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

// Is makes the error match ErrInvalidConfig.
func (e *ConfigError) Is(target error) bool { return target == ErrInvalidConfig }

func (e *ConfigError) Unwrap() error { return e.Err }

// ArgumentError names an argument that was refused before anything was sent. It is ErrInvalidArgument, and ErrTooLarge
// where that is the reason.
type ArgumentError struct {
	Argument string // as it is called in the documentation of the method
	Reason   string
	Err      error // ErrTooLarge, or nil
}

func (e *ArgumentError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrInvalidArgument, e.Argument, e.Reason)
}

// Is makes the error match ErrInvalidArgument.
func (e *ArgumentError) Is(target error) bool { return target == ErrInvalidArgument }

func (e *ArgumentError) Unwrap() error { return e.Err }
