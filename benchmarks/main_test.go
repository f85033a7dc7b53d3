package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain makes the test binary serve as the processes of a run, too.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := dispatch(context.Background(), []string{role}); err != nil {
			fmt.Fprintln(os.Stderr, "benchmarks:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A small run of each kind of work: every contender that is ours, and the raw frames, must have a result.
func TestAQuickRun(t *testing.T) {
	dir := t.TempDir()
	run := "^(append, 256 in flight|append, batches of 100|read, pages of 500|read, 32 in flight, 10000 streams|" +
		"catch-up|catch-up with all, 10000 streams|volatile|persistent with acks, in-flight 200|" +
		"publish, 64 goroutines|subscribe|subscribe, 1000 topics|" +
		"router|router, defaults|router, handlers of 1 ms, 256 keys)$"
	opts, err := parseOptions([]string{"-quick", "-rounds", "1", "-run", run, "-out", dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := runAll(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var results struct {
		Scenarios []struct {
			Name       string
			Contenders []struct {
				Name    string
				Figures map[string]spread
				Failed  []failure
			}
		}
	}
	if err := json.Unmarshal(data, &results); err != nil {
		t.Fatal(err)
	}
	if len(results.Scenarios) != 14 {
		t.Fatalf("%d scenarios, want 14", len(results.Scenarios))
	}
	bench, err := os.ReadFile(filepath.Join(dir, benchFile))
	if err != nil {
		t.Fatal(err)
	}
	benchmarks, _ := readBench(t, bench)
	named := make(map[string]bool)
	for _, b := range benchmarks {
		named[b.Name.String()] = true
	}
	for _, s := range results.Scenarios {
		for _, c := range s.Contenders {
			if name := benchName(s.Name, c.Name, opts.cores).String(); len(c.Failed) == 0 && !named[name] {
				t.Errorf("there is no benchmark %s", name)
			}
			if c.Name != gesClient && (len(c.Failed) > 0 || c.Figures[figures[0].key].Median <= 0) {
				t.Errorf("%s, %s: %v %v", s.Name, c.Name, c.Failed, c.Figures)
			}
		}
	}
	for _, plot := range []string{"append-rate.svg", "persistent-cpu.svg", "publish-rate.svg", "router-cpu.svg"} {
		if _, err := os.Stat(filepath.Join(dir, plot)); err != nil {
			t.Error(err)
		}
	}
}

// A small run of the series: every step has a result, and each series is drawn to one scale.
func TestAQuickRunOfTheGrowth(t *testing.T) {
	dir := t.TempDir()
	run := "^(Subscribe as an? (new|existing) group, 100 topics|messages of groups, 100 topics|fan-out, .*|" +
		"append, 1 MiB|subscriptions that come and go, 1000 times)$"
	opts, err := parseOptions([]string{"-growth", "-quick", "-rounds", "1", "-run", run, "-out", dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := runAll(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "results.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(table), "failed") || strings.Count(string(table), "\n\n") != 9 {
		t.Errorf("not every step of the series has a result:\n%s", table)
	}
	for _, name := range []string{"growth-cpu.svg", "growth-heap.svg"} {
		svg, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{">fan-out<", ">1000 subscriptions<", ">append<", ">1 MiB<"} {
			if !strings.Contains(string(svg), want) {
				t.Errorf("%s has no %s", name, want)
			}
		}
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "-1"}, {"-run", "("}, {"surplus"}, {"-no-such-flag"}} {
		if err := dispatch(t.Context(), args); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
	if err := dispatch(t.Context(), []string{"-run", "no such scenario", "-out", ""}); err == nil {
		t.Error("a run without a scenario succeeds")
	}
}
