package esclient_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

func TestConnectionStringsInBothForms(t *testing.T) {
	for _, s := range []string{
		"tcp://jane:s3cr%3Bet@es.example:1114?heartbeatInterval=200&HeartBeatTimeout=500ms&operationTimeout=3s" +
			"&maxRetries=4&reconnectionDelay=10&maxReconnections=7&requireMaster=false&connectionName=mine",
		"ConnectTo=tcp://jane:s3cr%3Bet@es.example:1114; Heart Beat Interval=200; HeartbeatTimeout=500; " +
			"OPERATIONTIMEOUT=3000;MaxRetries=4; ReconnectionDelay=10; MaxReconnections=7; " +
			"PerformOnMasterOnly=False; ConnectionName=mine; VerboseLogging=true;",
	} {
		cfg, err := esclient.ParseConnectionString(s)
		require.NoError(t, err, s)
		assert.Equal(t, "es.example:1114", cfg.Address)
		assert.Equal(t, &esclient.Credentials{Login: "jane", Password: "s3cr;et"}, cfg.Credentials)
		assert.Equal(t, 200*time.Millisecond, cfg.HeartbeatInterval)
		assert.Equal(t, 500*time.Millisecond, cfg.HeartbeatTimeout)
		assert.Equal(t, 3*time.Second, cfg.OperationTimeout)
		assert.Equal(t, 4, cfg.MaxRetries)
		assert.Equal(t, 10*time.Millisecond, cfg.ReconnectDelay)
		assert.Equal(t, 7, cfg.MaxReconnects)
		assert.True(t, cfg.AllowFollower)
		assert.Equal(t, "mine", cfg.ConnectionName)
		assert.Nil(t, cfg.TLS)
	}
}

func TestConnectionStringDefaults(t *testing.T) {
	for s, address := range map[string]string{
		"tcp://localhost":              "localhost:1113",
		"TCP://localhost/":             "localhost:1113",
		"tcp://[::1]":                  "[::1]:1113",
		"tcp://[::1]:2000":             "[::1]:2000",
		"ConnectTo = tcp://10.0.0.1:1": "10.0.0.1:1",
	} {
		cfg, err := esclient.ParseConnectionString(s)
		require.NoError(t, err, s)
		assert.Equal(t, address, cfg.Address, s)
		assert.Nil(t, cfg.Credentials)
	}
	cfg, err := esclient.ParseConnectionString("tcp://localhost?maxReconnections=-1")
	require.NoError(t, err)
	assert.Zero(t, cfg.MaxReconnects, "-1 is for ever, too")
}

func TestConnectionStringTLS(t *testing.T) {
	for _, s := range []string{"tls://host", "tcp://host?tls=true", "ConnectTo=tcp://host;UseSslConnection=True"} {
		cfg, err := esclient.ParseConnectionString(s)
		require.NoError(t, err, s)
		require.NotNil(t, cfg.TLS, s)
		assert.False(t, cfg.TLS.InsecureSkipVerify, "verification is on by default")
		assert.Equal(t, uint16(tls.VersionTLS12), cfg.TLS.MinVersion)
	}
	cfg, err := esclient.ParseConnectionString(
		"ConnectTo=tcp://host; UseSslConnection=true; TargetHost=node1; ValidateServer=false")
	require.NoError(t, err)
	assert.True(t, cfg.TLS.InsecureSkipVerify)
	assert.Equal(t, "node1", cfg.TLS.ServerName)
}

