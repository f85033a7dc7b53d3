package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// config makes the client's configuration of the flags and the environment. It may ask for a password.
func (c *cli) config(ctx context.Context) (esclient.Config, error) {
	url, from := os.Getenv("EVENTSTORE_URL"), "EVENTSTORE_URL"
	if c.url != "" {
		url, from = c.url, "--url"
	}
	if url == "" {
		return esclient.Config{}, &usageError{errors.New("which server? Set EVENTSTORE_URL, or give --url")}
	}
	cfg, err := esclient.ParseConnectionString(url)
	if err != nil {
		return cfg, fmt.Errorf("%s: %w", from, err)
	}
	if c.url != "" && (cfg.Credentials != nil || cfg.Gossip != nil && cfg.Gossip.Credentials != nil) {
		return cfg, &usageError{errors.New("--url has a password, and everybody on this machine can see it: " +
			"set EVENTSTORE_URL, or leave user and password out and give --user, with --password-file " +
			"or at the prompt")}
	}
	if err := c.credentials(ctx, &cfg); err != nil {
		return cfg, err
	}
	if cfg.ConnectionName == "" {
		cfg.ConnectionName = "esctl"
	}
	cfg.Hooks = c.hooks
	if c.verbose {
		cfg.Logger = slog.New(slog.NewTextHandler(c.errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg, cfg.Validate()
}

// credentials applies --user and --password-file.
func (c *cli) credentials(ctx context.Context, cfg *esclient.Config) (err error) {
	credentials := esclient.Credentials{Login: c.user}
	switch {
	case c.user == "" && c.passwordFile == "":
		return nil
	case c.user == "":
		return &usageError{errors.New("--password-file needs --user")}
	case c.passwordFile != "":
		credentials.Password, err = readPassword(c.passwordFile)
	default:
		credentials.Password, err = c.askPassword(ctx, "Password of "+c.user)
	}
	if err != nil {
		return err
	}
	cfg.Credentials = &credentials
	return credentials.Validate()
}

// waiting says why nothing happens, once for each loss or lack of a connection.
type waiting struct{ errs io.Writer }

func (w *waiting) OnReconnecting(i esclient.ConnectionInfo) {
	if i.Attempt == 1 && i.Err != nil {
		reason := strings.ReplaceAll(i.Err.Error(), "esclient: ", "")
		fmt.Fprintf(w.errs, "esctl: %s; trying again\n", printable(reason))
	}
}

// open makes a client, which the caller must close. It does not wait for the connection.
func (c *cli) open(ctx context.Context, hooks ...esclient.Hook) (*esclient.Client, error) {
	cfg, err := c.config(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Hooks = slices.Concat(hooks, cfg.Hooks)
	return esclient.New(cfg)
}

// withClient runs do with a connected client.
func (c *cli) withClient(ctx context.Context, do func(client *esclient.Client) error) error {
	client, err := c.open(ctx, &waiting{errs: c.errs})
	if err != nil {
		return err
	}
	defer client.Close()
	connecting, cancel := c.limited(ctx)
	defer cancel()
	if err := client.Connect(connecting); err != nil {
		return err
	}
	return do(client)
}

// withAdmin runs do with a client of the HTTP interface. The TCP client beside it need not be connected, so it does not
// report lost or refused connections: do may change the password with which it logs in.
func (c *cli) withAdmin(
	ctx context.Context, do func(ctx context.Context, client *esclient.Client, admin *esadmin.Client) error,
) error {
	client, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	admin, err := esadmin.New(client)
	if err != nil {
		return err
	}
	ctx, cancel := c.limited(ctx)
	defer cancel()
	return do(ctx, client, admin)
}
