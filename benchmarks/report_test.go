package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestFailuresAreReported(t *testing.T) {
	good := result{Events: 1000, Bytes: 1000, Seconds: 1}
	o := &outcome{Name: "work", Job: job{Events: 1000, Size: 1}, Contenders: []measured{
		{Name: "steady", Rounds: []result{good, good, {Events: 1000, Seconds: 2, Drops: 3}}},
		{Name: "shaky", Rounds: []result{{Failed: "it fell"}, good, {Failed: "it fell"}}},
		{Name: "broken", Rounds: []result{{Failed: "no"}, {Failed: "no"}, {Failed: "no way"}}},
	}}
	var b bytes.Buffer
	o.print(&b)
	for _, want := range [][]string{
		{"steady", "1000", "500–1000"}, {"shaky", "1000", "1000–1000"}, {"broken", "-", "failed", "-"},
		{"!", "steady", "lost its connection 3 times"},
		{"!", "shaky", "failed in 2 of 3 rounds: it fell"},
		{"!", "broken", "failed in 2 of 3 rounds: no"}, {"!", "broken", "failed in 1 of 3 rounds: no way"},
	} {
		if !hasLine(b.String(), want) {
			t.Errorf("no line has %q:\n%s", want, b.String())
		}
	}
	if svg := string(plot("plot", []*outcome{o}, figures[0])); strings.Count(svg, ">failed<") != 1 {
		t.Errorf("the plot does not tell who failed:\n%s", svg)
	}
}

func TestTheCommandCanBePasted(t *testing.T) {
	opts, err := parseOptions([]string{"-rounds", "1", "-run", "^(a|b c)$", "-url", "tcp://me:secret@host:1113"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "go -C benchmarks run . -rounds 1 -run '^(a|b c)$' -url=…"
	if got := newReport(opts).Command; got != want {
		t.Errorf("the command is %s, want %s", got, want)
	}
}

// hasLine reports whether a line begins with these words or phrases, in this order.
func hasLine(text string, words []string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.Join(strings.Fields(line), " "), strings.Join(words, " ")) {
			return true
		}
	}
	return false
}
