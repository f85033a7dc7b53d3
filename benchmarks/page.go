package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// published is what the page takes from a results.json.
type published struct {
	Command   string
	Date      string
	Machine   machine
	Cores     int
	Rounds    int
	Scenarios []publishedScenario
}

type publishedScenario struct {
	Name       string
	Contenders []publishedContender
}

type publishedContender struct {
	Name    string
	Figures map[string]spread
}

// pageBlock is a part of the page that a run replaces, from a comment with its name to the next end comment.
type pageBlock struct {
	name string
	from string // folder of the results, below that of -out
	text func(p *published) string
}

var pageBlocks = []pageBlock{
	{"run", "", runText},
	{"clients", "", tableOf("", false, []string{esClient, gesClient, rawFrames}, []pageRow{
		{label: "append, one at a time", scenario: "append, 1 in flight"},
		{label: "append, 256 in flight", scenario: "append, 256 in flight"},
		{label: "the same by `AppendFrom`", scenario: "append, 256 in flight", instead: esSource},
		{label: "append, batches of 100", scenario: "append, batches of 100"},
		{label: "read, pages of 500", scenario: "read, pages of 500"},
		{label: "catch-up", scenario: "catch-up"},
		{label: "volatile", scenario: "volatile"},
		{label: "persistent with acks, 10 in flight", scenario: "persistent with acks, in-flight 10"},
		{label: "persistent with acks, 200 in flight", scenario: "persistent with acks, in-flight 200"},
	})},
	{"pubsubs", "", tableOf(bareTCP, false, []string{ownPubSub, bareTCP, goChannel}, []pageRow{
		{label: "publish, 64 goroutines", scenario: "publish, 64 goroutines"},
		{label: "subscribe, a group", scenario: "subscribe"},
		{label: "subscribe, catch-up", scenario: "subscribe", instead: ownCatchUp},
		{label: "a Router that acks at once, a group", scenario: "router"},
		{label: "the same, catch-up", scenario: "router", instead: ownCatchUp},
		{label: "handlers of 1 ms: one at a time", scenario: "router, handlers of 1 ms, 256 keys", instead: ownSerial},
		{label: "the same, `Concurrency: 64`", scenario: "router, handlers of 1 ms, 256 keys", instead: ownLanes},
	})},
	{"brokers", "", tableOf(bareTCP, false, []string{ownDefault, bareTCP, jetStream, redisStreams}, []pageRow{
		{label: "publish, 64 goroutines", scenario: "publish, 64 goroutines", instead: ownPubSub, others: true},
		{label: "a Router that acks at once", scenario: "router, defaults"},
	})},
	{"cores", "all-cores", tableOf("", true, []string{esClient, gesClient, ownPubSub, bareTCP}, []pageRow{
		{label: "append, one at a time", scenario: "append, 1 in flight"},
		{label: "append, 256 in flight", scenario: "append, 256 in flight"},
		{label: "volatile", scenario: "volatile"},
		{label: "persistent with acks, 200 in flight", scenario: "persistent with acks, in-flight 200"},
		{label: "publish, 64 goroutines", scenario: "publish, 64 goroutines"},
		{label: "a Router that acks at once", scenario: "router"},
	})},
	{"growth", "growth", growthText},
}

// publish writes the results below a folder into the blocks of the page.
func publish(page, out string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	for _, b := range pageBlocks {
		content, err := b.content(out)
		if err != nil {
			return err
		}
		if text, err = replaceBlock(text, b.name, content); err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
	}
	return os.WriteFile(page, text, 0o644)
}

func (b *pageBlock) content(out string) (string, error) {
	path := filepath.Join(out, b.from, "results.json")
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "This part has not been measured yet.", nil
	case err != nil:
		return "", err
	}
	var p published
	if err := json.Unmarshal(data, &p); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return b.text(&p), nil
}

const blockEnd = "<!-- end -->"

// replaceBlock replaces what is between the two comments of a block.
func replaceBlock(text []byte, name, content string) ([]byte, error) {
	begin := "<!-- benchmarks: " + name + " -->"
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(blockEnd))
	if !ok || !closed {
		return nil, fmt.Errorf("there is no block from %q to %q", begin, blockEnd)
	}
	return slices.Concat(before, []byte(begin+"\n\n"+strings.TrimSpace(content)+"\n\n"+blockEnd), after), nil
}

func runText(p *published) string {
	return "`" + p.Command + fmt.Sprintf("`, %d rounds, %s,\n%s; each process had %d of the cores.",
		p.Rounds, p.Date, p.Machine, p.Cores)
}

// pageRow is a row of a table: a scenario.
type pageRow struct {
	label, scenario string
	instead         string // the contender for the first column, if it is not that of the header
	others          bool   // with instead: the other columns are not empty
}

