package archtest

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// serverOptions are the options of server 23.10 without those that it calls deprecated. Each has an environment
// variable: EVENTSTORE_NODE_PORT is NodePort. A server with an unknown variable logs it and ignores it, or stops.
const serverOptions = `
	Help Version Config WhatIf AllowUnknownOptions DisableHttpCaching StatsPeriodSec WorkerThreads EnableHistograms
	LogHttpRequests LogFailedAuthenticationAttempts SkipIndexScanOnReads MaxAppendSize Insecure
	AllowAnonymousEndpointAccess AllowAnonymousStreamAccess OverrideAnonymousEndpointAccessForGossip TelemetryOptout
	Log LogConfig LogLevel LogConsoleFormat LogFileSize LogFileInterval LogFileRetentionCount DisableLogFile
	AuthorizationType AuthorizationConfig AuthenticationType AuthenticationConfig DisableFirstLevelHttpAuthorization
	CertificateFile CertificatePrivateKeyFile CertificatePassword CertificatePrivateKeyPassword
	TrustedRootCertificatesPath CertificateReservedNodeCommonName StreamInfoCacheCapacity ClusterSize NodePriority
	DiscoverViaDns ClusterDns ClusterGossipPort GossipSeed GossipIntervalMs GossipAllowedDifferenceMs GossipTimeoutMs
	ReadOnlyReplica DeadMemberRemovalPeriodSec LeaderElectionTimeoutMs MinFlushDelayMs DisableScavengeMerging
	ScavengeHistoryMaxAge CachedChunks ChunksCacheSize MaxMemTableSize HashCollisionReadLimit Db Index MemDb
	UseIndexBloomFilters IndexCacheSize SkipDbVerify WriteThrough Unbuffered ChunkInitialReaderCount PrepareTimeoutMs
	CommitTimeoutMs WriteTimeoutMs SkipIndexVerify IndexCacheDepth OptimizeIndexMerge AlwaysKeepScavenged
	ReduceFileCachePressure InitializationThreads ReaderThreadsCount MaxAutoMergeIndexLevel MaxTruncation ChunkSize
	StatsStorage DbLogFormat KeepAliveInterval KeepAliveTimeout ReplicationIp NodeIp NodePort EnableExternalTcp
	ReplicationPort NodeTcpPort NodeHostAdvertiseAs ReplicationHostAdvertiseAs AdvertiseHostToClientAs
	AdvertiseNodePortToClientAs AdvertiseTcpPortToClientAs NodeTcpPortAdvertiseAs NodePortAdvertiseAs
	ReplicationTcpPortAdvertiseAs GossipOnSingleNode DisableAdminUi DisableStatsOnHttp DisableGossipOnHttp
	EnableTrustedAuth EnableAtomPubOverHttp RunProjections StartStandardProjections ProjectionThreads
	ProjectionsQueryExpiry FaultOutOfOrderProjections ProjectionCompilationTimeout ProjectionExecutionTimeout`

// variable returns the environment variable of an option.
func variable(option string) string {
	var b strings.Builder
	b.WriteString("EVENTSTORE")
	for _, r := range option {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToUpper(string(r)))
	}
	return b.String()
}

type composeFile struct {
	Services map[string]composeService
	Networks map[string]struct {
		IPAM struct {
			Config []struct{ Subnet netip.Prefix }
		}
	}
}

type composeService struct {
	Image       string
	Profiles    []string
	Environment map[string]any
	Ports       []string
	Volumes     []string
	Networks    map[string]struct {
		Address netip.Addr `yaml:"ipv4_address"`
	}
	Healthcheck struct {
		Test             []string
		Interval         string
		Timeout, Retries any
	}
	DependsOn map[string]struct{ Condition string } `yaml:"depends_on"`
}

// env returns the value of a variable. Compose passes no other type than a string on unchanged.
func (s *composeService) env(t *testing.T, name string) string {
	t.Helper()
	v, ok := s.Environment[name].(string)
	require.True(t, ok, "%s is %v, which is no string", name, s.Environment[name])
	return v
}

func (s *composeService) isNode() bool { return strings.HasPrefix(s.Image, "eventstore/") }

func readCompose(t *testing.T) composeFile {
	t.Helper()
	var f composeFile
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &f))
	require.NotEmpty(t, f.Services)
	return f
}

