// Command estest runs an in-memory, wire-compatible EventStore for tests and first steps. Its data are gone when it
// ends. A page at its HTTP address shows them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are the values of the flags.
type settings struct {
	tcp, http, persona, level string
	tls, projections          bool
	anonymous, insecure       bool
	nodes                     int
	asyncRights               time.Duration
	caFile                    string
	users                     []estest.Option
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	var s settings
	flags := flag.NewFlagSet("estest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "estest runs an EventStore in memory only: nothing is kept when it ends.\n\nFlags:\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&s.tcp, "tcp", "127.0.0.1:1113", "`host:port` for the TCP protocol")
	flags.StringVar(&s.http, "http", "127.0.0.1:2113", "`host:port` for HTTP; empty for none")
	flags.StringVar(&s.persona, "persona", string(estest.Persona5011),
		"server `version` to behave as: 5.0.11, 4.1.4 or 23.10")
	flags.BoolVar(&s.tls, "tls", false, "take encrypted connections only, with a certificate that is made at the start")
	flags.StringVar(&s.caFile, "tls-ca", "", "`file` to write the certificate to that clients must trust; implies -tls")
	flags.BoolVar(&s.projections, "projections", false,
		"run the system projections: $ce-, $et-, $bc-, $streams and $category-")
	flags.BoolVar(&s.anonymous, "anonymous", false, "accept clients without credentials on a 23.10 server")
	flags.BoolVar(&s.insecure, "insecure", false,
		"every client may do everything, as --insecure of 20.6 and later does; needs -persona 23.10")
	flags.IntVar(&s.nodes, "cluster", 0,
		"`nodes` of a cluster, on the ports of -tcp and -http and the ports after them; 0 for a single server")
	flags.DurationVar(&s.asyncRights, "async-rights", 0,
		"have requests of users who are no administrators wait so long, in which others overtake them")
	var users []string
	flags.Func("user", "`login:password[:group,group]` to add, or to change; repeatable", func(value string) error {
		users = append(users, value) // and looked at later: an error here would be shown with the password
		return nil
	})
	flags.StringVar(&s.level, "log-level", "warn", "what to log: debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("estest: unknown argument %q", flags.Arg(0))
	}
	s.tls = s.tls || s.caFile != ""
	for _, value := range users {
		if err := s.addUser(value); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

// addUser reads a value of -user.
func (s *settings) addUser(value string) error {
	login, rest, ok := strings.Cut(value, ":")
	password, list, _ := strings.Cut(rest, ":")
	if !ok || login == "" || password == "" {
		return errors.New("estest: -user: want login:password, and groups behind another colon")
	}
	var groups []string
	if list != "" {
		groups = strings.Split(list, ",")
	}
	s.users = append(s.users, estest.WithUser(login, password, groups...))
	return nil
}

func (s *settings) options(stderr io.Writer) ([]estest.Option, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.level)); err != nil {
		return nil, fmt.Errorf("estest: -log-level: %w", err)
	}
	options := slices.Concat(s.users, []estest.Option{
		estest.WithTCPAddr(s.tcp), estest.WithHTTPAddr(s.http), estest.WithPersona(estest.Persona(s.persona)),
		estest.WithLogger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))),
	})
	if s.tls {
		options = append(options, estest.WithTLS())
	}
	if s.projections {
		options = append(options, estest.WithProjections())
	}
	if s.asyncRights > 0 {
		options = append(options, estest.WithAsyncRights(s.asyncRights))
	}
	if s.anonymous {
		options = append(options, estest.WithAnonymousAccess())
	}
	if s.insecure {
		options = append(options, estest.WithInsecure())
	}
	return options, nil
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	options, err := s.options(stderr)
	if err != nil {
		return err
	}
	if s.nodes == 0 {
		srv, err := estest.Start(options...)
		if err != nil {
			return err
		}
		return s.serve(ctx, stdout, srv, "", []*estest.Server{srv})
	}
	c, err := estest.StartCluster(s.nodes, options...)
	if err != nil {
		return err
	}
	nodes := make([]*estest.Server, c.Size())
	for i := range nodes {
		nodes[i] = c.Node(i)
	}
	return s.serve(ctx, stdout, c, c.ConnectionString(), nodes)
}

// serve says how to reach the nodes until ctx ends, and then closes all of them.
func (s *settings) serve(
	ctx context.Context, stdout io.Writer, all io.Closer, gossip string, nodes []*estest.Server,
) (err error) {
	defer func() { err = errors.Join(err, all.Close()) }()
	if s.caFile != "" {
		if err := os.WriteFile(s.caFile, nodes[0].CertPEM(), 0o644); err != nil { //nolint:gosec // it is public
			return fmt.Errorf("estest: -tls-ca: %w", err)
		}
	}
	s.announce(stdout, gossip, nodes)
	<-ctx.Done()
	fmt.Fprintln(stdout, "Ending.")
	return nil
}

// announce says how to reach the nodes.
func (s *settings) announce(stdout io.Writer, gossip string, nodes []*estest.Server) {
	cluster := ""
	if gossip != "" {
		cluster = fmt.Sprintf(", a cluster of %d", len(nodes))
	}
	fmt.Fprintf(stdout, "EventStore %s (estest)%s, in memory only: nothing is kept when it ends.\n", s.persona, cluster)
	if gossip != "" {
		if s.caFile != "" {
			gossip += "; TLSCAFile=" + s.caFile
		}
		fmt.Fprintf(stdout, "ALL   %s\n", gossip)
	}
	if s.tls && s.caFile == "" {
		fmt.Fprintln(stdout, "TLS   no file has the certificate that clients must trust: give one with -tls-ca.")
	}
	for _, srv := range nodes {
		connect := srv.ConnectionString()
		if s.caFile != "" {
			connect += "?tlsCAFile=" + url.QueryEscape(s.caFile)
		}
		fmt.Fprintf(stdout, "TCP   %s\n", connect)
		if url := srv.HTTPURL(); url != "" {
			fmt.Fprintf(stdout, "HTTP  %s\n", url)
		}
	}
}
