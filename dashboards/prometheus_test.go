package dashboards

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program finds one of Prometheus, or skips the test. With CI in the environment the test fails.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") != "" {
		require.NoError(t, err, ".ci/prometheus installs it")
	}
	if err != nil {
		t.Skipf("runs the real %s, which is not installed: install Debian's package prometheus", name)
	}
	return path
}

func TestPromtoolAcceptsRulesAndConfiguration(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	for _, arguments := range [][]string{
		{"check", "rules", "alerts.yml"},
		{"check", "config", "prometheus.yml"},
		{"test", "rules", "alerts_test.yml"},
	} {
		out, err := exec.CommandContext(t.Context(), promtool, arguments...).CombinedOutput()
		assert.NoError(t, err, "%v\n%s", arguments, out)
	}
}

// server is a running Prometheus.
type server struct {
	url    string
	client *http.Client
}

// startPrometheus starts one that scrapes an address, with the rules of this directory.
func startPrometheus(t *testing.T, target string) *server {
	t.Helper()
	prometheus := program(t, "prometheus")
	rules, err := filepath.Abs("alerts.yml")
	require.NoError(t, err)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - job_name: example
    static_configs: [{targets: [%q]}]
`, rules, target), 0o600))
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	run := exec.CommandContext(ctx, prometheus, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	run.Stdout, run.Stderr = log, log
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	run.WaitDelay = 10 * time.Second
	require.NoError(t, run.Start())
	t.Cleanup(func() {
		cancel()
		_ = run.Wait()
		log.Close()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("Prometheus says:\n%s", said)
		}
	})
	return &server{"http://" + address, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// get asks the API, and decodes the data of its answer.
func (s *server) get(ctx context.Context, path string, values url.Values, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path+"?"+values.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", response.Status, answer.Error)
	}
	return nil
}

// series returns how many the result of a query has.
func (s *server) series(ctx context.Context, expr string) (int, error) {
	var data struct{ Result []json.RawMessage }
	err := s.get(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data)
	return len(data.Result), err
}

// A real Prometheus scrapes the example, and has the series of each panel and of each metric that a rule looks at.
func TestPrometheusHasTheSeriesOfEachPanelAndRule(t *testing.T) {
	t.Parallel()
	program(t, "prometheus")
	s := startPrometheus(t, startExample(t))
	wanted := make(map[string]string) // the panel or rule of each query
	for _, q := range panelQueries(t) {
		wanted[q.expr] = "panel " + q.of
	}
	for _, q := range alertQueries(t) {
		expr, err := parser.ParseExpr(q.expr)
		require.NoError(t, err)
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				wanted[v.Name] = "alert " + q.of
			}
			return nil
		})
	}
	var last error
	ok := assert.Eventually(t, func() bool {
		for expr := range wanted {
			n, err := s.series(t.Context(), expr)
			if last = err; err != nil {
				return false
			}
			if n > 0 {
				delete(wanted, expr)
			}
		}
		return len(wanted) == 0
	}, 60*time.Second, 200*time.Millisecond)
	require.True(t, ok, "no series: %v, %v", wanted, last)

	require.Eventually(t, func() bool { return s.rulesAreWell(t) == len(alerts(t)) }, 30*time.Second,
		200*time.Millisecond, "all rules are evaluated")
}

// rulesAreWell returns how many rules have been evaluated without an error.
func (s *server) rulesAreWell(t *testing.T) (n int) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := s.get(t.Context(), "/api/v1/rules", nil, &data); err != nil {
		return 0
	}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			assert.Empty(t, r.LastError, r.Name)
			if r.Health == "ok" {
				n++
			}
		}
	}
	return n
}
