package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// benchFile is the file in Go's benchmark format, which benchstat reads.
const benchFile = "results.bench"

// benchUnit is how a figure is written in that format.
type benchUnit struct {
	name   string
	scale  float64 // from the table's unit to this one
	better string  // higher or lower
}

const higher, lower = "higher", "lower"

// benchmarks writes every round that gave a result as one line in Go's benchmark format, in which an op is an event.
// Rounds that failed are left out.
func (r *report) benchmarks(w io.Writer) error {
	out := benchfmt.NewWriter(w)
	for _, f := range figures {
		unit := &benchfmt.UnitMetadata{OrigUnit: f.bench.name, Value: f.bench.better}
		unit.Key = "better"
		if err := out.Write(unit); err != nil {
			return err
		}
	}
	for _, o := range r.Scenarios {
		for i := range o.Contenders {
			for _, round := range o.Contenders[i].Rounds {
				if round.Failed != "" {
					continue
				}
				err := out.Write(&benchfmt.Result{
					Config: r.benchConfig(),
					Name:   benchName(o.Name, o.Contenders[i].Name, r.Cores),
					Iters:  round.Events,
					Values: benchValues(round),
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// benchConfig are the lines that go test writes as well, and the server: benchstat compares only results with the same.
func (r *report) benchConfig() []benchfmt.Config {
	var config []benchfmt.Config
	for _, c := range [][2]string{
		{"goos", r.Machine.OS}, {"goarch", r.Machine.Arch},
		{"pkg", "github.com/watermill-eventstore/watermill-eventstore/benchmarks"},
		{"cpu", r.Machine.CPU}, {"server", r.Server},
	} {
		config = append(config, benchfmt.Config{Key: c[0], Value: []byte(c[1]), File: true})
	}
	return config
}

// benchName names a contender in a scenario, such as Append/256_in_flight/4_KiB/by=esclient-2. The writer puts
// Benchmark in front. As in go test, the last number tells the cores, unless it is one.
func benchName(scenario, contender string, cores int) benchfmt.Name {
	name := strings.ToUpper(scenario[:1]) + strings.ReplaceAll(scenario[1:], ", ", "/") + "/by=" + contender
	name = strings.ReplaceAll(name, " ", "_")
	if cores > 1 {
		name = fmt.Sprintf("%s-%d", name, cores)
	}
	return benchfmt.Name(name)
}

func benchValues(r result) []benchfmt.Value {
	values := []benchfmt.Value{{Value: rounded(r.Seconds * 1e9 / float64(r.Events)), Unit: "ns/op"}}
	for _, f := range figures {
		if v := f.of(r); !math.IsNaN(v) {
			values = append(values, benchfmt.Value{Value: rounded(v * f.bench.scale), Unit: f.bench.name})
		}
	}
	return values
}

// rounded keeps six significant digits, which is more than a measurement has.
func rounded(v float64) float64 {
	if v == 0 {
		return 0
	}
	digits := math.Pow10(5 - int(math.Floor(math.Log10(math.Abs(v)))))
	return math.Round(v*digits) / digits
}

// benchText is the content of the file.
func (r *report) benchText() ([]byte, error) {
	var b bytes.Buffer
	err := r.benchmarks(&b)
	return b.Bytes(), err
}
