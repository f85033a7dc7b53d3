package esclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
)

// settingsTimeout limits each of the two requests of GroupSettings.
const settingsTimeout = 3 * time.Second

// GroupSettings returns the settings of a persistent subscription group as the server has them. It reads the server's
// own configuration over TCP, which administrators may, unless the server's settings say otherwise. If the user may
// not, it asks the HTTP interface, which any user may. The HTTP interface is that of Config.HTTPEndpoint, of the seeds
// of Config.Gossip, or of Config.Address if that has the port [DefaultPort], to which [DefaultHTTPPort] belongs.
//
// The error is [ErrGroupNotFound] if there is no such group, and [ErrAccessDenied] if the user may read the settings in
// neither way. With a connection each request ends after some seconds, or after Config.OperationTimeout if that is
// less.
func (c *Client) GroupSettings(ctx context.Context, stream, group string) (PersistentSettings, error) {
	if err := validateAnyGroup(stream, group); err != nil {
		return PersistentSettings{}, err
	}
	s, err := c.groupSettings(ctx, stream, group)
	return s, groupError("read settings of persistent subscription", stream, group, err)
}

func (c *Client) groupSettings(ctx context.Context, stream, group string) (PersistentSettings, error) {
	if _, err := c.connUnsent(ctx); err != nil {
		return PersistentSettings{}, err
	}
	s, err := c.settingsByConfig(ctx, stream, group)
	if err == nil || errors.Is(err, ErrGroupNotFound) || ctx.Err() != nil || !c.knowsHTTP() {
		return s, err
	}
	s, httpErr := c.settingsByHTTP(ctx, stream, group)
	if httpErr == nil || errors.Is(httpErr, ErrGroupNotFound) {
		return s, httpErr
	}
	return s, fmt.Errorf("%w; over HTTP: %w", err, httpErr)
}

func (c *Client) settingsByConfig(ctx context.Context, stream, group string) (PersistentSettings, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, settingsTimeout, ErrOperationTimeout)
	defer cancel()
	r, err := c.groupConfigRead(ctx)
	if err != nil {
		return PersistentSettings{}, err
	}
	s, has, err := r.find(stream, group)
	if err == nil && !has {
		err = ErrGroupNotFound
	}
	return s, err
}

func (c *Client) settingsByHTTP(ctx context.Context, stream, group string) (PersistentSettings, error) {
	user, err := c.webUser(ctx)
	if err != nil {
		return PersistentSettings{}, err
	}
	web, err := c.web()
	if err != nil {
		return PersistentSettings{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, settingsTimeout, ErrOperationTimeout)
	defer cancel()
	g, err := web.Group(ctx, user, stream, group)
	var failed *httpapi.Error
	switch {
	case err == nil:
		return PersistentSettings(httpapi.SettingsOf[ConsumerStrategy](&g.Config)), nil
	case errors.As(err, &failed) && failed.Status == http.StatusNotFound:
		err = fmt.Errorf("%w: %w", ErrGroupNotFound, err)
	case errors.As(err, &failed) && failed.Denied():
		err = fmt.Errorf("%w: %w", ErrAccessDenied, err)
	}
	return PersistentSettings{}, err
}

// web returns the server's HTTP interface.
func (c *Client) web() (*httpapi.Client, error) {
	cfg := c.cfg
	web := httpapi.Config{
		HTTPEndpoint: cfg.HTTPEndpoint, Address: cfg.Address, Gossip: cfg.Gossip, Discoverer: cfg.Discoverer,
		TLS: cfg.TLS, Authorities: c.dialer.trust, Dial: cfg.Dial,
		ConnectTimeout: cfg.ConnectTimeout, OperationTimeout: cfg.OperationTimeout,
		TimedOut: ErrOperationTimeout, TooLarge: ErrTooLarge,
	}
	if k, ok := c.dialer.discover.(membership); ok {
		web.Members = k.Members
	}
	return httpapi.New(web)
}

// webUser returns the credentials for a call over HTTP; nil for an anonymous one.
func (c *Client) webUser(ctx context.Context) (*discovery.Credentials, error) {
	creds, err := credentialsFrom(ctx)
	if creds == nil {
		creds = (*esproto.Credentials)(c.cfg.Credentials)
	}
	if err != nil || creds == nil {
		return nil, err
	}
	return &discovery.Credentials{Login: creds.Login, Password: creds.Password}, nil
}

// knowsHTTP reports whether the client may ask the HTTP interface by itself. If TCP uses another port than the default
// one, DefaultHTTPPort may belong to a different server.
func (c *Client) knowsHTTP() bool {
	switch {
	case c.cfg.HTTPEndpoint != "":
		return true
	case c.cfg.Discoverer != nil:
		return false
	case c.cfg.Gossip != nil:
		return true
	}
	e, err := discovery.ParseEndpoint(c.cfg.Address)
	return err == nil && e.WithDefaultPort(DefaultPort).Port == DefaultPort
}

// groupError adds the operation to an error. It returns nil for nil.
func groupError(operation, stream, group string, err error) error {
	if err == nil {
		return nil
	}
	if done := (*OperationError)(nil); errors.As(err, &done) {
		err = done.Err
	}
	return &OperationError{Operation: operation, Stream: stream, Group: group, Err: err}
}
