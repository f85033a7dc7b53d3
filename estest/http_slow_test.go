package estest_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// slowClient is a connection whose test decides when it sends and receives.
type slowClient struct {
	*net.TCPConn
	answers *bufio.Reader
}

func dialSlow(t testing.TB, s *estest.Server) slowClient {
	t.Helper()
	nc, err := net.Dial("tcp", s.HTTPAddr())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	return slowClient{nc.(*net.TCPConn), bufio.NewReaderSize(nc, 1024)}
}

// head sends the head of a request of the administrator.
func (c slowClient) head(t testing.TB, line, headers string) {
	t.Helper()
	_, err := fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n%s\r\n", line,
		base64.StdEncoding.EncodeToString([]byte(admin.Login+":"+admin.Password)), headers)
	require.NoError(t, err)
}

// answer reads the head of an answer.
func (c slowClient) answer(t testing.TB) (status int, body io.Reader) {
	t.Helper()
	res, err := http.ReadResponse(c.answers, nil)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return res.StatusCode, res.Body
}

// While a client sends the change of a projection, the server goes on serving others.
func TestASlowBodyDelaysNoOtherClient(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{"query": "first\r\n-", "config": `{"emitEnabled":true}`} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := estest.Run(t, estest.WithProjections())
			command(t, s, "$by_category", "disable")
			c := dialSlow(t, s)
			c.head(t, "PUT /projection/$by_category/"+path,
				fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(body)))
			status, _ := c.answer(t)
			require.Equal(t, http.StatusContinue, status, "the server waits for the body")
			appendTo(t, s, "s", "t")
			_, err := io.WriteString(c, body)
			require.NoError(t, err)
			status, _ = c.answer(t)
			assert.Equal(t, http.StatusOK, status, "the append came first")
		})
	}
}

// While a client takes an answer, the server goes on serving others.
func TestASlowReaderDelaysNoOtherClient(t *testing.T) {
	t.Parallel()
	for path, accept := range map[string]string{
		"0": "application/octet-stream", "head/backward/5?embed=body": "application/vnd.eventstore.atom+json",
	} {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			s := estest.Run(t)
			text := bytes.Repeat([]byte("x"), 10<<20) // more than is on its way at a time
			_, err := s.Append("s", estest.Event{Type: "t", JSON: true, Data: fmt.Appendf(nil, `{"text":"%s"}`, text)})
			require.NoError(t, err)
			c := dialSlow(t, s)
			c.head(t, "GET /streams/s/"+path, "Accept: "+accept+"\r\n")
			status, answer := c.answer(t)
			require.Equal(t, http.StatusOK, status)
			appendTo(t, s, "s", "t")
			body, err := io.ReadAll(answer)
			require.NoError(t, err, "the append came first")
			assert.True(t, bytes.Contains(body, text))
		})
	}
}
