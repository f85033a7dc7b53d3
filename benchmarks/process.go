package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// process is this program in another role.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser // its end asks the process to end
	out    *bufio.Reader
	stderr bytes.Buffer
}

// useCores limits the processes of the run: this one and its children.
func useCores(n int) error {
	runtime.GOMAXPROCS(n)
	return os.Setenv("GOMAXPROCS", strconv.Itoa(n))
}

// startProcess starts this program in a role, with additions to its environment.
func startProcess(ctx context.Context, role string, env ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, role)}
	p.cmd.Env = append(append(os.Environ(), roleVariable+"="+role, keepMemory()), env...)
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// roleVariable tells the test binary which role it has, since its arguments are the testing package's.
const roleVariable = "WATERMILL_BENCHMARKS_ROLE"

// next reads the next message. If there is none, its error says how the process ended.
func (p *process) next() (note, error) {
	var m note
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return m, p.ended()
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("printed %q: %w", bytes.TrimSpace(line), err)
	}
	return m, nil
}

// ended waits for the end and returns the last output as an error.
func (p *process) ended() error {
	err := p.cmd.Wait()
	if err == nil {
		err = errors.New("ended without a result")
	}
	if why := errorLine(p.stderr.String()); why != "" {
		err = fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// errorLine is the line of a process's errors that tells most: that of the panic, if there was one.
func errorLine(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	return strings.TrimPrefix(lines[len(lines)-1], "benchmarks: ")
}

func (p *process) stop() {
	p.in.Close()
	_ = p.cmd.Wait() // its results came before
}

// server is the process of the embedded server, or of the relay.
type server struct {
	*process
	url string
}

// startServer starts a server that writes a CPU profile if profile names a file, and owns so many bytes of memory.
func startServer(ctx context.Context, role, profile string, memory int, env ...string) (*server, error) {
	p, err := startProcess(ctx, role, append(env, profileVariable+"="+profile,
		memoryVariable+"="+strconv.Itoa(memory))...)
	if err != nil {
		return nil, fmt.Errorf("starting the server (%s): %w", role, err)
	}
	m, err := p.next()
	if err != nil {
		return nil, fmt.Errorf("starting the server (%s): %w", role, err)
	}
	return &server{process: p, url: m.URL}, nil
}

// workerLimit is how long a measurement may take. A contender that hangs is a result, too.
const workerLimit = 3 * time.Minute

// runWorker measures one contender in a process of its own, which writes a CPU profile if profile names a file. A
// worker that fails, crashes or hangs is a result that says so. heard is called when the worker is ready for events
// and, so that more can be pushed, when it has seen some.
func runWorker(ctx context.Context, j job, profile string, heard func(seen int) error) result {
	ctx, cancel := context.WithTimeout(ctx, workerLimit)
	defer cancel()
	r, err := measure(ctx, j, profile, heard)
	switch {
	case err == nil:
		return r
	case ctx.Err() != nil:
		err = fmt.Errorf("did not end within %v", workerLimit)
	}
	return result{Failed: err.Error()}
}

func measure(ctx context.Context, j job, profile string, heard func(seen int) error) (result, error) {
	p, err := startProcess(ctx, roleWorker, profileVariable+"="+profile)
	if err != nil {
		return result{}, err
	}
	defer p.stop()
	if err := json.NewEncoder(p.in).Encode(j); err != nil {
		return result{}, err
	}
	for {
		m, err := p.next()
		if err != nil {
			return result{}, err
		}
		if m.Result != nil {
			return *m.Result, nil
		}
		if err := heard(m.Seen); err != nil {
			return result{}, fmt.Errorf("writing events: %w", err)
		}
	}
}
