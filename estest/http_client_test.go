package estest_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// httpAnswer has the parts of an answer, besides its body, that the tests check.
type httpAnswer struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// requestBody makes an HTTP request and reads the answer.
func requestBody(t testing.TB, method, url string, as *esproto.Credentials, body string) (httpAnswer, []byte) {
	t.Helper()
	return exchange(t, http.DefaultClient, as, method, url, body, nil)
}

// exchange makes a request and reads all of the answer. Each has its own connection, so that none is left behind.
func exchange(
	t testing.TB, client *http.Client, as *esproto.Credentials, method, url, body string, header http.Header,
) (httpAnswer, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Close = true
	maps.Copy(req.Header, header)
	if as != nil {
		req.SetBasicAuth(as.Login, as.Password)
	}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return httpAnswer{Status: res.Status, StatusCode: res.StatusCode, Header: res.Header}, b
}

// request is requestBody without the body.
func request(t testing.TB, method, url string, as *esproto.Credentials, body string) httpAnswer {
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
