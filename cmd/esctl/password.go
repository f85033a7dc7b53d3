package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// readPassword returns the first line of a file.
func readPassword(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", &usageError{fmt.Errorf("the password: %w", err)}
	}
	defer file.Close()
	line, err := bufio.NewReader(io.LimitReader(file, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("the password: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", &usageError{fmt.Errorf("the password: the first line of %s is empty", name)}
	}
	return line, nil
}

// terminal opens the terminal of the process, even if its standard input is something else.
func terminal() (*os.File, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return nil, err
		}
		return os.Stdin, nil
	}
	return tty, nil
}

// askPassword reads a password from the terminal, which does not show it. After Ctrl-C the terminal shows the input
// again.
func (c *cli) askPassword(ctx context.Context, question string) (string, error) {
	tty, err := terminal()
	if err != nil {
		return "", &usageError{errors.New("there is no terminal to ask for a password at: give a file with it")}
	}
	defer tty.Close()
	fd := int(tty.Fd())
	shows, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("the password: %w", err)
	}
	fmt.Fprintf(c.errs, "%s: ", printable(question))
	password, err := wait(ctx, func() (string, error) {
		password, err := term.ReadPassword(fd)
		return string(password), err
	})
	fmt.Fprintln(c.errs)
	if err != nil {
		return "", errors.Join(fmt.Errorf("the password: %w", err), term.Restore(fd, shows))
	}
	return password, nil
}

// newPassword reads a password to set from a file or, where none is given, twice from the terminal.
func (c *cli) newPassword(ctx context.Context, file, login string) (string, error) {
	if file != "" {
		return readPassword(file)
	}
	password, err := c.askPassword(ctx, "New password of "+login)
	if err != nil {
		return "", err
	}
	again, err := c.askPassword(ctx, "Again")
	if err == nil && again != password {
		err = &usageError{errors.New("the passwords differ")}
	}
	return password, err
}
