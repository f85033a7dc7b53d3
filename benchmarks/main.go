// Command benchmarks compares this project's client with other clients, in one run.
//
// Each measurement is a process of its own, so that the CPU time and the memory in the result belong to the client
// alone; the server is another process. Rounds are interleaved: every round measures every contender once, in a
// changing order. The report has medians and ranges. Before each measurement the contender warms up with a tenth more
// of the work, and the servers own memory from earlier use. The embedded server and the bare TCP relay collect no
// garbage as long as that memory lasts; nats-server does so rarely, with GOGC=400. On a machine with other load,
// compare the contenders of one scenario, not figures of different runs.
//
// Client and server share the machine here, unlike in production. So each of the two processes uses half of the cores,
// as if it had a machine of its own. If -cores gives both all cores, the scheduler moves their threads from core to
// core. Then a contender that passes work between goroutines needs more CPU, often twice as much.
//
// A run writes a table, plots, a JSON file, and results.bench in Go's benchmark format, one line for each round of each
// contender; an op is an event. Benchstat compares the contenders of a run, or two runs of one contender. It needs six
// rounds or more to tell a difference from chance:
//
//	benchstat -col /by results/results.bench
//	benchstat -filter /by:esclient old/results.bench new/results.bench
//
// With -publish the program measures nothing. It writes earlier results into the tables of docs/speed.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
)

// Arguments that make this program one of the processes of a run, instead of the one that leads it.
const (
	roleServer = "serve"
	roleRelay  = "relay"
	roleNATS   = "nats"
	roleRedis  = "redis"
	roleWorker = "work"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case roleServer:
			return serve(ctx, os.Stdin, os.Stdout)
		case roleRelay:
			return serveRelay(ctx, os.Stdin, os.Stdout)
		case roleNATS, roleRedis:
			return serveBroker(ctx, args[0], os.Stdin, os.Stdout)
		case roleWorker:
			return work(ctx, os.Stdin, os.Stdout)
		}
	}
	opts, err := parseOptions(args)
	if err != nil {
		return err
	}
	if opts.page != "" {
		return publish(opts.page, opts.out)
	}
	return runAll(ctx, opts)
}

// options are the flags of a run.
type options struct {
	args   []string // as they were given, for the report
	quick  bool
	rounds int
	cores  int // that each process uses
	only   *regexp.Regexp
	list   bool
	growth bool // the series that show growth, in place of the comparison
	url    string
	out    string
	// profiles is a directory for CPU profiles; empty for none.
	profiles string
	page     string // to write results into; empty to measure
}

func parseOptions(args []string) (options, error) {
	opts := options{args: args}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.BoolVar(&opts.quick, "quick", false, "a tenth of the work and two rounds: to see that it runs, not to quote")
	flags.IntVar(&opts.rounds, "rounds", 0, "`number` of rounds (default 5, with -quick 2)")
	flags.IntVar(&opts.cores, "cores", max(runtime.NumCPU()/2, 1), "`number` of cores that each process uses")
	flags.BoolVar(&opts.list, "list", false, "print the scenarios and end")
	flags.BoolVar(&opts.growth, "growth", false,
		"measure how the cost of an event grows with topics, subscriptions, sizes, backlogs and time;\n"+
			"without other contenders")
	flags.StringVar(&opts.url, "url", "",
		"measure on the server at `tcp://user:password@host:port` instead of the embedded one")
	flags.StringVar(&opts.out, "out", "results",
		"`directory` for the table (results.txt), the JSON file (results.json), the same in Go's benchmark format\n"+
			"(results.bench: benchstat -col /by results.bench) and the plots; empty for none")
	flags.StringVar(&opts.profiles, "profile", "", "`directory` for a CPU profile of each process, of its last round")
	flags.StringVar(&opts.page, "publish", "",
		"instead of measuring, write the results of earlier runs into the tables of the Markdown `file`: those in\n"+
			"the directory -out, in all-cores below it, and in growth below it")
	only := flags.String("run", "", "only scenarios whose name matches this `regexp`")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	var err error
	if opts.only, err = regexp.Compile(*only); err != nil {
		return opts, fmt.Errorf("-run: %w", err)
	}
	if opts.rounds < 0 {
		return opts, fmt.Errorf("-rounds: %d is negative", opts.rounds)
	}
	if opts.cores < 1 {
		return opts, fmt.Errorf("-cores: %d is less than one", opts.cores)
	}
	if opts.rounds == 0 {
		if opts.rounds = 5; opts.quick {
			opts.rounds = 2
		}
	}
	return opts, nil
}