func TestConnectionStringsOfClusters(t *testing.T) {
	for s, printed := range map[string]string{
		"discover://name":                                        "discover://name:2113",
		"discover://name?gossipPort=30778":                       "discover://name:30778",
		"discover://name:1?gossipPort=30778&queueTimeout=100":    "discover://name:1",
		"ClusterDns=name; ExternalGossipPort=30778":              "discover://name:30778",
		"Cluster Dns=name; Node Preference=random":               "discover://name:2113?nodePreference=random",
		"GossipSeeds=a:1,b:2; CompatibilityMode=auto":            "discover://a:1?gossipSeeds=b%3A2",
		"GossipSeeds=https://a:1, https://b:2":                   "discover://a:1?gossipSeeds=b%3A2&gossipTLS=true",
		"GossipSeeds=https://a:1; UseSslConnection=true":         "discover://a:1?tls=true",
		"GossipSeeds=http://a:1; UseSslConnection=true":          "discover://a:1?gossipTLS=false&tls=true",
		"GossipSeeds=https://a:1; GossipOverTls=false":           "discover://a:1",
		"ConnectTo=discover://u:p@n; GossipTimeout=250":          "discover://u:xxxxx@n:2113?gossipTimeout=250ms",
		"discover://name?clusterDNS=other":                       "discover://name:2113?gossipSeeds=other%3A2113",
		"discover://a:1?gossipSeeds=b:2,c:3":                     "discover://a:1?gossipSeeds=b%3A2%2Cc%3A3",
		"discover://a:1?gossipSeeds=a:1,b:2":                     "discover://a:1?gossipSeeds=b%3A2",
		"discover://a?gossipSeeds=b:2&clusterDNS=c&gossipPort=4": "discover://a:4?gossipSeeds=c%3A4%2Cb%3A2",
		"tcp://a:1?gossipSeeds=b:2":                              "discover://b:2",
	} {
		cfg, err := esclient.ParseConnectionString(s)
		require.NoError(t, err, s)
		assert.Equal(t, printed, cfg.String(), s)
	}
}

// TestAnyConfigIsReadBack changes every setting at random.
func TestAnyConfigIsReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func(set func()) {
		if r.IntN(2) == 0 {
			set()
		}
	}
	text := func() string {
		return string([]rune("aZ9 ä;=&?#%+/\\:,'\"日")[r.IntN(19)]) + strconv.Itoa(r.IntN(1000))
	}
	for range 500 {
		var cfg esclient.Config
		if r.IntN(2) == 0 {
			cfg.Gossip = &discovery.GossipConfig{Preference: discovery.Preference(r.IntN(4))}
			for n := range 1 + r.IntN(3) {
				cfg.Gossip.Seeds = append(cfg.Gossip.Seeds, discovery.Endpoint{
					Host: fmt.Sprintf("node%d", n), Port: 1 + r.IntN(65535),
				})
			}
			some(func() { cfg.Gossip.Timeout = time.Duration(r.Int64N(1e12)) })
			some(func() { cfg.Gossip.TLS = &tls.Config{MinVersion: tls.VersionTLS12} })
		} else {
			cfg.Address = []string{"host:1", "[::1]:1113", "10.0.0.1:65535"}[r.IntN(3)]
		}
		some(func() {
			cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: r.IntN(2) == 0}
			some(func() { cfg.TLS.ServerName = text() })
			if cfg.Gossip != nil {
				cfg.Gossip.SecureTCP = true
				if cfg.Gossip.TLS != nil {
					cfg.Gossip.TLS = cfg.TLS.Clone()
				}
			}
		})
		some(func() { cfg.Credentials = &esclient.Credentials{Login: "u" + text(), Password: "xxxxx"} })
		some(func() { cfg.ConnectionName = text() })
		some(func() { cfg.HTTPEndpoint = []string{"h:1", "https://h", "http://[::1]:2"}[r.IntN(3)] })
		for _, d := range []*time.Duration{
			&cfg.HeartbeatInterval, &cfg.HeartbeatTimeout, &cfg.OperationTimeout, &cfg.ConnectTimeout,
			&cfg.ReconnectDelay, &cfg.AuthRetryTimeout, &cfg.NodeCheckInterval,
		} {
			some(func() { *d = time.Duration(r.Int64N(1e12)) })
		}
		some(func() { cfg.MaxReconnectDelay = cfg.ReconnectDelay + time.Duration(r.Int64N(1e12)) })
		for _, n := range []*int{
			&cfg.MaxRetries, &cfg.MaxReconnects, &cfg.MaxFrameSize, &cfg.MaxPendingBytes, &cfg.CatchUpPageSize,
			&cfg.SubscriptionBufferSize, &cfg.SubscriptionBufferBytes, &cfg.PersistentInFlight,
		} {
			some(func() { *n = 1 + r.IntN(4096) })
		}
		some(func() { cfg.MaxRetries = -1 })
		some(func() { cfg.NodeCheckInterval = -1 })
		some(func() { cfg.AllowFollower = true })
		require.NoError(t, cfg.Validate())
		printed := cfg.String()
		again, err := esclient.ParseConnectionString(printed)
		require.NoError(t, err, "%s", printed)
		assert.Equal(t, cfg, again, "%s", printed)
	}
}

