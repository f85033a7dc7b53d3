package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// confirmed gives a destructive command --yes, without which it asks on a terminal and elsewhere does nothing.
func (c *cli) confirmed(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do it without asking")
	return cmd
}

// confirm asks the person at the terminal.
func (c *cli) confirm(ctx context.Context, question string, args ...any) error {
	if c.yes {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("%w: there is no terminal to ask at, give --yes", errUnconfirmed)
	}
	fmt.Fprintf(c.errs, "%s [y/N] ", printable(fmt.Sprintf(question, args...)))
	answer, err := wait(ctx, func() (string, error) { return bufio.NewReader(c.in).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(c.errs)
		return fmt.Errorf("%w: %w", errUnconfirmed, err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errUnconfirmed
	}
	return nil
}

// wait returns what read returns, or the error of a context that ends before. Then read goes on until the program ends:
// nothing else ends a read of standard input.
func wait(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := read()
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
