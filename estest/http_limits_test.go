package estest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestHTTPRequestsThatDoNotComeAreNotHeld(t *testing.T) {
	t.Parallel()
	s := estest.Run(t)
	for name, request := range map[string]string{
		"head":                    "GET /ping HTTP/1.1\r\nHost: x\r\n",
		"body":                    "PUT /subscriptions/s/g HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{",
		"chunked body":            "POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"body of an unknown path": "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, err := net.Dial("tcp", s.HTTPAddr())
			require.NoError(t, err)
			defer nc.Close()
			fmt.Fprint(nc, request)
			require.NoError(t, nc.SetReadDeadline(time.Now().Add(patience)))
			_, err = io.Copy(io.Discard, nc)
			var timeout net.Error
			assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection is still held")
			if name == "body" {
				assert.ErrorIs(t, err, syscall.ECONNRESET)
			}
		})
	}
}

// A client asks on and on, and reads no answer.
func TestAnHTTPClientThatDoesNotReadIsNotServedForEver(t *testing.T) {
	t.Parallel()
	s := estest.Run(t)
	nc, err := net.Dial("tcp", s.HTTPAddr())
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetWriteDeadline(time.Now().Add(2*patience)))
	for err == nil {
		_, err = fmt.Fprint(nc, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	var timeout net.Error
	assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection is still held")
}

func TestALargeHTTPBodyIsRefused(t *testing.T) {
	s := estest.Run(t)
	res := request(t, http.MethodPost, s.HTTPURL()+"/users", admin,
		`{"x":"`+strings.Repeat("x", 2<<20)+`"}`)
	assert.Equal(t, http.StatusBadRequest, res.StatusCode)
}

func TestHTTPConnectionsServeRequestAfterRequest(t *testing.T) {
	s := estest.Run(t)
	nc, err := net.Dial("tcp", s.HTTPAddr())
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(patience)))
	answers := bufio.NewReader(nc)
	for range 3 {
		fmt.Fprint(nc, "PUT /subscriptions/s/g HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		res, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
	}
}

func TestWritesFromThePagesOfOtherSitesAreRefused(t *testing.T) {
	s := estest.Run(t)
	for _, tc := range []struct {
		method, header, value string
		refused               bool
	}{
		{http.MethodPost, "Origin", "http://elsewhere.example", true},
		{http.MethodPost, "X-Nothing", "x", false},
		{http.MethodPut, "Origin", "http://elsewhere.example", true},
		{http.MethodPut, "Sec-Fetch-Site", "cross-site", true},
		{http.MethodPut, "Origin", s.HTTPURL(), false},
		{http.MethodPut, "Sec-Fetch-Site", "same-origin", false},
		{http.MethodPut, "X-Nothing", "x", false},
		{http.MethodGet, "Origin", "http://elsewhere.example", false},
	} {
		path := map[string]string{
			http.MethodPost: "/streams/s", http.MethodPut: "/subscriptions/s/g", http.MethodGet: "/subscriptions",
		}[tc.method]
		req, err := http.NewRequestWithContext(t.Context(), tc.method, s.HTTPURL()+path, strings.NewReader(`{}`))
		require.NoError(t, err)
		req.Close = true
		req.SetBasicAuth(admin.Login, admin.Password)
		req.Header.Set(tc.header, tc.value)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, tc.refused, res.StatusCode == http.StatusForbidden, "%s with %s: %s: %s",
			tc.method, tc.header, tc.value, res.Status)
		if tc.method == http.MethodGet {
			assert.Equal(t, http.StatusOK, res.StatusCode)
		}
	}
}
