package discovery_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want discovery.Endpoint
		out  string // of String, where it differs from in
	}{
		{in: "localhost", want: discovery.Endpoint{Host: "localhost"}},
		{in: "localhost:1113", want: discovery.Endpoint{Host: "localhost", Port: 1113}},
		{in: "node_1.es-cluster.example.", want: discovery.Endpoint{Host: "node_1.es-cluster.example."}},
		{in: "10.0.0.1:2113", want: discovery.Endpoint{Host: "10.0.0.1", Port: 2113}},
		{in: "10.0.0.1", want: discovery.Endpoint{Host: "10.0.0.1"}},
		{in: "[::1]", want: discovery.Endpoint{Host: "::1"}},
		{in: "[::1]:1113", want: discovery.Endpoint{Host: "::1", Port: 1113}},
		{in: "[2001:db8::7]:65535", want: discovery.Endpoint{Host: "2001:db8::7", Port: 65535}},
		{in: "[fe80::1%eth0]:1", want: discovery.Endpoint{Host: "fe80::1%eth0", Port: 1}},
		{in: "[::ffff:10.0.0.1]:1113", want: discovery.Endpoint{Host: "::ffff:10.0.0.1", Port: 1113}},
		{in: "a:0001113", want: discovery.Endpoint{Host: "a", Port: 1113}, out: "a:1113"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			got, err := discovery.ParseEndpoint(tt.in)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
			if tt.out == "" {
				tt.out = tt.in
			}
			assert.Equal(t, tt.out, got.String())
		})
	}
}

func TestParseEndpointRefuses(t *testing.T) {
	t.Parallel()
	for in, says := range map[string]string{
		"":                       "no host",
		":1113":                  "no host",
		"host:":                  "port",
		"host:0":                 "port",
		"host:65536":             "port",
		"host:-1":                "port",
		"host:+1":                "port",
		"host:http":              "port",
		"host: 1":                "port",
		"::1":                    "brackets",
		"::1:1113":               "brackets",
		"a:b:1":                  "brackets",
		"[::1":                   "without a ]",
		"[::1]1113":              "after the ]",
		"[::1]:":                 "port",
		"[]:1113":                "IPv6",
		"[localhost]:1113":       "IPv6",
		"[10.0.0.1]:1113":        "IPv6",
		"[fe80::1%a/b]:1":        "character",
		"10.0.0.256":             "neither a name nor an IPv4 address",
		"1113":                   "neither a name nor an IPv4 address",
		"ho st:1":                "character",
		"host/path:1":            "character",
		"host\n:1":               "character",
		"hôte:1":                 "xn--",
		"\xff:1":                 "character",
		strings.Repeat("a", 255): "more than 254",
	} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			_, err := discovery.ParseEndpoint(in)
			var bad *discovery.EndpointError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, in, bad.Value)
			assert.ErrorContains(t, err, says)
			assert.ErrorContains(t, err, strconv.Quote(in)[1:len(strconv.Quote(in))-1])
		})
	}
}

func TestParseEndpointDoesNotRepeatPasswords(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"admin:secret@host:1113", "tcp://admin:secret@host", "secret@", "[secret@::1]"} {
		_, err := discovery.ParseEndpoint(in)
		require.Error(t, err, in)
		assert.NotContains(t, err.Error(), "secret", in)
		assert.ErrorContains(t, err, "credentials do not belong here")
	}
}

func TestEndpointValidate(t *testing.T) {
	t.Parallel()
	assert.NoError(t, discovery.Endpoint{Host: "::1", Port: 1113}.Validate())
	assert.NoError(t, discovery.Endpoint{Host: "localhost"}.Validate())
	assert.ErrorContains(t, discovery.Endpoint{Host: "[::1]", Port: 1113}.Validate(), "character")
	assert.ErrorContains(t, discovery.Endpoint{Host: "a", Port: -1}.Validate(), "port")
	assert.ErrorContains(t, discovery.Endpoint{Host: "a", Port: 1 << 16}.Validate(), "port")
	assert.ErrorContains(t, discovery.Endpoint{Port: 1113}.Validate(), "no host")
}

func TestEndpointWithDefaultPort(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "a:1113", discovery.Endpoint{Host: "a"}.WithDefaultPort(1113).String())
	assert.Equal(t, "[::1]:7", discovery.Endpoint{Host: "::1", Port: 7}.WithDefaultPort(1113).String())
}

// An accepted endpoint prints as the text that it was parsed from, and means the same to the dialer.
func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{
		"localhost", "localhost:1113", "[::1]:1113", "[fe80::1%eth0]", "10.0.0.1:2113", "::1", "[]:1", "a:b:c",
		"u:p@h:1", "host:00001", "1.2.3", "[::ffff:1.2.3.4]:9", "x.:1", "[[::1]]:1", "host:65536",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := discovery.ParseEndpoint(s)
		if err != nil {
			require.Zero(t, e)
			require.ErrorAs(t, err, new(*discovery.EndpointError))
			return
		}
		require.NoError(t, e.Validate())
		again, err := discovery.ParseEndpoint(e.String())
		require.NoError(t, err)
		require.Equal(t, e, again)
		host, port, err := net.SplitHostPort(e.WithDefaultPort(1113).String())
		require.NoError(t, err)
		require.Equal(t, e.Host, host)
		require.Equal(t, strconv.Itoa(e.WithDefaultPort(1113).Port), port)
	})
}

func TestNothingOfDiscoveryShowsThePassword(t *testing.T) {
	misplaced := discovery.Endpoint{Host: "jane:hunter2@host", Port: 1}
	_, parsed := discovery.ParseEndpoint("jane:hunter2@host:1")
	creds := discovery.Credentials{Login: "jane", Password: "hunter2"}
	cfg := discovery.GossipConfig{Seeds: []discovery.Endpoint{misplaced}}
	for what, v := range map[string]any{
		"endpoint": misplaced.Validate(), "parsed": parsed, "config": cfg.Validate(), "credentials": creds,
	} {
		require.NotNil(t, v, what)
		inJSON, err := json.Marshal(map[string]any{"x": v})
		require.NoError(t, err)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s %d %s", v, v, v, v, v, inJSON), "hunter2", what)
	}
}
