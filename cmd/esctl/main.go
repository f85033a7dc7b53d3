// Command esctl reads, writes and administers an EventStore from the command line, for people and for scripts.
// docs/esctl.md describes it.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the command in order, the second one at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run runs one command and returns the exit status.
func run(ctx context.Context, args []string) int {
	c := &cli{in: os.Stdin, out: bufio.NewWriter(os.Stdout), errs: os.Stderr}
	root := newRoot(c)
	root.SetArgs(args)
	root.SetOut(c.out)
	root.SetErr(c.errs)
	cmd, err := root.ExecuteContextC(ctx)
	if flushErr := c.out.Flush(); err == nil && flushErr != nil {
		err = fmt.Errorf("write the output: %w", flushErr)
	}
	if err == nil {
		return exitOK
	}
	if !c.started {
		// The command line was refused before anything was done.
		err = &usageError{err}
	}
	c.explain(cmd, err)
	return codeOf(ctx, err)
}
