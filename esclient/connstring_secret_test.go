package esclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// TestErrorsShowNoPartOfAPassword uses passwords with special characters that are not escaped, in settings for
// passwords and in others.
func TestErrorsShowNoPartOfAPassword(t *testing.T) {
	forms := []string{
		"tcp://jane:%s@host", "tcp://jane:%s@host:1113?maxRetries=3", "tls://jane:%s@host",
		"discover://jane:%s@host:2113",
		"tcp://jane:%s", "tcp://jane:%s@ho st", "tcp://jane:%s@host:99999", "jane:%s@host:1113", "jane:%s",
		"tcp:/jane:%s@host", "http://jane:%s@host", "esdb://jane:%s@host", `"tcp://jane:%s@host"`,
		"'tcp://jane:%s@host'",
		"tcp://host?defaultUserCredentials=jane:%s", "tcp://host?maxRetries=x&defaultUserCredentials=jane:%s",
		"tcp://host?httpEndpoint=http://jane:%s@host", "tcp://host?httpEndpoint=jane:%s@host:2113",
		"discover://host?gossipSeeds=a:1,jane:%s@b:2", "tcp://host?gossipSeeds=http://jane:%s@b:2",
		"discover://host?clusterDNS=jane:%s@b", "tcp://host?tlsServerName=jane:%s@b",
		"ConnectTo=tcp://jane:%s@host", "ConnectTo=tcp://jane:%s@host; HeartBeatTimeout=500",
		`ConnectTo="tcp://jane:%s@host"`,
		"ConnectTo=discover://jane:%s@host", "ConnectTo=jane:%s@host:1113", "ConnectTo=tcp://jane:%s@host?x=1",
		"ConnectTo=tcp://host; DefaultUserCredentials=jane:%s", "DefaultUserCredentials=jane:%s; ConnectTo=tcp://host",
		"ConnectTo=tcp://host; Default User Credentials=jane:%s; MaxRetries=3", "DefaultUserCredentials=jane:%s",
		"ConnectTo=tcp://host; DefaultUserCredentials=%s", "DefaultCredentials=jane:%s; ConnectTo=tcp://host",
		"GossipSeeds=a:1,jane:%s@b:2", "GossipSeeds=https://jane:%s@b:2", "ClusterDns=jane:%s@host",
		"ConnectTo=tcp://host; HttpEndpoint=jane:%s@host", "ConnectTo=tcp://host; HttpEndpoint=https://jane:%s@host",
		"ConnectTo=tcp://host; User=jane; Password=%s", "tcp://host?user=jane&password=%s",
	}
	const first, second, third = "hunter", "Secret", "zz42"
	var passwords []string
	for _, c := range []string{
		";", "&", "?", "/", "#", "@", "%", "%zz", ":", "=", ",", " ", `"`, "'", `\`, "[", "]", "%3B", "%40", "@@",
		"://", ";;", ";tls=", ";maxRetries=", ";maxFrameSize=", "&heartbeatTimeout=", ";gossipSeeds=", ";connectTo=",
		";httpEndpoint=", ";tlsCAFile=", "&tlsCAFile=/", ";nodePreference=", "&gossipPort=", ";clusterDNS=",
		";defaultUserCredentials=", ":1?",
	} {
		for _, last := range []string{"", "=", ";", "@"} {
			passwords = append(passwords, first+c+second+last+third, "12"+c+second+last+third)
		}
	}
	for _, form := range forms {
		for _, password := range passwords {
			if form == "tcp://jane:%s" && strings.HasPrefix(password, "12") {
				continue // a host and its port
			}
			s := strings.Replace(form, "%s", password, 1)
			_, err := esclient.ParseConnectionString(s)
			if err == nil {
				continue // it stands for something else
			}
			for _, part := range []string{first, second, third} {
				assert.NotContains(t, strings.ToLower(fmt.Sprintf("%v %+v", err, err)), strings.ToLower(part), s)
			}
			var e *esclient.ConfigError
			require.ErrorAs(t, err, &e, s)
			assert.NotEmpty(t, e.Setting, s)
		}
	}
}

// Errors still show text that is no secret: the name of the setting, and its value.
func TestErrorsShowNonSecrets(t *testing.T) {
	for s, told := range map[string]string{
		"tcp://jane:hunter2@host?heartBeat=5":                            "heartBeat",
		"tcp://jane:hunter2@host?heartbeatTimeout=soon":                  "soon",
		"ConnectTo=tcp://jane:hunter2@host; HeartBeat=5":                 "HeartBeat",
		"ConnectTo=tcp://jane:hunter2@host; HeartbeatTimeout=soon":       "soon",
		"ConnectTo=tcp://host; MaxRetries=x; DefaultUserCredentials=j:p": "MaxRetries",
	} {
		_, err := esclient.ParseConnectionString(s)
		assert.ErrorContains(t, err, told, s)
	}
}

// printed shows a value in all the ways in which programs print. Of %p and %w the fmt package asks no method.
func printed(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range "vsdqxXtcboOUeEfFgGT" {
		for _, flags := range []string{"", "+", "#", "-10", "010", " ", "+#"} {
			fmt.Fprintf(&b, "%"+flags+string(verb)+"\n", v)
		}
	}
	fmt.Fprintln(&b, v, []any{v}, map[string]any{"x": v}, struct{ V any }{v})
	fmt.Fprintf(&b, "%+v %#v", []any{v}, struct{ V any }{v})
	for _, log := range []*slog.Logger{
		slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil)),
	} {
		log.Info("x", "v", v, slog.Group("g", "v", v))
		log.With("v", v).Info("x")
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		out, err := marshal(v)
		fmt.Fprintf(&b, "%s %v", out, err)
		out, err = marshal(struct{ V any }{v})
		fmt.Fprintf(&b, "%s %v", out, err)
	}
	return b.String()
}

func TestNothingPrintsAPassword(t *testing.T) {
	creds := esclient.Credentials{Login: "jane", Password: "hunter2"}
	forGossip := discovery.Credentials{Login: "jane", Password: "hunter2"}
	gossip := discovery.GossipConfig{Seeds: []discovery.Endpoint{{Host: "host"}}, Credentials: &forGossip}
	cfg := esclient.Config{Address: "127.0.0.1:1", Credentials: &creds, Gossip: &gossip}
	client, err := esclient.New(cfg)
	require.NoError(t, err)
	single, err := esclient.Open("tcp://jane:hunter2@127.0.0.1:1")
	require.NoError(t, err)
	management, err := esadmin.New(single)
	require.NoError(t, err)
	finder, err := discovery.NewGossip(gossip)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(esclient.WithCredentials(context.Background(), creds))
	cancel()
	_, callErr := single.ReadEvent(ctx, "s", 0, esclient.ReadEventOptions{})
	require.Error(t, callErr)
	_, httpErr := management.Users(esclient.WithCredentials(testContext(t), creds))
	require.Error(t, httpErr)
	misplaced := esclient.Config{
		Address: "jane:hunter2@host:1113", HTTPEndpoint: "http://jane:hunter2@host:2113",
		Gossip: &discovery.GossipConfig{Seeds: []discovery.Endpoint{{Host: "jane:hunter2@host"}}},
	}
	onlyAddress := esclient.Config{Address: "jane:hunter2@host:1113"}
	onlyHTTP := esclient.Config{Address: "host", HTTPEndpoint: "http://jane:hunter2@host:2113"}
	require.NoError(t, client.Close()) // or to print it would be a race
	require.NoError(t, single.Close())
	for what, v := range map[string]any{
		"credentials": creds, "pointer to credentials": &creds, "gossip credentials": forGossip,
		"pointer to gossip credentials": &forGossip, "list": []esclient.Credentials{creds},
		"map": map[string]discovery.Credentials{"x": forGossip}, "gossip": gossip, "pointer to gossip": &gossip,
		"config": cfg, "pointer to config": &cfg, "misplaced": misplaced, "address": onlyAddress, "http": onlyHTTP,
		"error of gossip": misplaced.Validate(), "error of address": onlyAddress.Validate(),
		"error of http": onlyHTTP.Validate(), "client": client, "single": single, "finder": finder,
		"context": ctx, "error of a call": callErr, "error of HTTP": httpErr,
	} {
		text := printed(t, v)
		i := strings.Index(text, "hunter2")
		assert.Negative(t, i, "%s: %s", what, text[max(i-100, 0):max(i, 0)])
	}
	assert.NotContains(t, fmt.Sprintf("%v %+v", management, management), "hunter2")
	_, c := embeddedAsAdmin(t)
	group := name("group")
	require.NoError(t, c.CreatePersistent(testContext(t), group, "g", esclient.DefaultPersistentSettings()))
	sub, err := c.ConnectPersistent(esclient.WithCredentials(testContext(t),
		esclient.Credentials{Login: "admin", Password: "changeit"}), group, "g", esclient.PersistentOptions{})
	require.NoError(t, err)
	assert.NotContains(t, printed(t, sub), "changeit")
}
