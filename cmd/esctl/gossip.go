package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// memberJSON is a node as gossip describes it.
type memberJSON struct {
	Node     string `json:"node"`
	HTTP     string `json:"http"`
	State    string `json:"state"`
	Alive    bool   `json:"alive"`
	Version  string `json:"version,omitempty"` // only 23.10 tells it
	Epoch    int64  `json:"epoch"`
	Commit   int64  `json:"last_commit_position"`
	Writer   int64  `json:"writer_checkpoint"`
	Priority int    `json:"priority"`
	Instance string `json:"instance"`
}

func newGossip(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "gossip", Short: "List the nodes as they describe each other over HTTP", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.gossip(cmd.Context()) },
	}
}

func (c *cli) gossip(ctx context.Context) error {
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := c.limited(ctx)
	defer cancel()
	members, err := askMembers(ctx, &cfg)
	if err != nil {
		return err
	}
	head := []string{"NODE", "STATE", "ALIVE", "HTTP", "VERSION", "EPOCH", "COMMIT"}
	return printList(c, members, head, func(m memberJSON) []any {
		return []any{m.Node, m.State, m.Alive, m.HTTP, cmp.Or(m.Version, "-"), m.Epoch, m.Commit}
	})
}

// askMembers asks the cluster, or the single node, for its gossip.
func askMembers(ctx context.Context, cfg *esclient.Config) ([]memberJSON, error) {
	gossip, err := gossipConfig(cfg)
	if err != nil {
		return nil, err
	}
	discoverer, err := discovery.NewGossip(gossip)
	if err != nil {
		return nil, &usageError{err}
	}
	// The nodes are known even if none of them can be connected to.
	if _, err = discoverer.Next(ctx); err != nil && len(discoverer.Members()) == 0 {
		return nil, err
	}
	var members []memberJSON
	for _, m := range discoverer.Members() {
		members = append(members, memberJSON{
			Node: m.TCP.String(), HTTP: m.HTTP.String(), State: string(m.State), Alive: m.Alive, Version: m.Version,
			Epoch: m.EpochNumber, Commit: m.LastCommitPosition, Writer: m.WriterCheckpoint, Priority: m.NodePriority,
			Instance: m.InstanceID,
		})
	}
	slices.SortFunc(members, func(a, b memberJSON) int { return strings.Compare(a.Node, b.Node) })
	return members, nil
}

// gossipConfig returns the address of the gossip: that of the cluster, or of the node's HTTP interface.
func gossipConfig(cfg *esclient.Config) (gossip discovery.GossipConfig, err error) {
	if cfg.Gossip != nil {
		gossip = *cfg.Gossip
	} else {
		var seed discovery.Endpoint
		if seed, gossip.TLS, err = httpInterface(cfg); err != nil {
			return gossip, err
		}
		gossip.Seeds = []discovery.Endpoint{seed}
	}
	gossip.SecureTCP = cfg.TLS != nil
	if gossip.TLS == nil {
		return gossip, nil
	}
	if c := cfg.Credentials; c != nil && gossip.Credentials == nil {
		gossip.Credentials = &discovery.Credentials{Login: c.Login, Password: c.Password}
	}
	if cfg.TLSCAFile != "" && gossip.TLS.RootCAs == nil {
		pem, err := os.ReadFile(cfg.TLSCAFile)
		if err != nil {
			return gossip, &usageError{err}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return gossip, &usageError{fmt.Errorf("%s has no certificates", cfg.TLSCAFile)}
		}
		gossip.RootCAs = func() *x509.CertPool { return pool }
	}
	return gossip, nil
}

// httpInterface returns the address of a single node's HTTP interface, and its encryption.
func httpInterface(cfg *esclient.Config) (discovery.Endpoint, *tls.Config, error) {
	at, encryption := cfg.HTTPEndpoint, cfg.TLS
	if at == "" {
		endpoint, err := discovery.ParseEndpoint(cfg.Address)
		return discovery.Endpoint{Host: endpoint.Host, Port: esclient.DefaultHTTPPort}, encryption, err
	}
	if scheme, rest, ok := strings.Cut(at, "://"); ok {
		at = strings.TrimSuffix(rest, "/")
		switch {
		case strings.EqualFold(scheme, "http"):
			encryption = nil
		case encryption == nil:
			encryption = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	endpoint, err := discovery.ParseEndpoint(at)
	return endpoint.WithDefaultPort(esclient.DefaultHTTPPort), encryption, err
}
