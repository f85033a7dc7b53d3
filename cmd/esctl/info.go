package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// infoJSON has the known facts of a server. Unknown ones are absent.
type infoJSON struct {
	Node    string             `json:"node"`
	User    string             `json:"user,omitempty"`
	TLS     bool               `json:"tls"`
	State   string             `json:"state,omitempty"`
	Version string             `json:"version,omitempty"`
	Filters *bool              `json:"filters,omitempty"`
	End     *esclient.Position `json:"end,omitempty"`
	Nodes   int                `json:"nodes,omitempty"`
}

const infoLong = `Tell what the server is, as far as it lets the user know.

State, version (of 23.10 only) and nodes are those of its gossip over HTTP. The end of the log takes the right to read
$all.`

func newInfo(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "info", Short: "Tell what the server is, as far as it lets the user know", Args: cobra.NoArgs,
		Long: infoLong,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.info(cmd.Context()) },
	}
}

func (c *cli) info(ctx context.Context) error {
	var node lastNode
	c.hooks = append(c.hooks, &node)
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, cancel := c.limited(ctx)
		defer cancel()
		if _, err := client.Ping(ctx); err != nil {
			return err
		}
		cfg := client.Config()
		info := infoJSON{Node: node.endpoint, TLS: cfg.TLS != nil}
		if cfg.Credentials != nil {
			info.User = cfg.Credentials.Login
		}
		if err := info.askLog(ctx, client); err != nil {
			return err
		}
		if members, err := askMembers(ctx, &cfg); err == nil {
			info.addGossip(members)
		}
		return c.printInfo(&info)
	})
}

// askLog finds the end of the log, and whether the server filters. For a user who may not read the log, both stay
// unknown.
func (i *infoJSON) askLog(ctx context.Context, client *esclient.Client) error {
	last := esclient.ReadAllOptions{Backward: true, From: esclient.FromEnd(), MaxCount: 1}
	page, err := client.ReadAllPage(ctx, last)
	if errors.Is(err, esclient.ErrAccessDenied) {
		return nil
	}
	if err != nil {
		return err
	}
	i.End = &page.From
	last.Filter = &esclient.Filter{StreamPrefixes: []string{"$"}}
	_, err = client.ReadAllPage(ctx, last)
	filters := err == nil
	if err != nil && !errors.Is(err, esclient.ErrNotSupported) {
		return err
	}
	i.Filters = &filters
	return nil
}

func (i *infoJSON) addGossip(members []memberJSON) {
	i.Nodes = len(members)
	for _, m := range members {
		if m.Node == i.Node || len(members) == 1 {
			i.State, i.Version = m.State, m.Version
		}
	}
}

func (c *cli) printInfo(i *infoJSON) error {
	if c.json {
		return c.printJSON(i)
	}
	filters, end := "unknown", "unknown"
	if i.Filters != nil {
		filters = map[bool]string{true: "yes", false: "no, before 20.6"}[*i.Filters]
		end = i.End.String()
	}
	nodes := "unknown"
	if i.Nodes > 0 {
		nodes = fmt.Sprint(i.Nodes)
	}
	for _, line := range [][2]string{
		{"node", i.Node},
		{"state", cmp.Or(i.State, "unknown")},
		{"version", cmp.Or(i.Version, "unknown")},
		{"nodes", nodes},
		{"user", cmp.Or(i.User, "(anonymous)")},
		{"TLS", map[bool]string{true: "yes", false: "no"}[i.TLS]},
		{"filters", filters},
		{"end of log", end},
	} {
		if _, err := fmt.Fprintf(c.out, "%-11s %s\n", line[0], printable(line[1])); err != nil {
			return err
		}
	}
	return nil
}
