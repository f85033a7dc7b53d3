package esclient

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
	"strconv"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// DefaultHTTPPort is where servers offer their HTTP interface.
const DefaultHTTPPort = discovery.DefaultGossipPort

// Management does what servers offer over HTTP alone: it describes the groups of persistent subscriptions, replays what
// was parked, and manages users. Client.Management makes one. All methods may be called by any number of goroutines at
// once.
//
// Requests act for the user of WithCredentials, or else of Config.Credentials. Each has a connection of its own, so
// there is nothing to close. None is repeated, other than at the next node of a cluster where one could not be reached.
// A node may take Config.OperationTimeout to answer.
//
// Errors are *OperationErrors; what came over HTTP is an *HTTPError within.
type Management struct {
	c    *Client
	urls []string // of the nodes, without a slash at the end
	http http.Transport
	tls  *tls.Config // nil for HTTP

	endpoints []discovery.Endpoint // of the nodes
}

// HTTPError is a request of Management that was not answered, or not by a success. It is ErrAccessDenied where the
// credentials are not good enough: servers do not tell whether they are wrong or the user lacks the right.
type HTTPError struct {
	Method string
	URL    string
	Status int    // such as http.StatusNotFound; 0 if there was no answer
	Body   string // the beginning of the answer
	Err    error  // the cause, if there is one: the connection failed, or the answer could not be read
}

func (e *HTTPError) Error() string {
	s := fmt.Sprintf("esclient: %s %s", e.Method, e.URL)
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

// Is makes the error match ErrAccessDenied and ErrNotFound, by its Status.
func (e *HTTPError) Is(target error) bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrAccessDenied
	case http.StatusNotFound:
		return target == ErrNotFound
	}
	return false
}

func (e *HTTPError) Unwrap() error { return e.Err }

// safeToRetry reports whether the request had no effect.
func (e *HTTPError) safeToRetry() bool {
	return e.Status == http.StatusServiceUnavailable ||
		e.Status == 0 && (e.Method == http.MethodGet || unreachable(e.Err))
}

// unreachable reports whether the request was not even sent.
func unreachable(err error) bool {
	var e *net.OpError
	return errors.As(err, &e) && e.Op == "dial"
}

const (
	maxHTTPAnswer = 16 << 20
	maxErrorBody  = 512
)

// Management returns the management of the server that the client is of. It needs to know where its HTTP interface is:
// from Config.HTTPEndpoint, from the seeds of Config.Gossip, or from Config.Address, whose host it takes with
// DefaultHTTPPort. Where that leads nowhere, the error is a *ConfigError. It is reached by HTTPS if Config.TLS is set,
// for a cluster if Gossip.TLS is, and where HTTPEndpoint says so.
func (c *Client) Management() (*Management, error) {
	m := &Management{c: c}
	tlsConfig, err := m.locate(c.cfg)
	if err != nil {
		return nil, err
	}
	dial := c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: c.cfg.ConnectTimeout}).DialContext
	}
	m.tls = tlsConfig
	m.http = http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		MaxResponseHeaderBytes: 1 << 20,
		DisableKeepAlives:      true,
	}
	return m, nil
}

// locate finds out where the HTTP interface is.
func (m *Management) locate(cfg *Config) (*tls.Config, error) {
	seeds, tlsConfig := []discovery.Endpoint(nil), cfg.TLS
	switch {
	case cfg.HTTPEndpoint != "":
		scheme, endpoint, err := parseHTTPEndpoint(cfg.HTTPEndpoint)
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, endpoint)
		switch {
		case scheme == "http":
			tlsConfig = nil
		case scheme == "https" && tlsConfig == nil:
			tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	case cfg.Discoverer != nil:
		return nil, &ConfigError{
			Setting: "HTTPEndpoint", Reason: "is missing: a Discoverer does not tell where the HTTP interface is",
		}
	case cfg.Gossip != nil:
		seeds, tlsConfig = cfg.Gossip.Seeds, cfg.Gossip.TLS
	default:
		endpoint, err := discovery.ParseEndpoint(cfg.Address)
		if err != nil {
			return nil, &ConfigError{
				Setting: "Address", Value: withoutUser(cfg.Address), Reason: "is not host:port", Err: err,
			}
		}
		seeds = append(seeds, discovery.Endpoint{Host: endpoint.Host})
	}
	u := url.URL{Scheme: "http"}
	if tlsConfig != nil {
		u.Scheme = "https"
	}
	for _, e := range seeds {
		e = e.WithDefaultPort(DefaultHTTPPort)
		u.Host = e.String()
		m.endpoints = append(m.endpoints, e)
		m.urls = append(m.urls, u.String())
	}
	return tlsConfig, nil
}