func TestBadConnectionStringsNameTheSetting(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(noPEM, []byte("hello"), 0o600))
	for s, setting := range map[string]string{
		"":                      "connection string",
		" ":                     "connection string",
		"localhost":             "connection string",
		"localhost:1113":        "connection string",
		"http://localhost:2113": "connection string",
		"esdb://localhost:2113": "connection string",
		"tcp://":                "connection string",
		"tcp://:1113":           "connection string",
		"tcp://host:port":       "connection string",
		"tcp://host:99999":      "connection string",
		"tcp://host:0":          "connection string",
		"tcp://host/path":       "connection string",
		"tcp://user:@host":      "connection string",
		"tcp://:secret@host":    "connection string",
		"tcp://u:" + strings.Repeat("x", 128) + "@host":     "connection string",
		"tcp://host?heartbeatTimeout=soon":                  "heartbeatTimeout",
		"tcp://host?heartbeatTimeout=-5":                    "heartbeatTimeout",
		"tcp://host?heartbeatTimeout=9999999999999999":      "heartbeatTimeout",
		"tcp://host?maxRetries=many":                        "maxRetries",
		"tcp://host?maxRetries=99999999999":                 "maxRetries",
		"tcp://host?maxReconnections=-2":                    "maxReconnections",
		"tcp://host?maxFrameSize=999999999":                 "MaxFrameSize",
		"tcp://host?tls=maybe":                              "tls",
		"tcp://host?tlsVerify=false":                        "tlsVerify",
		"tls://host?tlsCAFile=/does/not/exist":              "tlsCAFile",
		"tls://host?tlsCAFile=" + noPEM:                     "tlsCAFile",
		"tcp://host?httpEndpoint=ftp://host":                "httpEndpoint",
		"tcp://host?httpEndpoint=http://host/path":          "httpEndpoint",
		"tcp://host?httpEndpoint=":                          "httpEndpoint",
		"tcp://host?nonsense=1":                             "nonsense",
		"tcp://host?connectTo=tcp://other":                  "connectTo",
		"tcp://host?maxQueueSize=many":                      "maxQueueSize",
		"tcp://host?verboseLogging=perhaps":                 "verboseLogging",
		"tcp://host?operationTimeoutCheckPeriod=1y":         "operationTimeoutCheckPeriod",
		"tcp://host?maxPendingBytes=0":                      "maxPendingBytes",
		"tcp://host?catchUpPageSize=4097":                   "CatchUpPageSize",
		"tcp://host?persistentInFlight=-1":                  "persistentInFlight",
		"tcp://host?subscriptionBufferSize=1e3":             "subscriptionBufferSize",
		"tcp://host?MaxRetries=1&max_retries=2":             "max_retries",
		"tcp://host?maxRetries=1&maxRetries=2":              "maxRetries",
		"tcp://host?connectionName=%zz":                     "connection string",
		"tcp://host?connectionName=%ff":                     "ConnectionName",
		"ConnectTo=tcp://host;ConnectTo=tcp://other":        "ConnectTo",
		"ConnectTo=host:1113":                               "ConnectTo",
		"ConnectTo=tcp://host?tls=true":                     "ConnectTo",
		"HeartBeatTimeout=500":                              "ConnectTo",
		"ConnectTo=tcp://host;DefaultUserCredentials=admin": "DefaultUserCredentials",
		"ConnectTo=tcp://host;GossipSeeds=a":                "GossipSeeds",
		"GossipSeeds=ftp://a:1":                             "GossipSeeds",
		"GossipSeeds=http://a:1,https://b:1":                "GossipSeeds",
		"GossipSeeds=https://a:1,b:1":                       "GossipSeeds",
		"ClusterDns=a:1":                                    "ClusterDns",
		"ClusterDns=":                                       "ClusterDns",
		"ClusterDns=a;ExternalGossipPort=0":                 "ExternalGossipPort",
		"ClusterDns=a;ExternalGossipPort=65536":             "ExternalGossipPort",
		"tcp://host?gossipPort=2113":                        "gossipPort",
		"tcp://host?queueTimeout=long":                      "queueTimeout",
	} {
		_, err := esclient.ParseConnectionString(s)
		require.Error(t, err, s)
		assert.ErrorIs(t, err, esclient.ErrInvalidConfig)
		var e *esclient.ConfigError
		require.ErrorAs(t, err, &e, s)
		assert.Equal(t, setting, e.Setting, "%s: %v", s, err)
		_, err = esclient.Open(s)
		assert.ErrorIs(t, err, esclient.ErrInvalidConfig)
	}
}

