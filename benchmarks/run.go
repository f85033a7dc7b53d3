package main

import (
	"context"
	"encoding/json"
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
	list := scenarios()
	if opts.growth {
		list = growthScenarios()
	}
	for _, s := range list {
		if !opts.only.MatchString(s.name) {
			continue
		}
		if opts.list {
			fmt.Printf("%-54s %s\n", s.name, strings.Join(s.contenders, ", "))
			continue
		}
		s.job = s.job.sized(opts.quick)
		missing := s.leaveOutAbsent()
		outcome, err := runScenario(ctx, s, opts)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		outcome.Missing = missing
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
	Missing    []string // contenders that this machine has no server for, and why
	growth     *step    // nil if the scenario belongs to no series
}

type measured struct {
	Name   string
	Rounds []result
}

// runScenario measures every contender once a round. The order changes from round to round, since the second contender
// finds a warmer server.
func runScenario(ctx context.Context, s scenario, opts options) (*outcome, error) {
	base := fmt.Sprintf("benchmark-%d", time.Now().UnixNano())
	if s.job.Existing {
		s.job.Stream, s.job.Group = base, base
	}
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

	if s.job.prepared() {
		s.job.Stream = base
		if s.job.After, err = prepare(ctx, c, s.job); err != nil {
			return nil, fmt.Errorf("writing the events to read: %w", err)
		}
	}
	out := &outcome{Name: s.name, Job: s.job, Contenders: make([]measured, len(s.contenders)), growth: s.growth}
	for i, name := range s.contenders {
		out.Contenders[i].Name = name
	}
	for round := range opts.rounds {
		for i := range s.contenders {
			n := (i + round) % len(s.contenders)
			j := s.job
			j.Contender = s.contenders[n]
			j.URL = urls[roleOf(j.Contender)]
			own := fmt.Sprintf("%s-%d-%d", base, round, n)
			if !j.Existing {
				j.Group = own
			}
			if !j.Existing && !j.prepared() {
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
		var groups []string
		if role == roleServer && s.job.Existing {
			groups = append(groups, groupsVariable+"="+asJSON(s.job))
		}
		srv, err = startServer(ctx, role, opts.profileOf(s.name, role), s.memory(opts.rounds, contenders...), groups...)
		if err == nil {
			started = append(started, srv)
			urls[role] = srv.url
		}
	}
	if opts.url == "" {
		start(roleServer, storing...)
	}
	for _, contender := range s.contenders {
		if role := roleOf(contender); role != roleServer {
			start(role, contender)
		}
	}
	if err != nil {
		stop()
	}
	return urls, stop, err
}

func asJSON(j job) string {
	text, _ := json.Marshal(j) // numbers and strings only
	return string(text)
}

// roleOf returns the role of the server that a contender connects to.
func roleOf(contender string) string {
	if contender == bareTCP {
		return roleRelay
	}
	if role, ok := brokerRoles[contender]; ok {
		return role
	}
	return roleServer
}

// leaveOutAbsent removes the contenders that cannot be measured on this machine and tells why.
func (s *scenario) leaveOutAbsent() (missing []string) {
	s.contenders = slices.DeleteFunc(slices.Clone(s.contenders), func(contender string) bool {
		err := absent(contender)
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", contender, err))
		}
		return err != nil
	})
	return missing
}
