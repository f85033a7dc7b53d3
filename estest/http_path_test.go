package estest_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// Servers unescape the path of a request when it arrives, and its parts once more.
func TestNamesInPathsAreUnescapedTwice(t *testing.T) {
	names := []string{"plain", "A", "A%41", "q?", "h#", "s/l", `b\s`, "p%", "ü", "%zz"}
	for _, tc := range []struct {
		path  string
		names map[estest.Persona]string // the stream found there; empty if the path is of another kind
	}{
		{"plain", all("plain")},
		{"%41", all("A")},
		{"%2541", all("A")},
		{"A%2541", all("")}, // it is AA
		{"A%252541", all("A%41")},
		{"q%253F", all("q?")},
		{"q%3F", byPersona("", "", "q?")},
		{"h%2523", all("h#")},
		{"h%23", byPersona("", "", "h#")},
		{"s%252Fl", all("s/l")},
		{"s%2Fl", byPersona("", "", "s/l")},
		{"b%255Cs", all(`b\s`)},
		{"b%5Cs", byPersona("", "", `b\s`)},
		{"p%25", all("p%")},
		{"p%2525", all("p%")},
		{"%25zz", all("%zz")},
		{"%C3%BC", all("ü")},
		{"%25C3%25BC", all("ü")},
	} {
		t.Run(tc.path, func(t *testing.T) {
			for persona, want := range tc.names {
				s := estest.Run(t, estest.WithPersona(persona))
				p := dial(t, s)
				for _, name := range names {
					p.createGroup(name, "g")
				}
				res, body := requestBody(t, "GET", s.HTTPURL()+"/subscriptions/"+tc.path+"/g/info", admin, "")
				if want == "" {
					assert.Contains(t, []int{404, 405}, res.StatusCode, "%s: %s", persona, body)
					continue
				}
				require.Equal(t, 200, res.StatusCode, "%s: %s", persona, body)
				var info struct{ EventStreamID string }
				require.NoError(t, json.Unmarshal(body, &info))
				assert.Equal(t, want, info.EventStreamID, persona)
			}
		})
	}
}

func TestTheLocationOfAGroupHasItsNamesAsTheyWereSent(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		path := s.HTTPURL() + "/subscriptions/a%252541/b%20c"
		res := request(t, "PUT", path, admin, "{}")
		require.Equal(t, 201, res.StatusCode)
		assert.Equal(t, path, res.Header.Get("Location"))
		assert.Equal(t, 200, request(t, "GET", path+"/info", admin, "").StatusCode)
	})
}
