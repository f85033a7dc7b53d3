package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// broker is a message broker that is a program of its own. A scenario has its contender only where the program is
// installed.
type broker struct {
	program string
	// arguments make the program listen at a port of 127.0.0.1 and keep its messages in memory. dir is an empty
	// directory for files that it writes all the same.
	arguments func(port int, dir string) []string
	scheme    string
}

// The roles of a process that runs a broker, by contender.
var brokerRoles = map[string]string{jetStream: roleNATS, redisStreams: roleRedis}

var brokers = map[string]broker{
	roleNATS: {
		program: "nats-server", scheme: "nats",
		arguments: func(port int, dir string) []string {
			return []string{"--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--jetstream", "--store_dir", dir}
		},
	},
	roleRedis: {
		program: "redis-server", scheme: "redis",
		arguments: func(port int, dir string) []string {
			return []string{
				"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--save", "", "--appendonly", "no",
			}
		},
	},
}

// fewCollections is for brokers that are written in Go: the benchmarks measure their clients.
const fewCollections = "GOGC=400"

// brokerStart is how long a broker may take until it accepts connections.
const brokerStart = 20 * time.Second

// serveBroker runs the program of a broker, tells its address, and ends it when in ends.
func serveBroker(ctx context.Context, role string, in io.Reader, out io.Writer) (err error) {
	b := brokers[role]
	dir, err := os.MkdirTemp("", "benchmarks-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.program, b.arguments(port, dir)...)
	cmd.Env = append(os.Environ(), fewCollections)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		close(ended)
	}()
	defer func() {
		_ = cmd.Process.Kill() // it has ended, or its data is in memory only
		<-ended
	}()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := awaitBroker(ctx, addr, ended); err != nil {
		return fmt.Errorf("%s: %w", b.program, err)
	}
	if err := json.NewEncoder(out).Encode(note{URL: b.scheme + "://" + addr}); err != nil {
		return err
	}
	untilEnd(ctx, in)
	return nil
}

// freePort returns a port that was free a moment ago: these programs cannot tell which one they took.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	addr, err := netip.ParseAddrPort(l.Addr().String())
	return int(addr.Port()), err
}

// awaitBroker waits until a broker accepts connections.
func awaitBroker(ctx context.Context, addr string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, brokerStart)
	defer cancel()
	for {
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// absent returns why a contender cannot be measured on this machine; nil if it can.
func absent(contender string) error {
	role, ok := brokerRoles[contender]
	if !ok {
		return nil
	}
	_, err := exec.LookPath(brokers[role].program)
	return err
}
