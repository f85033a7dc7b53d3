package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// cli is one run of the program: its streams and the flags that all commands have.
type cli struct {
	in   io.Reader
	out  *bufio.Writer
	errs io.Writer

	url          string
	user         string
	passwordFile string
	timeout      time.Duration
	json         bool
	yes          bool
	verbose      bool

	hooks   []esclient.Hook // of the client
	started bool            // the command line was accepted
}

const (
	rootShort = "Read, write and administer an EventStore over TCP"
	rootLong  = rootShort + `.

The server is that of the environment's EVENTSTORE_URL, such as tcp://admin:changeit@127.0.0.1:1113, or of --url.`
)

func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use: "esctl", Short: rootShort, Long: rootLong,
		Version: version(), SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if c.timeout <= 0 {
				return fmt.Errorf("--timeout must be positive, not %s", c.timeout)
			}
			c.started = true
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.url, "url", "", "connection string, without a password (default $EVENTSTORE_URL)")
	flags.StringVar(&c.user, "user", "", "login, instead of the one of the connection string")
	flags.StringVar(&c.passwordFile, "password-file", "", "file whose first line is the password of --user")
	flags.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for a connection, and for an answer")
	flags.BoolVar(&c.json, "json", false, "print one JSON object a line")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "log to standard error what the client does")
	root.AddCommand(
		newPing(c), newInfo(c), newStreams(c), newRead(c), newTail(c), newPublish(c), newMeta(c), newDelete(c),
		newGroups(c), newGroup(c),
		newParked(c), newLag(c), newUsers(c), newGossip(c), newBench(c),
	)
	return root
}

// version returns that of the module, or (devel) if it was built in a clone.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// family is a command that only has others.
func family(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return &usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
		}
		return &usageError{fmt.Errorf("%s is not complete: see %[1]s --help", cmd.CommandPath())}
	}}
	cmd.AddCommand(verbs...)
	return cmd
}

// limited bounds a request that the server answers at once.
func (c *cli) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.timeout, errTimeout)
}

// whileItMoves returns a context that ends when nothing has moved for --timeout. Its function tells that something has.
func (c *cli) whileItMoves(ctx context.Context) (moving context.Context, moved func(), end context.CancelFunc) {
	moving, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.timeout, func() { cancel(errTimeout) })
	return moving, func() { timer.Reset(c.timeout) }, func() { timer.Stop(); cancel(nil) }
}
