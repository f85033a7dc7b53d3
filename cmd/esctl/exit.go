package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// The exit statuses. They are documented in docs/esctl.md, and their meanings do not change.
const (
	exitOK          = 0
	exitFailed      = 1   // any other failure
	exitUsage       = 2   // the command line, the input or the configuration is wrong
	exitUnknown     = 3   // a write may or may not have taken place
	exitUnreachable = 4   // no connection, or no answer in time
	exitDenied      = 5   // wrong credentials, or the user lacks the right
	exitNotFound    = 6   // no such stream, event, group or user, or the stream is deleted
	exitConflict    = 7   // another expected version, or it exists already
	exitUnsupported = 8   // the server cannot do that
	exitUnconfirmed = 9   // a destructive command without confirmation
	exitOverLimit   = 10  // lag --max
	exitInterrupted = 130 // Ctrl-C, other than for tail
)

// errTimeout is the cause of a context that --timeout ends.
var errTimeout = errors.New("no answer within --timeout")

// usageError is a mistake of the caller. Nothing was sent.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// errUnconfirmed ends a destructive command without confirmation.
var errUnconfirmed = errors.New("not confirmed, nothing was done")

// errOverLimit ends lag --max.
var errOverLimit = errors.New("a group lags more than --max")

// conditions are looked for in this order.
var conditions = []struct {
	err  error
	code int
}{
	{errUnconfirmed, exitUnconfirmed},
	{errOverLimit, exitOverLimit},
	{esclient.ErrInvalidArgument, exitUsage},
	{esclient.ErrInvalidConfig, exitUsage},
	{esclient.ErrNotAuthenticated, exitDenied},
	{esclient.ErrAccessDenied, exitDenied},
	{esclient.ErrWrongExpectedVersion, exitConflict},
	{esclient.ErrGroupExists, exitConflict},
	{esadmin.ErrUserExists, exitConflict},
	{esclient.ErrMaxSubscribers, exitConflict},
	{esclient.ErrStreamNotFound, exitNotFound},
	{esclient.ErrStreamDeleted, exitNotFound},
	{esclient.ErrEventNotFound, exitNotFound},
	{esclient.ErrGroupNotFound, exitNotFound},
	{esadmin.ErrUserNotFound, exitNotFound},
	{esadmin.ErrNotFound, exitNotFound},
	{esclient.ErrNotSupported, exitUnsupported},
	{esclient.ErrOperationTimeout, exitUnreachable},
	{esclient.ErrHeartbeatTimeout, exitUnreachable},
	{esclient.ErrNotEventStore, exitUnreachable},
	{errTimeout, exitUnreachable},
	{context.DeadlineExceeded, exitUnreachable},
	{discovery.ErrNoNode, exitUnreachable},
}

// codeOf returns the exit status for an error, where ctx is the one that signals end.
func codeOf(ctx context.Context, err error) int {
	usage := (*usageError)(nil)
	switch {
	case errors.Is(err, esclient.ErrOutcomeUnknown):
		return exitUnknown // for any reason
	case errors.As(err, &usage):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	}
	for _, condition := range conditions {
		if errors.Is(err, condition.err) {
			return condition.code
		}
	}
	var (
		connection *esclient.ConnectionError
		http       *esadmin.HTTPError
	)
	if errors.As(err, &connection) || errors.As(err, &http) && http.Status == 0 {
		return exitUnreachable
	}
	return exitFailed
}

// explain prints an error, and the form of a command whose arguments are wrong.
func (c *cli) explain(cmd *cobra.Command, err error) {
	text := strings.ReplaceAll(err.Error(), "esclient: ", "")
	if answer := (*esadmin.HTTPError)(nil); errors.As(err, &answer) && codeOf(context.Background(), err) != exitFailed {
		text = strings.ReplaceAll(text, fmt.Sprintf(": %q", answer.Body), "") // the error says it in words
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			fmt.Fprintln(c.errs, "esctl:", printable(strings.ReplaceAll(line, "\t", "  ")))
		}
	}
	if !c.started && cmd.HasParent() {
		fmt.Fprintf(c.errs, "esctl: usage: %s; more with --help\n", cmd.UseLine())
	}
}

// timedOut returns err, or the error that nothing has moved for --timeout if that has ended ctx.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errTimeout) && !errors.Is(err, errTimeout) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}
