package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// runAll runs the scenarios and reports.
func runAll(ctx context.Context, opts options) error {
	rep := newReport(opts)
	if err := useCores(opts.cores); err != nil {
		return err
	}
	for _, s := range scenarios() {
		if !opts.only.MatchString(s.name) {
			continue
		}
		if opts.list {
			fmt.Printf("%-54s %s\n", s.name, strings.Join(s.contenders, ", "))
			continue
		}
		s.job = s.job.sized(opts.quick)
		outcome, err := runScenario(ctx, s, opts)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		rep.add(outcome)
		outcome.print(os.Stdout)
	}
	switch {
	case opts.list:
		return nil
	case len(rep.Scenarios) == 0:
		return fmt.Errorf("-run %q matches no scenario; -list prints them", opts.only)
	}
	return rep.write(opts.out)
}

// outcome is the result of a scenario: one for each round, for each contender.
type outcome struct {
	Name       string
	Job        job
	Contenders []measured
}

type measured struct {
	Name   string
	Rounds []result
}

// runScenario measures every contender once a round. The order changes from round to round, since the second contender
// finds a warmer server.
func runScenario(ctx context.Context, s scenario, opts options) (*outcome, error) {
	urls, stop, err := startServers(ctx, s, opts)
	if err != nil {
		return nil, err
	}
	defer stop()
	c, err := openPusher(ctx, urls[roleServer])
	if err != nil {
		return nil, err
	}
	defer c.Close()

	base := fmt.Sprintf("benchmark-%d", time.Now().UnixNano())
	if s.job.prepared() {
		s.job.Stream = base
		if s.job.After, err = prepare(ctx, c, s.job); err != nil {
			return nil, fmt.Errorf("writing the events to read: %w", err)
		}
	}
	out := &outcome{Name: s.name, Job: s.job, Contenders: make([]measured, len(s.contenders))}
	for i, name := range s.contenders {
		out.Contenders[i].Name = name
	}
	for round := range opts.rounds {
		for i := range s.contenders {
			n := (i + round) % len(s.contenders)
			j := s.job
			j.Contender = s.contenders[n]
			if j.URL = urls[roleServer]; j.Contender == bareTCP {
				j.URL = urls[roleRelay]
			}
			own := fmt.Sprintf("%s-%d-%d", base, round, n)
			if j.Group = own; !j.prepared() {
				j.Stream = own
			}
			heard := func(int) error { return nil }
			if j.pushed() {
				p := newPusher(c, j)
				heard = func(seen int) error { return p.push(ctx, seen/j.fanOut()) }
			}
			r := runWorker(ctx, j, opts.profileOf(s.name, j.Contender), heard)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			out.Contenders[n].Rounds = append(out.Contenders[n].Rounds, r)
		}
	}
	return out, nil
}

// startServers starts the servers that a scenario needs, and returns the address of each role.
func startServers(ctx context.Context, s scenario, opts options) (urls map[string]string, stop func(), err error) {
	urls = map[string]string{roleServer: opts.url}
	var started []*server
	stop = func() {
		for _, srv := range started {
			srv.stop()
		}
	}
	start := func(role string, contenders ...string) {
		if err != nil {
			return
		}
		var srv *server
		srv, err = startServer(ctx, role, opts.profileOf(s.name, role), s.memory(opts.rounds, contenders...))
		if err == nil {
			started = append(started, srv)
			urls[role] = srv.url
		}
	}
	if opts.url == "" {
		start(roleServer, storing...)
	}
	if slices.Contains(s.contenders, bareTCP) {
		start(roleRelay, bareTCP)
	}
	if err != nil {
		stop()
	}
	return urls, stop, err
}
