package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page has all blocks. Only what is in them changes, and not when the same results are written again.
func TestResultsAreWrittenIntoThePage(t *testing.T) {
	original, err := os.ReadFile("../docs/speed.md")
	if err != nil {
		t.Fatal(err)
	}
	page, out := filepath.Join(t.TempDir(), "speed.md"), t.TempDir()
	written := func() string {
		t.Helper()
		if err := publish(page, out); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if err := os.WriteFile(page, original, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(written(), "has not been measured yet"); got != len(pageBlocks) {
		t.Errorf("%d of %d blocks say that they were not measured", got, len(pageBlocks))
	}
	one := func(name string, seconds float64) measured {
		return measured{name, []result{{Events: 3000, Bytes: 3000, Seconds: seconds, CPU: 0.006, PeakHeap: 7e6}}}
	}
	for dir, scenarios := range map[string][]*outcome{
		"": {
			{Name: "router", Contenders: []measured{one(ownPubSub, 2), one(ownCatchUp, 3), one(bareTCP, 1)}},
			{Name: "router, defaults", Contenders: []measured{
				one(ownDefault, 2), one(bareTCP, 1), {jetStream, []result{{Failed: "it hangs"}}},
			}},
		},
		"growth": {
			{Name: "append, 16 B", Contenders: []measured{one(esClient, 1)}, growth: &step{"append", "16 B"}},
			{Name: "fan-out, 1", Contenders: []measured{one(esClient, 1)}, growth: &step{"fan-out", "1"}},
			{Name: "append, 1 MiB", Contenders: []measured{one(esClient, 3)}, growth: &step{"append", "1 MiB"}},
		},
	} {
		if err := (&report{Rounds: 1, Scenarios: scenarios}).write(filepath.Join(out, dir)); err != nil {
			t.Fatal(err)
		}
	}
	text := written()
	for _, line := range []string{
		"| a Router that acks at once, a group | 1 500/s, 2.00 µs CPU, 0.000 allocs; 0.50 of bare TCP | " +
			"3 000/s, 2.00 µs CPU, 0.000 allocs |  |",
		"| the same, catch-up | 1 000/s, 2.00 µs CPU, 0.000 allocs; 0.33 of bare TCP |  |  |",
		"| a Router that acks at once | 1 500/s, 2.00 µs CPU, 0.000 allocs; 0.50 of bare TCP | " +
			"3 000/s, 2.00 µs CPU, 0.000 allocs |  |  |",
		"| append | 16 B | 3 000 | 2.00 µs | 0 B | 7.00 MB |\n|  | 1 MiB | 1 000 | 2.00 µs | 0 B | 7.00 MB |\n" +
			"| fan-out | 1 | 3 000 | 2.00 µs | 0 B | 7.00 MB |",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("there is no line %s in\n%s", line, text)
		}
	}
	if again := written(); again != text {
		t.Errorf("the page has changed from\n%s\nto\n%s", text, again)
	}
}

func TestAPageWithoutABlockIsLeftAlone(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	const text = "<!-- benchmarks: run -->\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := publish(page, t.TempDir()); err == nil || !strings.Contains(err.Error(), page) {
		t.Errorf("the error is %v", err)
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != text {
		t.Errorf("the page became %q, %v", got, err)
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 87.2: "87", 999.6: "1 000", 1234: "1 230", 99_960: "100 000", 1_175_881: "1 180 000",
	} {
		if got := thousands(v); got != want {
			t.Errorf("%v is printed as %q, want %q", v, got, want)
		}
	}
}