func TestComposeServicesAreWaitedFor(t *testing.T) {
	hostPorts := make(map[string]string)
	f := readCompose(t)
	for name, s := range f.Services {
		assert.NotEmpty(t, s.Healthcheck.Test, "%s: --wait needs a healthcheck", name)
		assert.NotContains(t, s.Image, "latest", name)
		assert.Contains(t, s.Image, ":", "%s has no fixed version", name)
		for _, p := range s.Ports {
			host, isLocal := strings.CutPrefix(p, "127.0.0.1:")
			assert.True(t, isLocal, "%s publishes %s beyond this machine", name, p)
			host, _, _ = strings.Cut(host, ":")
			assert.Empty(t, hostPorts[host], "%s and %s have the same port %s", name, hostPorts[host], host)
			hostPorts[host] = name
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			assert.FileExists(t, filepath.Join(top, from), name)
		}
		for other, how := range s.DependsOn {
			require.Contains(t, f.Services, other)
			assert.Equal(t, "service_healthy", how.Condition)
			assert.Subset(t, s.Profiles, f.Services[other].Profiles, "%s runs without %s", name, other)
		}
	}
	assert.Equal(t, "eventstore", hostPorts["1113"], "the server of make test_server")
	assert.Contains(t, read(t, "Makefile"), "tcp://admin:changeit@127.0.0.1:1113")
	assert.Contains(t, read(t, "dashboards/grafana/datasource.yml"), "http://prometheus:9090")
}

func TestComposeNodesHaveOptionsThatExist(t *testing.T) {
	known := make(map[string]bool)
	for _, option := range strings.Fields(serverOptions) {
		known[variable(option)] = true
	}
	for name, s := range readCompose(t).Services {
		if !s.isNode() {
			continue
		}
		assert.Equal(t, "eventstore/eventstore:23.10.8-bookworm-slim", s.Image, name)
		for v := range s.Environment {
			assert.True(t, known[v], "%s: server 23.10 has no option for %s", name, v)
			s.env(t, v)
		}
		for v, want := range map[string]string{
			"EVENTSTORE_ENABLE_EXTERNAL_TCP":       "true", // or there is no port for this client
			"EVENTSTORE_ENABLE_ATOM_PUB_OVER_HTTP": "true", // or the web page shows no streams
			"EVENTSTORE_INSECURE":                  "true",
			"EVENTSTORE_RUN_PROJECTIONS":           "All",
		} {
			assert.Equal(t, want, s.env(t, v), "%s: %s", name, v)
		}
		health := strings.Join(s.Healthcheck.Test, " ")
		assert.Contains(t, health, "http://localhost:"+s.env(t, "EVENTSTORE_NODE_PORT")+"/health/live", name)
	}
}

func TestComposeClusterFitsTogether(t *testing.T) {
	f := readCompose(t)
	subnet := f.Networks["cluster"].IPAM.Config[0].Subnet
	var nodes []string
	for name, s := range f.Services {
		if slices.Contains(s.Profiles, "cluster") {
			nodes = append(nodes, name)
		} else if s.isNode() {
			assert.Equal(t, "1", s.env(t, "EVENTSTORE_CLUSTER_SIZE"), name)
		}
	}
	for _, name := range nodes {
		s := f.Services[name]
		assert.Equal(t, fmt.Sprint(len(nodes)), s.env(t, "EVENTSTORE_CLUSTER_SIZE"), name)
		address := s.Networks["cluster"].Address
		assert.True(t, subnet.Contains(address), "%s: %v is not in %v", name, address, subnet)
		assert.Equal(t, address.String(), s.env(t, "EVENTSTORE_REPLICATION_IP"), name)
		var others []string
		for _, other := range nodes {
			if other != name {
				others = append(others, f.Services[other].Networks["cluster"].Address.String()+":2113")
			}
		}
		assert.ElementsMatch(t, others, strings.Split(s.env(t, "EVENTSTORE_GOSSIP_SEED"), ","), name)
		// Clients on the host get the addresses that gossip tells.
		host := s.env(t, "EVENTSTORE_ADVERTISE_HOST_TO_CLIENT_AS") + ":"
		assert.ElementsMatch(t, []string{
			host + s.env(t, "EVENTSTORE_ADVERTISE_TCP_PORT_TO_CLIENT_AS") + ":" + s.env(t, "EVENTSTORE_NODE_TCP_PORT"),
			host + s.env(t, "EVENTSTORE_ADVERTISE_NODE_PORT_TO_CLIENT_AS") + ":" + s.env(t, "EVENTSTORE_NODE_PORT"),
		}, s.Ports, name)
	}
}
