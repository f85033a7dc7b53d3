package dashboards

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// labelsOf are the labels of a metric's series.
type labelsOf map[string]map[string]bool

// scrape returns all metrics that are served, as the names that queries have for them.
func scrape(t *testing.T, address string) labelsOf {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text := expfmt.NewTextParser(model.UTF8Validation)
	families, err := text.TextToMetricFamilies(response.Body)
	require.NoError(t, err)
	all := make(labelsOf)
	for name, family := range families {
		labels := map[string]bool{"instance": true, "job": true} // from the scrape
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		if family.GetMetric()[0].GetHistogram() == nil {
			all[name] = labels
			continue
		}
		all[name+"_count"], all[name+"_sum"] = labels, labels
		all[name+"_bucket"] = map[string]bool{"le": true}
		for l := range labels {
			all[name+"_bucket"][l] = true
		}
	}
	return all
}

// faults tells which metrics and labels of a query do not exist.
func (all labelsOf) faults(expr parser.Expr, legend string) (wrong []string) {
	found := make(map[string]bool)
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		labels, ok := all[v.Name]
		if !ok {
			wrong = append(wrong, "there is no metric "+v.Name)
		}
		for _, m := range v.LabelMatchers {
			if ok && m.Name != model.MetricNameLabel && !labels[m.Name] {
				wrong = append(wrong, v.Name+" has no label "+m.Name)
			}
		}
		for l := range labels {
			found[l] = true
		}
		return nil
	})
	kept := found
	parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			grouping := make(map[string]bool)
			for _, l := range a.Grouping {
				grouping[l] = true
				if !found[l] {
					wrong = append(wrong, "no metric has the label "+l)
				}
			}
			if !a.Without && (len(path) == 0 || len(kept) >= len(found)) {
				kept = grouping
			}
		}
		return nil
	})
	for _, l := range legendLabel.FindAllStringSubmatch(legend, -1) {
		if !kept[l[1]] {
			wrong = append(wrong, "the result has no label "+l[1])
		}
	}
	return wrong
}

// legendLabel is how Grafana and annotations name a label.
var legendLabel = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)

func TestEveryMetricAndLabelOfTheQueriesExists(t *testing.T) {
	t.Parallel()
	address := startExample(t)
	queries := append(panelQueries(t), alertQueries(t)...)
	for _, r := range alerts(t) {
		queries = append(queries, query{r.Alert, r.Expr, r.Annotations["summary"]})
	}
	parsed := make([]parser.Expr, len(queries))
	for i, q := range queries {
		var err error
		parsed[i], err = parser.ParseExpr(q.expr)
		require.NoError(t, err, q.of)
	}
	// Some series appear when something happens for the first time.
	wrong := []string{"nothing was scraped"}
	for end := time.Now().Add(30 * time.Second); len(wrong) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		all := scrape(t, address)
		wrong = nil
		for i, q := range queries {
			for _, fault := range all.faults(parsed[i], q.legend) {
				wrong = append(wrong, q.of+": "+fault)
			}
		}
	}
	assert.Empty(t, wrong)
}

// The documentation of esprom lists its metrics. Those of the scrape come one by one.
func TestAPanelShowsEachMetric(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "esprom", "doc.go"))
	require.NoError(t, err)
	shown := make(map[string]bool)
	for _, q := range panelQueries(t) {
		expr, err := parser.ParseExpr(q.expr)
		require.NoError(t, err)
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				shown[v.Name] = true
			}
			return nil
		})
	}
	metrics := regexp.MustCompile(`(?m)^//\t(eventstore_\w+)`).FindAllStringSubmatch(string(text), -1)
	assert.Greater(t, len(metrics), 20)
	for _, m := range metrics {
		assert.True(t, shown[m[1]] || shown[m[1]+"_bucket"], "no panel shows %s", m[1])
	}
}

func TestFaultsOfQueriesAreFound(t *testing.T) {
	t.Parallel()
	all := labelsOf{"a_total": {"stream": true, "instance": true}, "b_bucket": {"le": true, "command": true}}
	for _, tt := range []struct {
		expr, legend string
		wrong        []string
	}{
		{expr: `sum by (stream) (rate(a_total{stream="s"}[5m]))`, legend: "{{stream}}"},
		{expr: `histogram_quantile(0.99, sum by (le, command) (rate(b_bucket[5m])))`, legend: "{{command}}"},
		{expr: `rate(a_total[5m])`, legend: "{{ $labels.stream }} of {{ $labels.instance }}"},
		{expr: `c_total`, wrong: []string{"there is no metric c_total"}},
		{expr: `a_total{group="g"}`, wrong: []string{"a_total has no label group"}},
		{expr: `sum by (group) (a_total)`, wrong: []string{"no metric has the label group"}},
		{expr: `sum by (instance) (a_total)`, legend: "{{stream}}", wrong: []string{"the result has no label stream"}},
		{expr: `sum(a_total)`, legend: "{{stream}}", wrong: []string{"the result has no label stream"}},
	} {
		expr, err := parser.ParseExpr(tt.expr)
		require.NoError(t, err)
		assert.Equal(t, tt.wrong, all.faults(expr, tt.legend), tt.expr)
	}
}

// Each alert says how bad it is, and what to do.
func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("README.md")
	require.NoError(t, err)
	const page = "https://github.com/watermill-eventstore/watermill-eventstore/blob/main/dashboards/README.md#"
	known := make(map[string]bool)
	for _, r := range alerts(t) {
		known[r.Alert] = true
		assert.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		assert.Equal(t, page+strings.ToLower(r.Alert), r.Annotations["runbook_url"], r.Alert)
		_, entry, ok := strings.Cut(string(data), "\n### "+r.Alert+"\n\n")
		assert.True(t, ok, "README.md has no runbook of %s", r.Alert)
		assert.NotRegexp(t, `^\s*(#|$)`, entry, r.Alert)
	}
	for _, heading := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(string(data), -1) {
		assert.True(t, known[heading[1]], "there is no alert %s", heading[1])
	}
}
