package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// report is a whole run.
type report struct {
	Command   string
	Date      string
	Machine   machine
	Cores     int // that each process uses
	Server    string
	Rounds    int
	Scenarios []*outcome
}

func newReport(opts options) *report {
	r := &report{
		Command: strings.Join(append([]string{"go -C benchmarks run ."}, printable(opts.args)...), " "),
		Date:    time.Now().UTC().Format(time.DateOnly), Machine: describeMachine(),
		Cores: opts.cores, Rounds: opts.rounds,
		Server: "embedded (estest), in a process of its own",
	}
	if opts.url != "" {
		r.Server = "given by -url"
	}
	return r
}

// printable masks the values of flags that name a user's server or directories.
func printable(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if name != "url" && name != "out" && name != "profile" {
			out = append(out, quoted(args[i]))
			continue
		}
		out = append(out, "-"+name+"=…")
		if !joined {
			i++
		}
	}
	return out
}

// quoted quotes an argument, so that a shell takes it as one word.
func quoted(arg string) string {
	if !strings.ContainsAny(arg, " '\"()|^$*?[]\\") {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

func (r *report) add(o *outcome) { r.Scenarios = append(r.Scenarios, o) }

// write puts everything into a directory.
func (r *report) write(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r.summary(), "", "  ")
	if err != nil {
		return err
	}
	var table bytes.Buffer
	r.print(&table)
	bench, err := r.benchText()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"results.json": append(data, '\n'), "results.txt": table.Bytes(), benchFile: bench,
	}
	for name, svg := range r.plots() {
		files[name] = svg
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("\nTable, JSON, plots and a file for benchstat are in %s.\n", dir)
	return nil
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s, %d rounds, %s\n", r.Command, r.Date, r.Rounds, r.Machine)
	fmt.Fprintf(w, "Server: %s. Cores that each process uses: %d\n", r.Server, r.Cores)
	fmt.Fprintln(w, "Medians, and least to most events/s. "+
		"CPU, allocations and write calls are those of the client process, an event.")
	fmt.Fprintln(w, "A warm-up with a tenth of the events precedes each measurement. "+
		"The embedded server and the relay begin with memory that was in use before.")
	for _, o := range r.Scenarios {
		o.print(w)
	}
}

// print prints the table of a scenario.
func (o *outcome) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%d events of %s)\n", o.Name, o.Job.Events, bytesName(o.Job.Size))
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tab, "\t")
	for _, f := range figures {
		fmt.Fprintf(tab, "%s\t", f.title)
		if f.key == figures[0].key {
			fmt.Fprint(tab, "range\t")
		}
	}
	fmt.Fprintln(tab)
	for i := range o.Contenders {
		m := &o.Contenders[i]
		fmt.Fprintf(tab, "%s\t", m.Name)
		for _, f := range figures {
			s, ok := m.over(f)
			fmt.Fprintf(tab, "%s\t", number(s.Median, ok))
			if f.key == figures[0].key && ok {
				fmt.Fprintf(tab, "%s–%s\t", number(s.Min, ok), number(s.Max, ok))
			} else if f.key == figures[0].key {
				fmt.Fprint(tab, "failed\t")
			}
		}
		fmt.Fprintln(tab)
	}
	tab.Flush()
	for i := range o.Contenders {
		o.Contenders[i].printTroubles(w)
	}
	for _, why := range o.Missing {
		fmt.Fprintf(w, "  ! not measured: %s\n", why)
	}
}

func (m *measured) printTroubles(w io.Writer) {
	failed, drops := m.troubles()
	for _, f := range failed {
		fmt.Fprintf(w, "  ! %s failed in %d of %d rounds: %s\n", m.Name, f.Rounds, len(m.Rounds), f.Why)
	}
	if drops > 0 {
		fmt.Fprintf(w, "  ! %s lost its connection %d times\n", m.Name, drops)
	}
}

// number prints three significant digits, or more before the point.
func number(v float64, ok bool) string {
	switch {
	case !ok:
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// summary is the content of the JSON file: the figures over the rounds, and the rounds themselves.
func (r *report) summary() any {
	type contender struct {
		Name    string            `json:"name"`
		Figures map[string]spread `json:"figures"`
		Failed  []failure         `json:"failed,omitempty"`
		Drops   int64             `json:"drops,omitempty"`
		Rounds  []result          `json:"rounds"`
	}
	type entry struct {
		Name       string      `json:"name"`
		Events     int         `json:"events"`
		Size       int         `json:"size"`
		Contenders []contender `json:"contenders"`
	}
	var entries []entry
	for _, o := range r.Scenarios {
		e := entry{Name: o.Name, Events: o.Job.Events, Size: o.Job.Size}
		for i := range o.Contenders {
			m := &o.Contenders[i]
			c := contender{Name: m.Name, Figures: make(map[string]spread), Rounds: m.Rounds}
			c.Failed, c.Drops = m.troubles()
			for _, f := range figures {
				if s, ok := m.over(f); ok {
					c.Figures[f.key] = s
				}
			}
			e.Contenders = append(e.Contenders, c)
		}
		entries = append(entries, e)
	}
	return struct {
		Command   string  `json:"command"`
		Date      string  `json:"date"`
		Machine   machine `json:"machine"`
		Server    string  `json:"server"`
		Cores     int     `json:"cores"` // that each process uses
		Rounds    int     `json:"rounds"`
		Scenarios []entry `json:"scenarios"`
	}{r.Command, r.Date, r.Machine, r.Server, r.Cores, r.Rounds, entries}
}
