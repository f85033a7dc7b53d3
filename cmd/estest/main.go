// Command estest runs an in-memory, wire-compatible EventStore for tests and first steps. Whatever is written to it is
// gone when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("estest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	tcp := flags.String("tcp", "127.0.0.1:1113", "`host:port` for the TCP protocol")
	http := flags.String("http", "127.0.0.1:2113", "`host:port` for HTTP; empty for none")
	persona := flags.String("persona", string(estest.Persona5011), "server `version` to behave as: 5.0.11, 4.1.4 or 23.10")
	level := flags.String("log-level", "warn", "what to log: debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("estest: unknown argument %q", flags.Arg(0))
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(*level)); err != nil {
		return fmt.Errorf("estest: -log-level: %w", err)
	}
	srv, err := estest.Start(
		estest.WithTCPAddr(*tcp), estest.WithHTTPAddr(*http), estest.WithPersona(estest.Persona(*persona)),
		estest.WithLogger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: l}))),
	)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "EventStore %s (estest), in memory only: nothing is kept when it ends.\n", *persona)
	fmt.Fprintf(stdout, "TCP   %s\n", srv.ConnectionString())
	if url := srv.HTTPURL(); url != "" {
		fmt.Fprintf(stdout, "HTTP  %s\n", url)
	}
	<-ctx.Done()
	fmt.Fprintln(stdout, "Ending.")
	return srv.Close()
}
