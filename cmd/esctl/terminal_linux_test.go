package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// screen is a terminal that a person sits at.
type screen struct {
	t    *testing.T
	cmd  *exec.Cmd
	ptmx *os.File
	done chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
}

// atTerminal starts the command with a terminal.
func atTerminal(t *testing.T, s target, args ...string) *screen {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("prompts need a terminal, and this system gives no pseudo terminal:", err)
	}
	t.Cleanup(func() { ptmx.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	defer tty.Close()
	v := &screen{t: t, cmd: s.command(args...), ptmx: ptmx, done: make(chan struct{})}
	v.cmd.Stdin, v.cmd.Stdout, v.cmd.Stderr = tty, tty, tty
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, v.cmd.Start())
	go func() {
		defer close(v.done)
		_, _ = io.Copy(v, ptmx) // it ends with an error when the command has gone
	}()
	return v
}

func (v *screen) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.text.Write(p)
}

func (v *screen) shown() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.text.String()
}

// answer types a line when a question is there.
func (v *screen) answer(question, line string) {
	v.t.Helper()
	require.Eventually(v.t, func() bool { return bytes.Contains([]byte(v.shown()), []byte(question)) },
		waitLimit, waitStep, question)
	_, err := v.ptmx.WriteString(line)
	require.NoError(v.t, err)
}

// end waits for the command and returns its status.
func (v *screen) end() int {
	v.t.Helper()
	_ = v.cmd.Wait() // the status is looked at
	<-v.done
	return v.cmd.ProcessState.ExitCode()
}

func TestAPersonIsAskedBeforeADelete(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	write(t, server, "orders", 1)
	s := on(t, server)

	v := atTerminal(t, s, "delete", "orders")
	v.answer("Delete stream orders? [y/N] ", "n\n")
	assert.Equal(t, exitUnconfirmed, v.end(), v.shown())
	v = atTerminal(t, s, "delete", "orders")
	v.answer("[y/N] ", "\n")
	assert.Equal(t, exitUnconfirmed, v.end(), v.shown())
	v = atTerminal(t, s, "delete", "orders")
	v.answer("[y/N] ", "\x03")
	assert.Equal(t, exitInterrupted, v.end(), v.shown())
	s.ok("read", "orders")
	v = atTerminal(t, s, "delete", "orders")
	v.answer("[y/N] ", "yes\n")
	assert.Equal(t, exitOK, v.end(), v.shown())
	s.run("", "read", "orders").expect(exitNotFound, "does not exist")
}

func TestAPasswordIsTypedAndNotShown(t *testing.T) {
	t.Parallel()
	server := estest.Run(t, estest.WithUser("ann", "correct-horse"))
	s := on(t, server)
	s.url = "tcp://" + server.Addr()

	v := atTerminal(t, s, "ping", "--user", "ann")
	v.answer("Password of ann: ", "correct-horse\n")
	assert.Equal(t, exitOK, v.end(), v.shown())
	assert.Contains(t, v.shown(), "answers in")
	assert.NotContains(t, v.shown(), "horse")

	v = atTerminal(t, s, "ping", "--user", "ann")
	v.answer("Password of ann: ", "no-horse\n")
	assert.Equal(t, exitDenied, v.end(), v.shown())
	assert.NotContains(t, v.shown(), "horse")

	v = atTerminal(t, s, "ping", "--user", "ann")
	v.answer("Password of ann: ", "\x03")
	assert.Equal(t, exitInterrupted, v.end(), v.shown())
	echo, err := unix.IoctlGetTermios(int(v.ptmx.Fd()), unix.TCGETS)
	require.NoError(t, err)
	assert.NotZero(t, echo.Lflag&unix.ECHO, "the terminal shows again what is typed")
}