func TestErrorsNeverShowThePassword(t *testing.T) {
	for _, s := range []string{
		"tcp://jane:hunter2@host:port", "tcp://jane:123?hunter2@host", "tcp://jane:99999/hunter2@host?x=1",
		"tcp://jane:pass#hunter2@host", "GossipSeeds=jane:hunter2@host:1", "ConnectTo=tcp://jane:a;hunter2=x@host",
		"tcp://host?heartbeatTimeout=jane:hunter2@host", "tcp://jane:1?maxRetries=hunter2@host",
		"tcp://jane:hunter2/x@host", "ConnectTo=tcp://jane:hunter2@ho st",
		"esdb://jane:hunter2@host", "tcp://jane:hunter2@host?x=1", "tcp://jané:hunter2@host:1/x",
		"ConnectTo=tcp://h;DefaultUserCredentials=:hunter2", "tcp://é:hunter2@host",
		"tcp://host?httpEndpoint=http://jane:hunter2@host", "ConnectTo=tcp://host;HttpEndpoint=jane:hunter2@host",
	} {
		_, err := esclient.ParseConnectionString(s)
		require.Error(t, err, s)
		assert.NotContains(t, err.Error(), "hunter2", s)
	}
	cfg, err := esclient.ParseConnectionString("tcp://jane:hunter2@host")
	require.NoError(t, err)
	assert.NotContains(t, cfg.Credentials.String(), "hunter2")
}

func TestBadConfigsNameTheField(t *testing.T) {
	good := func() esclient.Config { return esclient.Config{Address: "localhost:1113"} }
	for field, spoil := range map[string]func(*esclient.Config){
		"Address":           func(c *esclient.Config) { c.Address = "" },
		"Credentials":       func(c *esclient.Config) { c.Credentials = &esclient.Credentials{Login: "x"} },
		"ConnectionName":    func(c *esclient.Config) { c.ConnectionName = "\xff" },
		"HeartbeatInterval": func(c *esclient.Config) { c.HeartbeatInterval = -1 },
		"AuthRetryTimeout":  func(c *esclient.Config) { c.AuthRetryTimeout = -1 },
		"HTTPEndpoint":      func(c *esclient.Config) { c.HTTPEndpoint = "http://h/x" },
		"MaxReconnectDelay": func(c *esclient.Config) { c.ReconnectDelay, c.MaxReconnectDelay = 2, 1 },
		"MaxReconnects":     func(c *esclient.Config) { c.MaxReconnects = -1 },
		"MaxFrameSize":      func(c *esclient.Config) { c.MaxFrameSize = 1 << 30 },
		"MaxPendingBytes":   func(c *esclient.Config) { c.MaxPendingBytes = -1 },
		"Hooks[0]":          func(c *esclient.Config) { c.Hooks = []esclient.Hook{42} },
	} {
		cfg := good()
		require.NoError(t, cfg.Validate())
		spoil(&cfg)
		_, err := esclient.New(cfg)
		var e *esclient.ConfigError
		require.ErrorAs(t, err, &e, field)
		assert.Equal(t, field, e.Setting)
	}
}