// parseHTTPEndpoint reads host:port, with or without http:// or https:// in front. Its errors do not quote what may
// hold a password.
func parseHTTPEndpoint(s string) (scheme string, e discovery.Endpoint, err error) {
	rest := s
	if before, after, ok := strings.Cut(s, "://"); ok {
		scheme, rest = strings.ToLower(before), strings.TrimSuffix(after, "/")
	}
	if scheme == "" || scheme == "http" || scheme == "https" {
		if e, err = discovery.ParseEndpoint(rest); err == nil {
			return scheme, e, nil
		}
	}
	return "", e, &ConfigError{
		Setting: "HTTPEndpoint", Value: withoutUser(s), Reason: "is not host:port, or a URL such as https://host:2113",
	}
}

// pathPart escapes a name for the path of a request. Servers of all versions unescape the path when it arrives, and its
// parts once more: escaped once, a name with %41 is taken for one with A, and up to 5.0 a / or ? would divide it.
func pathPart(name string) string { return url.PathEscape(url.PathEscape(name)) }

// get asks for what is at a path and reads it into answer.
func (m *Management) get(ctx context.Context, path string, answer any) error {
	return m.do(ctx, http.MethodGet, path, nil, answer)
}

// post has the server do something.
func (m *Management) post(ctx context.Context, path string, body any) error {
	return m.do(ctx, http.MethodPost, path, body, nil)
}

// do makes a request of the first node that can be reached. body, if not nil, is sent as JSON; answer, if not nil, is
// what a successful answer is read into.
func (m *Management) do(ctx context.Context, method, path string, body, answer any) error {
	if m.c.closing.Load() {
		return ErrClosed
	}
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return err
	}
	if creds == nil {
		creds = m.c.cfg.Credentials
	}
	var payload []byte
	if body != nil {
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
	}
	for _, base := range m.urls {
		err = m.ask(ctx, method, base+path, creds, payload, answer)
		if e := (*HTTPError)(nil); !errors.As(err, &e) || !unreachable(e.Err) || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (m *Management) ask(
	ctx context.Context, method, address string, creds *Credentials, payload []byte, answer any,
) error {
	failed := &HTTPError{Method: method, URL: address}
	ctx, cancel := context.WithTimeoutCause(ctx, m.c.cfg.OperationTimeout, ErrOperationTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(payload))
	if err != nil {
		failed.Err = err
		return failed
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	if creds != nil {
		req.SetBasicAuth(creds.Login, creds.Password)
	}
	res, err := m.client().Do(req)
	if err != nil {
		failed.Err = cause(ctx, err)
		return failed
	}
	defer res.Body.Close()
	failed.Status = res.StatusCode
	success := res.StatusCode >= 200 && res.StatusCode <= 299
	most := int64(maxErrorBody)
	if success {
		most = maxHTTPAnswer + 1
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, most))
	switch {
	case err != nil:
		failed.Err = cause(ctx, err)
		return failed
	case !success:
		failed.Body = strings.ToValidUTF8(string(b), "")
		return failed
	case len(b) > maxHTTPAnswer:
		failed.Err = fmt.Errorf("%w: the answer has more than %d bytes", ErrTooLarge, maxHTTPAnswer)
		return failed
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(b, answer); err != nil {
		failed.Err = fmt.Errorf("the answer is not the JSON that was expected: %w", err)
		return failed
	}
	return nil
}

// cause is why a request failed: where its context ended, the reason for that says more than the error of net/http.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err // the rest is in the HTTPError
	}
	return err
}

// serverMajor asks for the server's version and returns its first number.
func (m *Management) serverMajor(ctx context.Context) (int, error) {
	var info struct {
		ESVersion string `json:"esVersion"`
	}
	if err := m.get(ctx, "/info", &info); err != nil {
		return 0, err
	}
	major, _, _ := strings.Cut(info.ESVersion, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0, fmt.Errorf("%w: its version, %q, cannot be read", ErrServer, info.ESVersion)
	}
	return n, nil
}

// serverTime reads a time as servers print it: with or without an offset, which stands for the server's own.
func serverTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
