package discovery

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoNode matches every error of [Discoverer.Next]: this attempt found no node to connect to.
var ErrNoNode = errors.New("discovery: no node to connect to")

// Reasons for which a candidate was not chosen; see [CandidateError].
var (
	// ErrNotAlive reports a node that gossip lists as dead.
	ErrNotAlive = errors.New("is listed as not alive")
	// ErrNoTCPEndpoint reports a node that advertises no valid TCP endpoint of the configured kind, plain or secure.
	ErrNoTCPEndpoint = errors.New("has no usable TCP endpoint")
	// ErrNotSelected reports a node that GossipConfig.Select left out.
	ErrNotSelected = errors.New("was not selected")
	// ErrNotGossip reports an HTTP server whose answer is not gossip.
	ErrNotGossip = errors.New("the answer is not gossip")
	// ErrTooLarge reports an HTTP server whose answer is longer than GossipConfig.MaxBodyBytes.
	ErrTooLarge = errors.New("the answer is too large")
	// ErrNoAddress reports a DNS name without an address.
	ErrNoAddress = errors.New("the name has no address")
)

// Error is the error of an attempt that found no node.
type Error struct {
	// Reasons has the reason for each candidate, in the order of the attempt.
	Reasons []*CandidateError
	// RetryAfter is the time until the first held-off node may be dialed again. An earlier attempt succeeds only if the
	// cluster changes. It is 0 if no node is held off.
	RetryAfter time.Duration
	// Cause is the cause of the context's end if that ended the attempt. It is nil if all candidates were tried.
	Cause error
}

// maxReasonsShown bounds the text of an Error.
const maxReasonsShown = 12

// Error lists the reasons in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(ErrNoNode.Error())
	sep := ": "
	if e.Cause != nil {
		fmt.Fprintf(&b, "%s%v", sep, e.Cause)
		sep = "; "
	}
	for i, r := range e.Reasons {
		if i == maxReasonsShown {
			fmt.Fprintf(&b, "; and %d more", len(e.Reasons)-i)
			break
		}
		fmt.Fprintf(&b, "%s%v", sep, r)
		sep = "; "
	}
	return b.String()
}

// Unwrap returns [ErrNoNode], the Cause, and all Reasons.
func (e *Error) Unwrap() []error {
	errs := []error{ErrNoNode}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for _, r := range e.Reasons {
		errs = append(errs, r)
	}
	return errs
}

// Transient reports whether a node answered that cannot serve yet: it starts, or its cluster has no leader. Then it is
// worth making another attempt soon, even before RetryAfter.
func (e *Error) Transient() bool {
	for _, r := range e.Reasons {
		var (
			status *StatusError
			state  *StateError
		)
		if errors.As(r, &state) || errors.Is(r, ErrNotAlive) || errors.As(r, &status) && status.Code >= 500 {
			return true
		}
	}
	return false
}

// transient reports whether an error has a method Transient that returns true.
func transient(err error) bool {
	var e interface{ Transient() bool }
	return errors.As(err, &e) && e.Transient()
}

// Step is the part of an attempt that excluded a candidate.
type Step string

// The steps of an attempt.
const (
	StepLookup Step = "lookup" // the DNS lookup of a name
	StepGossip Step = "gossip" // the HTTP request for gossip
	StepMember Step = "member" // the choice among the nodes that gossip named
)

// CandidateError is the reason for which one candidate was not chosen.
type CandidateError struct {
	Step     Step
	Endpoint Endpoint // by Step: the name, the HTTP endpoint, or the node's TCP endpoint
	Err      error
}

// Error names the step, the candidate and the reason.
func (e *CandidateError) Error() string { return fmt.Sprintf("%s %s: %v", e.Step, e.Endpoint, e.Err) }

// Unwrap returns the reason.
func (e *CandidateError) Unwrap() error { return e.Err }

// StatusError is an HTTP status other than 200.
type StatusError struct {
	Code int
}

// Error also tells how to correct the most frequent ones.
func (e *StatusError) Error() string {
	switch e.Code {
	case 401, 403:
		return fmt.Sprintf("HTTP status %d: set GossipConfig.Credentials, or correct them", e.Code)
	case 404:
		return "HTTP status 404: gossip is not served here (a single node before 21.2 needs GossipOnSingleNode)"
	}
	return fmt.Sprintf("HTTP status %d", e.Code)
}

// StateError reports a node that serves no clients in its state.
type StateError struct {
	State State
}

// Error names the state.
func (e *StateError) Error() string {
	return fmt.Sprintf("does not serve clients in state %q", string(e.State))
}

// TimeoutError reports a candidate that did not answer in time. It does not match context.DeadlineExceeded: a slow
// candidate is not the end of the caller's context.
type TimeoutError struct {
	After time.Duration
}

// Error names the timeout.
func (e *TimeoutError) Error() string { return fmt.Sprintf("no answer within %v", e.After) }

// Timeout returns true, as for a net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// HeldOffError reports a node that gossip lists as alive, but to which a connection failed a short time ago.
type HeldOffError struct {
	Failures int           // in a row, as reported
	For      time.Duration // from now until it may be dialed again
	Err      error         // the last failure, as reported
}

// Error names the last failure and the time left.
func (e *HeldOffError) Error() string {
	return fmt.Sprintf("held off for another %v after %d failed connections: %v",
		e.For.Round(time.Millisecond), e.Failures, e.Err)
}

// Unwrap returns the last failure.
func (e *HeldOffError) Unwrap() error { return e.Err }

// ConfigError reports an invalid field of a configuration.
type ConfigError struct {
	Field  string // such as Seeds[1]
	Reason string
	Err    error // may be nil
}

// Error names the field.
func (e *ConfigError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("discovery: %s %s: %v", e.Field, e.Reason, e.Err)
	}
	return fmt.Sprintf("discovery: %s %s", e.Field, e.Reason)
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

func checkEndpoints(field string, list []Endpoint) error {
	if len(list) == 0 {
		return &ConfigError{Field: field, Reason: "is empty: give at least one endpoint"}
	}
	for i, e := range list {
		if err := e.Validate(); err != nil {
			return &ConfigError{Field: fmt.Sprintf("%s[%d]", field, i), Reason: "cannot be used", Err: err}
		}
	}
	return nil
}

func checkPositive(field string, d time.Duration) error {
	if d < 0 {
		return &ConfigError{Field: field, Reason: fmt.Sprintf("is negative: %v", d)}
	}
	return nil
}
