package estest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestAWrongMethodIsRefusedWithTheMethods(t *testing.T) {
	for _, persona := range personas {
		url := estest.Run(t, estest.WithPersona(persona)).HTTPURL()
		for path, tc := range map[string]struct{ allowed, wrong []string }{
			"/ping":                      {[]string{"GET"}, []string{"POST", "PUT", "DELETE", "PATCH"}},
			"/info":                      {[]string{"GET"}, []string{"POST", "PUT", "DELETE"}},
			"/gossip":                    {[]string{"GET"}, []string{"PUT", "DELETE"}},
			"/stats":                     {[]string{"GET"}, []string{"POST"}},
			"/stats/proc/mem":            {[]string{"GET"}, []string{"DELETE"}},
			"/subscriptions":             {[]string{"GET"}, []string{"POST", "PUT", "DELETE"}},
			"/subscriptions/s":           {[]string{"GET"}, []string{"PUT", "DELETE"}},
			"/subscriptions/s/g":         {[]string{"PUT", "POST", "DELETE"}, []string{"PATCH"}},
			"/users":                     {[]string{"GET", "POST"}, []string{"PUT", "DELETE"}},
			"/users/jane":                {[]string{"GET", "PUT", "DELETE"}, []string{"PATCH"}},
			"/users/jane/command/enable": {[]string{"POST"}, []string{"GET", "PUT", "DELETE"}},
		} {
			for _, method := range append(tc.wrong, http.MethodOptions) {
				res, body := requestBody(t, method, url+path, nil, "")
				want := http.StatusMethodNotAllowed
				if method == http.MethodOptions {
					want = http.StatusOK
				}
				assert.Equal(t, want, res.StatusCode, "%s: %s %s", persona, method, path)
				assert.Empty(t, body, "%s %s", method, path)
				assert.Empty(t, res.Header.Values("Allow"), "%s %s", method, path)
				assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
				for _, allowed := range append(tc.allowed, "OPTIONS") {
					assert.Contains(t, res.Header.Get("Access-Control-Allow-Methods"), allowed, "%s %s", method, path)
				}
				if method != http.MethodOptions {
					assert.NotContains(t, res.Header.Get("Access-Control-Allow-Methods"), method, path)
				}
			}
		}
		res := request(t, http.MethodGet, url+"/ping", nil, "")
		assert.Equal(t, "GET, OPTIONS", res.Header.Get("Access-Control-Allow-Methods"), "every answer tells")
		assert.Equal(t, http.StatusNotFound, request(t, http.MethodDelete, url+"/nothing", nil, "").StatusCode)
		res = request(t, http.MethodGet, url+"/estest/state", admin, "")
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"), "the page is for its own origin")
	}
}

func TestInfoDescribesAuthentication(t *testing.T) {
	for persona, want := range map[estest.Persona]string{
		estest.Persona414: ``, estest.Persona5011: ``,
		estest.Persona2310: `{"type":"internal","properties":null}`,
	} {
		var info map[string]json.RawMessage
		getJSON(t, estest.Run(t, estest.WithPersona(persona)).HTTPURL()+"/info", &info)
		if want == "" {
			assert.NotContains(t, info, "authentication", persona)
			continue
		}
		require.Contains(t, info, "authentication", persona)
		assert.JSONEq(t, want, string(info["authentication"]), persona)
	}
}
