package main

import (
	"bufio"
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

// terminal opens the terminal of the process, whatever its standard input is.
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

// askPassword reads a password from the terminal, which does not show it.
func (c *cli) askPassword(question string) (string, error) {
	tty, err := terminal()
	if err != nil {
		return "", &usageError{errors.New("there is no terminal to ask for a password at: give a file with it")}
	}
	defer tty.Close()
	fmt.Fprintf(c.errs, "%s: ", question)
	password, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(c.errs)
	if err != nil {
		return "", fmt.Errorf("the password: %w", err)
	}
	return string(password), nil
}
