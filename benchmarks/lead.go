package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// lead runs the scenarios and reports.
func lead(ctx context.Context, opts options) error {
	rep := newReport(opts)
	if err := useCores(opts.cores); err != nil {
		return err
	}
	for _, s := range scenarios() {
		if !opts.only.MatchString(s.name) {
			continue
		}
		if opts.list {
			fmt.Printf("%-42s %s\n", s.name, strings.Join(s.contenders, ", "))
			continue
		}
		outcome, err := runScenario(ctx, s.sized(opts.quick), opts)
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

// outcome is what came of a scenario: a result for each round, for each contender.
type outcome struct {
	Name       string
	Job        job
	Contenders []measured
}

type measured struct {
	Name   string
	Rounds []result
}

// runScenario measures every contender once a round. The order changes from round to round, as whoever comes second
// finds a warmer server.
func runScenario(ctx context.Context, s scenario, opts options) (*outcome, error) {
	url := opts.url
	if url == "" {
		srv, err := startServer(ctx, roleServer, opts.profileOf(s.name, roleServer), s.memory(opts.rounds, storing...))
		if err != nil {
			return nil, err
		}
		defer srv.stop()
		url = srv.url
	}
	urls := make(map[string]string)
	if slices.Contains(s.contenders, bareTCP) {
		relay, err := startServer(ctx, roleRelay, opts.profileOf(s.name, roleRelay), s.memory(opts.rounds, bareTCP))
		if err != nil {
			return nil, err
		}
		defer relay.stop()
		urls[bareTCP] = relay.url
	}
	c, err := openPusher(ctx, url)
	if err != nil {
		return nil, err
	}
	defer c.Close()

	base := fmt.Sprintf("benchmark-%d", time.Now().UnixNano())
	if s.prepare {
		s.job.Stream = base
		if err := newPusher(c, s.job).push(ctx, math.MaxInt/2); err != nil {
			return nil, fmt.Errorf("writing the events to read: %w", err)
		}
	}
	out := &outcome{Name: s.name, Job: s.job, Contenders: make([]measured, len(s.contenders))}
	out.Job.Stream = ""
	for i, name := range s.contenders {
		out.Contenders[i].Name = name
	}
	for round := range opts.rounds {
		for i := range s.contenders {
			n := (i + round) % len(s.contenders)
			j := s.job
			j.Contender = s.contenders[n]
			if j.URL = url; urls[j.Contender] != "" {
				j.URL = urls[j.Contender]
			}
			own := fmt.Sprintf("%s-%d-%d", base, round, n)
			if j.Group = own; !s.prepare {
				j.Stream = own
			}
			heard := func(int) error { return nil }
			if s.push {
				p := newPusher(c, j)
				heard = func(seen int) error { return p.push(ctx, seen/j.Subs) }
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
