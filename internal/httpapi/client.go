// Package httpapi sends requests to the HTTP interface of a server, for packages esadmin and esclient. It imports
// neither of them.
package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/internal/authorities"
)

// Config has the address of the HTTP interface and the settings for requests. Its fields are those of esclient.Config,
// which has validated them.
type Config struct {
	HTTPEndpoint     string
	Address          string
	Gossip           *discovery.GossipConfig
	Discoverer       discovery.Discoverer
	TLS              *tls.Config
	Authorities      *authorities.File // nil without a file
	Dial             func(ctx context.Context, network, address string) (net.Conn, error)
	ConnectTimeout   time.Duration
	OperationTimeout time.Duration

	// Credentials, if not nil, are for gossip over TLS if Gossip has none.
	Credentials *discovery.Credentials
	// Members, if not nil, returns the known nodes of the cluster.
	Members func() []discovery.Member
	// TimedOut is the cause of an error after OperationTimeout, and TooLarge that of an answer that is too large.
	TimedOut, TooLarge error
}

// Client sends requests to one server, a node or a cluster. Each request has its own connection, so there is nothing to
// close. Any number of goroutines may call its methods at once.
type Client struct {
	cfg       Config
	endpoints []discovery.Endpoint // of the nodes
	urls      []string             // of the nodes, without a slash at the end
	http      http.Transport
	tls       *tls.Config // nil for HTTP
}

// New makes a Client. The error is the second half of a sentence about HTTPEndpoint.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg}
	if err := c.locate(); err != nil {
		return nil, err
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.ConnectTimeout}).DialContext
	}
	c.http = http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		MaxResponseHeaderBytes: 1 << 20,
		DisableKeepAlives:      true,
	}
	return c, nil
}

// Error is the error of a request without an answer, or with an answer that is not a success.
type Error struct {
	Method string
	URL    string
	Status int    // 0 if there was no answer
	Body   string // the beginning of the answer
	Err    error  // the cause, or nil
}

func (e *Error) Error() string {
	s := e.Method + " " + e.URL
	if e.Status != 0 {
		s += fmt.Sprintf(": %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Body != "" {
		s += fmt.Sprintf(": %q", e.Body)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Denied reports whether the server refuses the credentials: servers do not tell whether they are wrong or the user
// lacks the right.
func (e *Error) Denied() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// SafeToRetry reports whether the request had no effect.
func (e *Error) SafeToRetry() bool {
	return e.Status == http.StatusServiceUnavailable ||
		e.Status == 0 && (e.Method == http.MethodGet || unreachable(e.Err))
}

// unreachable reports whether the request was not sent.
func unreachable(err error) bool {
	var e *net.OpError
	return errors.As(err, &e) && e.Op == "dial"
}

const (
	maxAnswer    = 16 << 20
	maxErrorBody = 512
)

// Escape escapes a name for the path of a request. Servers of all versions unescape the path, and then each of its
// parts again. If the name were escaped once, they would read %41 in a name as A, and up to 5.0 they would split the
// name at / or ?.
func Escape(name string) string { return url.PathEscape(url.PathEscape(name)) }

// Do sends a request to the first node that can be reached, as a user or, without credentials, anonymously. body, if
// not nil, is sent as JSON. answer, if not nil, receives a successful answer. Errors are *Errors.
func (c *Client) Do(
	ctx context.Context, user *discovery.Credentials, method, path string, body, answer any,
) (err error) {
	var payload []byte
	if body != nil {
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
	}
	for _, base := range c.urls {
		err = c.ask(ctx, user, method, base+path, payload, answer)
		if e := (*Error)(nil); !errors.As(err, &e) || !unreachable(e.Err) || ctx.Err() != nil {
			break
		}
	}
	return err
}

// Get reads the resource at a path into answer.
func (c *Client) Get(ctx context.Context, user *discovery.Credentials, path string, answer any) error {
	return c.Do(ctx, user, http.MethodGet, path, nil, answer)
}

func (c *Client) ask(
	ctx context.Context, user *discovery.Credentials, method, address string, payload []byte, answer any,
) error {
	failed := &Error{Method: method, URL: address}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.OperationTimeout, c.cfg.TimedOut)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(payload))
	if err != nil {
		failed.Err = err
		return failed
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	if user != nil {
		req.SetBasicAuth(user.Login, user.Password)
	}
	res, err := c.client().Do(req)
	if err != nil {
		failed.Err = cause(ctx, err)
		return failed
	}
	defer res.Body.Close()
	failed.Status = res.StatusCode
	success := res.StatusCode >= 200 && res.StatusCode <= 299
	most := int64(maxErrorBody)
	if success {
		most = maxAnswer + 1
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, most))
	switch {
	case err != nil:
		failed.Err = cause(ctx, err)
		return failed
	case !success:
		failed.Body = strings.ToValidUTF8(string(b), "")
		return failed
	case len(b) > maxAnswer:
		failed.Err = fmt.Errorf("%w: the answer has more than %d bytes", c.cfg.TooLarge, maxAnswer)
		return failed
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(b, answer); err != nil {
		failed.Err = fmt.Errorf("the answer is not the expected JSON: %w", err)
		return failed
	}
	return nil
}

// cause returns why a request failed. If its context has ended, the cause of that says more than the error of net/http.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err // the rest is in the Error
	}
	return err
}