// TestEverySettingInBothForms changes each setting away from its default, in both forms, and prints it back.
func TestEverySettingInBothForms(t *testing.T) {
	for setting, field := range map[string]func(*esclient.Config) any{
		"heartbeatInterval=321":       func(c *esclient.Config) any { return c.HeartbeatInterval },
		"heartbeatTimeout=321":        func(c *esclient.Config) any { return c.HeartbeatTimeout },
		"operationTimeout=321":        func(c *esclient.Config) any { return c.OperationTimeout },
		"connectTimeout=321":          func(c *esclient.Config) any { return c.ConnectTimeout },
		"reconnectionDelay=321":       func(c *esclient.Config) any { return c.ReconnectDelay },
		"maxReconnectionDelay=321":    func(c *esclient.Config) any { return c.MaxReconnectDelay },
		"authRetryTimeout=321":        func(c *esclient.Config) any { return c.AuthRetryTimeout },
		"nodeCheckInterval=321":       func(c *esclient.Config) any { return c.NodeCheckInterval },
		"maxRetries=321":              func(c *esclient.Config) any { return c.MaxRetries },
		"maxReconnections=321":        func(c *esclient.Config) any { return c.MaxReconnects },
		"maxFrameSize=321":            func(c *esclient.Config) any { return c.MaxFrameSize },
		"maxPendingBytes=321":         func(c *esclient.Config) any { return c.MaxPendingBytes },
		"catchUpPageSize=321":         func(c *esclient.Config) any { return c.CatchUpPageSize },
		"subscriptionBufferSize=321":  func(c *esclient.Config) any { return c.SubscriptionBufferSize },
		"subscriptionBufferBytes=321": func(c *esclient.Config) any { return c.SubscriptionBufferBytes },
		"persistentInFlight=321":      func(c *esclient.Config) any { return c.PersistentInFlight },
		"connectionName=321":          func(c *esclient.Config) any { return c.ConnectionName },
		"httpEndpoint=h:321":          func(c *esclient.Config) any { return c.HTTPEndpoint },
		"httpEndpoint=https://h":      func(c *esclient.Config) any { return c.HTTPEndpoint },
		"requireLeader=false":         func(c *esclient.Config) any { return c.AllowFollower },
		"tls=true":                    func(c *esclient.Config) any { return c.TLS != nil },
		"gossipSeeds=a:321,b:321":     func(c *esclient.Config) any { return c.Gossip.Seeds },
		"gossipSeeds=[::1]:321,b:321": func(c *esclient.Config) any { return c.Gossip.Seeds },
	} {
		uri, err := esclient.ParseConnectionString("tcp://host?" + setting)
		require.NoError(t, err, setting)
		pairs, err := esclient.ParseConnectionString("ConnectTo=tcp://host;" + setting)
		require.NoError(t, err, setting)
		assert.Equal(t, uri, pairs)
		want := field(&uri)
		assert.NotZero(t, want, setting)
		again, err := esclient.ParseConnectionString(uri.String())
		require.NoError(t, err, "%s", uri)
		assert.Equal(t, want, field(&again), "%s", uri)
	}
}

func TestAConfigCanBeChangedAndPrintedBack(t *testing.T) {
	cfg, err := esclient.ParseConnectionString(
		"ConnectTo=discover://jane:hunter2@cluster.example; NodePreference=Follower; tls=true")
	require.NoError(t, err)
	assert.Equal(t, "discover://jane:xxxxx@cluster.example:2113?nodePreference=follower&tls=true", cfg.String())
	cfg.Gossip.TLS = nil
	cfg.ConnectionName = "a & b"
	cfg.OperationTimeout = 1500 * time.Millisecond
	assert.Equal(t, "discover://jane:xxxxx@cluster.example:2113?connectionName=a+%26+b&gossipTLS=false"+
		"&nodePreference=follower&operationTimeout=1.5s&tls=true", cfg.String())
	single, err := esclient.ParseConnectionString("tls://host?tlsVerify=false&tlsServerName=node")
	require.NoError(t, err)
	assert.Equal(t, "tls://host:1113?tlsServerName=node&tlsVerify=false", single.String())
}