// tableOf makes a table with a column for each contender. The first column also tells how fast it is beside the
// contender reference, if there is one.
func tableOf(reference string, cpuFirst bool, columns []string, rows []pageRow) func(p *published) string {
	return func(p *published) string {
		b := new(strings.Builder)
		fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		for _, row := range rows {
			scenario := p.scenario(row.scenario)
			if scenario == nil {
				continue
			}
			cells := make([]string, len(columns))
			for i, name := range columns {
				if i == 0 {
					name = cmp.Or(row.instead, name)
				} else if row.instead != "" && !row.others {
					continue
				}
				cells[i] = scenario.cell(name, cpuFirst)
				if ratio := scenario.ratio(name, reference); i == 0 && cells[i] != "" && ratio > 0 {
					cells[i] += fmt.Sprintf("; %.2f of %s", ratio, reference)
				}
			}
			if strings.Join(cells, "") != "" {
				fmt.Fprintf(b, "| %s | %s |\n", row.label, strings.Join(cells, " | "))
			}
		}
		return b.String()
	}
}

func (p *published) scenario(name string) *publishedScenario {
	for i := range p.Scenarios {
		if p.Scenarios[i].Name == name {
			return &p.Scenarios[i]
		}
	}
	return nil
}

// median is a figure of a contender; 0 if there is none.
func (s *publishedScenario) median(contender, figure string) float64 {
	for _, c := range s.Contenders {
		if c.Name == contender {
			return c.Figures[figure].Median
		}
	}
	return 0
}

// ratio is the rate of a contender beside that of the reference; 0 if either was not measured.
func (s *publishedScenario) ratio(contender, reference string) float64 {
	of := s.median(reference, "eventsPerSecond")
	if of == 0 || contender == reference {
		return 0
	}
	return s.median(contender, "eventsPerSecond") / of
}

// cell tells the rate of a contender and what an event costs it; empty if it was not measured.
func (s *publishedScenario) cell(contender string, cpuOnly bool) string {
	rate := s.median(contender, "eventsPerSecond")
	if rate == 0 {
		return ""
	}
	parts := []string{thousands(rate) + "/s"}
	if p50 := s.median(contender, "p50Micros"); p50 > 0 && strings.HasSuffix(s.Name, ", 1 in flight") {
		parts = append(parts, fmt.Sprintf("p50 %.0f µs", p50))
	}
	parts = append(parts, micros(s.median(contender, "clientCPUMicrosPerEvent"))+" CPU")
	if contender != rawFrames && !cpuOnly {
		parts = append(parts, number(s.median(contender, "allocsPerEvent"), true)+" allocs")
	}
	return strings.Join(parts, ", ")
}

// growthText is a table with the steps of one series after the other, and the plots.
func growthText(p *published) string {
	rows := make(map[string][]string)
	var order []string
	for i := range p.Scenarios {
		s := &p.Scenarios[i]
		at := strings.LastIndex(s.Name, ", ")
		if at < 0 {
			continue
		}
		name := s.Name[:at]
		if rows[name] == nil {
			order = append(order, name)
		}
		rows[name] = append(rows[name], s.Name[at+2:]+" | "+s.step())
	}
	b := new(strings.Builder)
	b.WriteString("| series | | a second | CPU, each | allocated, each | heap at its peak |\n")
	b.WriteString("|---|---|---|---|---|---|\n")
	for _, name := range order {
		for i, row := range rows[name] {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(b, "| %s | %s |\n", name, row)
		}
	}
	b.WriteString("\n![CPU time, as one number grows](../benchmarks/results/growth/growth-cpu.svg)\n")
	b.WriteString("\n![Heap, as one number grows](../benchmarks/results/growth/growth-heap.svg)\n")
	return b.String()
}

// step has the cells of a step, which has one contender.
func (s *publishedScenario) step() string {
	for _, c := range s.Contenders {
		if rate := s.median(c.Name, "eventsPerSecond"); rate > 0 {
			return fmt.Sprintf("%s | %s | %s B | %s MB", thousands(rate),
				micros(s.median(c.Name, "clientCPUMicrosPerEvent")), thousands(s.median(c.Name, "bytesPerEvent")),
				number(s.median(c.Name, "peakHeapMegabytes"), true))
		}
	}
	return "failed | | |"
}

func micros(v float64) string { return number(v, true) + " µs" }

// thousands prints three significant digits, in groups of three.
func thousands(v float64) string {
	unit := 1.0
	for v/unit >= 1000 {
		unit *= 10
	}
	digits := strconv.Itoa(int(math.Round(v/unit) * unit))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}
