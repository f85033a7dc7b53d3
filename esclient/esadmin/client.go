package esadmin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/authorities"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
	"github.com/watermill-eventstore/watermill-eventstore/internal/notation"
)

// Client administers the server of an [esclient.Client]. Any number of goroutines may call its methods at once.
//
// Each request has its own connection, so there is nothing to close. The client does not repeat requests. If a node of
// a cluster cannot be reached, it sends the request to the next one. A node may take Config.OperationTimeout to answer.
// After the end of the [esclient.Client] the error is [esclient.ErrClosed].
type Client struct {
	client *esclient.Client
	user   *discovery.Credentials // from the configuration; nil for an anonymous user
	web    *httpapi.Client
}

// New makes a Client with the configuration of an [esclient.Client]. The address of the HTTP interface comes from
// Config.HTTPEndpoint, from the seeds of Config.Gossip, or from the host of Config.Address with
// [esclient.DefaultHTTPPort]. If there is no valid address, the error is an [*esclient.ConfigError]. The client uses
// HTTPS if Config.TLS is set (for a cluster, if Gossip.TLS is set) or if HTTPEndpoint begins with https://.
func New(client *esclient.Client) (*Client, error) {
	cfg := client.Config()
	trust, err := authorities.Open(cfg.TLSCAFile, cfg.Logger)
	if err != nil {
		return nil, &esclient.ConfigError{
			Setting: "TLSCAFile", Value: cfg.TLSCAFile, Reason: "cannot be used", Err: err,
		}
	}
	web := httpapi.Config{
		HTTPEndpoint: cfg.HTTPEndpoint, Address: cfg.Address, Gossip: cfg.Gossip, Discoverer: cfg.Discoverer,
		TLS: cfg.TLS, Authorities: trust, Dial: cfg.Dial,
		ConnectTimeout: cfg.ConnectTimeout, OperationTimeout: cfg.OperationTimeout,
		TimedOut: esclient.ErrOperationTimeout, TooLarge: esclient.ErrTooLarge,
	}
	if cfg.Credentials != nil {
		web.Credentials = webUser(*cfg.Credentials)
	}
	if k, ok := cfg.Discoverer.(interface{ Members() []discovery.Member }); ok {
		web.Members = k.Members
	}
	c := &Client{client: client, user: web.Credentials}
	if c.web, err = httpapi.New(web); err != nil {
		return nil, &esclient.ConfigError{Setting: "HTTPEndpoint", Reason: err.Error()}
	}
	return c, nil
}

// get reads the resource at a path into answer.
func (c *Client) get(ctx context.Context, path string, answer any) error {
	return c.do(ctx, http.MethodGet, path, nil, answer)
}

// post sends a command to the server.
func (c *Client) post(ctx context.Context, path string, body any) error {
	return c.do(ctx, http.MethodPost, path, body, nil)
}

// do sends a request. body, if not nil, is sent as JSON. answer, if not nil, receives the answer.
func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	select {
	case <-c.client.Closed():
		return esclient.ErrClosed
	default:
	}
	user := c.user
	if creds, ok := esclient.CredentialsFromContext(ctx); ok {
		if err := creds.Validate(); err != nil {
			return err
		}
		user = webUser(creds)
	}
	return httpError(c.web.Do(ctx, user, method, path, body, answer))
}

func webUser(c esclient.Credentials) *discovery.Credentials {
	return &discovery.Credentials{Login: c.Login, Password: c.Password}
}

// serverMajor returns the first number of the server's version.
func (c *Client) serverMajor(ctx context.Context) (int, error) {
	var info struct {
		ESVersion string `json:"esVersion"`
	}
	if err := c.get(ctx, "/info", &info); err != nil {
		return 0, err
	}
	major, _, _ := strings.Cut(info.ESVersion, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0, fmt.Errorf("%w: its version, %q, cannot be read", esclient.ErrServer, info.ESVersion)
	}
	return n, nil
}

func validateName(argument, name string) error {
	if problem := notation.Problem(name); problem != "" {
		return &esclient.ArgumentError{Argument: argument, Reason: problem}
	}
	return nil
}