func TestNothingPrintsThePassword(t *testing.T) {
	cfg, err := esclient.ParseConnectionString("discover://jane:hunter2@host?gossipTLS=true&tls=true")
	require.NoError(t, err)
	cfg.Gossip.Credentials = &discovery.Credentials{Login: "jane", Password: "hunter2"}
	inJSON, err := json.Marshal(map[string]any{"config": cfg, "pointer": &cfg})
	require.NoError(t, err)
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "config", cfg, "pointer", &cfg)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "config", cfg, "pointer", &cfg)
	for how, text := range map[string]string{
		"String": cfg.String(), "%v": fmt.Sprintf("%v %v", cfg, &cfg), "%+v": fmt.Sprintf("%+v %+v", cfg, &cfg),
		"%#v": fmt.Sprintf("%#v %#v", cfg, &cfg), "%s": fmt.Sprintf("%s %s", cfg, &cfg), "JSON": string(inJSON),
		"slog": logged.String(), "nested": fmt.Sprintf("%+v", struct{ Config esclient.Config }{cfg}),
	} {
		assert.NotContains(t, text, "hunter2", how)
		assert.Contains(t, text, "jane", how)
	}
}

// FuzzParseConnectionString checks that no string causes a panic, that an accepted string is valid and survives
// printing and parsing, and that a password is never printed.
func FuzzParseConnectionString(f *testing.F) {
	for _, s := range []string{
		"tcp://admin:changeit@localhost:1113?heartbeatTimeout=500&tls=true", "discover://cluster.example:2113",
		"ConnectTo=tcp://u:p@h:1; HeartBeatTimeout=500; GossipSeeds=a:1,b:2", "tcp://[::1]:1113", "a=b;;c", "://", "=",
		"host:1113?gossipSeeds=x@y", "host/x@y?z=@", "h;y=@", "tls://h?tlsVerify=false&tlsServerName=x",
		"tcp://[fe80::1%25eth0]:1?nodePreference=random", "discover://a%41",
		"tcp://h?maxRetries=-1&maxReconnections=-1", "tcp://h?httpEndpoint=https://x:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(settingLetters(s), "cafile") {
			return // would read a file
		}
		for _, s := range []string{
			s, "tcp://jane:hunter2@" + s, "ConnectTo=tcp://jane:hunter2@" + s,
			"DefaultUserCredentials=jane:hunter2;" + s,
		} {
			cfg, err := esclient.ParseConnectionString(s)
			if err != nil {
				var e *esclient.ConfigError
				require.ErrorAs(t, err, &e)
				assert.NotEmpty(t, e.Setting)
				if strings.Count(s, "hunter2") == 1 {
					assert.NotContains(t, err.Error(), "hunter2", s)
				}
				continue
			}
			require.NoError(t, cfg.Validate(), "an accepted configuration is valid")
			printed := cfg.String()
			if strings.Count(s, "hunter2") == 1 {
				assert.NotContains(t, printed, "hunter2", s)
			}
			again, err := esclient.ParseConnectionString(printed)
			require.NoError(t, err, "%q was printed as %q", s, printed)
			if cfg.Credentials != nil {
				require.NotNil(t, again.Credentials)
				assert.Equal(t, "xxxxx", again.Credentials.Password)
				again.Credentials.Password = cfg.Credentials.Password
			}
			assert.Equal(t, cfg, again, "%q was printed as %q", s, printed)
		}
	})
}

// settingLetters unescapes the name of a setting and drops the letters that do not matter.
func settingLetters(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		s = u
	}
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "").Replace(s))
}
