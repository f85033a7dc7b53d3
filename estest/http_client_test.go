package estest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// requestBody makes an HTTP request and reads the answer. Each has its own connection, so that none is left behind.
func requestBody(t testing.TB, method, url string, as *esproto.Credentials, body string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Close = true
	if as != nil {
		req.SetBasicAuth(as.Login, as.Password)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, b
}

// request makes an HTTP request; its body has been read when it returns.
func request(t testing.TB, method, url string, as *esproto.Credentials, body string) *http.Response {
	t.Helper()
	res, _ := requestBody(t, method, url, as, body)
	return res
}

func getJSON(t testing.TB, url string, v any) {
	t.Helper()
	res, body := requestBody(t, http.MethodGet, url, admin, "")
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
	require.NoError(t, json.Unmarshal(body, v))
}
