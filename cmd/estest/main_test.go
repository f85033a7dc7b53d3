package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestItServesUntilItIsToldToEnd(t *testing.T) {
	for persona, version := range map[string]string{"5.0.11": "5.0.11", "4.1.4": "4.1.4", "23.10": "23.10"} {
		ctx, cancel := context.WithCancel(context.Background())
		out, in := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			err := run(ctx, []string{"-tcp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-persona", persona}, in, io.Discard)
			in.Close()
			ended <- err
		}()
		lines := bufio.NewScanner(out)
		var url string
		for url == "" && lines.Scan() {
			if m := regexp.MustCompile(`^HTTP +(http://\S+)$`).FindStringSubmatch(lines.Text()); m != nil {
				url = m[1]
			}
		}
		require.NotEmpty(t, url, "it says where it listens")
		for path, status := range map[string]int{"/info": 200, "/ping": 200, "/gossip": 200, "/health/live": 204} {
			res, err := http.Get(url + path)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			res.Body.Close()
			assert.Equal(t, status, res.StatusCode, path)
			if path == "/info" {
				assert.Contains(t, string(body), version)
			}
		}
		http.DefaultClient.CloseIdleConnections()
		cancel()
		for lines.Scan() { // what it says at the end
		}
		require.NoError(t, <-ended)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-tcp", "nowhere"}, {"-persona", "3.9"}, {"-log-level", "loud"}, {"-no-such-flag"}, {"surplus"}, {"-h"},
	} {
		var stdout, stderr strings.Builder
		err := run(t.Context(), args, &stdout, &stderr)
		assert.Error(t, err, args)
		assert.Empty(t, stdout.String(), args)
	}
}
