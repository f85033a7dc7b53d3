package dashboards

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// query is a query of a panel or a rule.
type query struct {
	of     string // the panel's title or the alert's name
	expr   string
	legend string
}

// panelQueries returns those of the dashboard, with values for Grafana's variables.
func panelQueries(t *testing.T) (queries []query) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	data, err := os.ReadFile("eventstore.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &dashboard))
	variables := strings.NewReplacer("$__rate_interval", "10s", "$stream", ".*", "$group", ".*")
	for _, p := range dashboard.Panels {
		require.True(t, p.Type == "row" || len(p.Targets) > 0, "panel %q has no query", p.Title)
		for _, target := range p.Targets {
			expr := variables.Replace(target.Expr)
			require.NotContains(t, expr, "$", "a variable of Grafana that has no value here")
			queries = append(queries, query{p.Title, expr, target.LegendFormat})
		}
	}
	require.NotEmpty(t, queries)
	return queries
}

// alerts returns the rules.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile("alerts.yml", false, model.UTF8Validation)
	require.Empty(t, errs)
	var rules []rulefmt.Rule
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	require.NotEmpty(t, rules)
	return rules
}

func alertQueries(t *testing.T) (queries []query) {
	t.Helper()
	for _, r := range alerts(t) {
		queries = append(queries, query{of: r.Alert, expr: r.Expr})
	}
	return queries
}

// startExample builds and starts the example, and returns the host:port where its metrics are.
func startExample(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "metrics")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "_examples", "metrics")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	ctx, cancel := context.WithCancel(context.Background())
	example := exec.CommandContext(ctx, program, "-for", "5m")
	example.Env = append(os.Environ(), "EVENTSTORE_URL=")
	example.Cancel = func() error { return example.Process.Signal(os.Interrupt) }
	example.WaitDelay = 10 * time.Second
	stdout, err := example.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, example.Start())
	t.Cleanup(func() {
		cancel()
		_ = example.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "Metrics are at http://"); ok {
			return strings.TrimSuffix(url, "/metrics")
		}
	}
	require.Fail(t, "the example does not say where its metrics are", lines.Err())
	return ""
}
