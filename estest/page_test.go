package estest_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// pageState is the data that the page requests.
type pageState struct {
	Version      string
	Connections  int
	StreamsTotal int
	EventsTotal  int
	Groups       []estest.GroupStats
	Streams      []estest.StreamInfo
	More         bool
	Events       []struct{ Stream, Type, Data, Metadata, Created string }
	Oldest       string
}

func pageOf(t testing.TB, s *estest.Server, query url.Values) (state pageState) {
	t.Helper()
	getJSON(t, s.HTTPURL()+"/estest/state?"+query.Encode(), &state)
	return state
}

func (s *pageState) names() (names []string) {
	for _, info := range s.Streams {
		names = append(names, info.Name)
	}
	return names
}

func (s *pageState) data() (data []string) {
	for _, e := range s.Events {
		data = append(data, e.Data)
	}
	return data
}

func TestThePageShowsWrittenEvents(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	p.mustAppend(nil, "orders", newEvent("Placed", `{"n":1}`), newEvent("Placed", "\xff\x01"))
	p.mustAppend(nil, "invoices", newEvent("Sent", strings.Repeat("é", 2000)))
	p.createGroup("orders", "g")
	sub := p.join("orders", "g")
	first := p.delivered(sub)
	p.delivered(sub)
	p.nak(sub, "orders", "g", esproto.PersistentSubscriptionNakEvents_Park, first.GetEvent().GetEvent().GetEventId())
	pings(t, p)

	state := pageOf(t, s, nil)
	assert.Equal(t, "5.0.11.0", state.Version)
	assert.Equal(t, 1, state.Connections)
	assert.Equal(t, []string{"invoices", "orders"}, state.names(), "the stream with the newest event comes first")
	assert.Equal(t, 2, state.Streams[1].Events)
	require.Len(t, state.Groups, 1)
	assert.Equal(t, 1, state.Groups[0].Parked)
	assert.Equal(t, 1, state.Groups[0].InFlight)
	assert.Greater(t, state.StreamsTotal, 2)
	assert.Contains(t, state.Events[0].Stream, "-parked")

	state = pageOf(t, s, url.Values{"stream": {"orders"}})
	assert.Equal(t, []string{"ff 01", `{"n":1}`}, state.data())
	assert.Empty(t, state.Oldest)
	state = pageOf(t, s, url.Values{"stream": {"invoices"}})
	assert.Equal(t, strings.Repeat("é", 1000)+" … (4000 bytes)", state.Events[0].Data)
	state = pageOf(t, s, url.Values{"system": {"true"}, "filter": {"-parked"}})
	assert.Equal(t, []string{"$persistentsubscription-orders::g-parked"}, state.names())
	assert.Empty(t, pageOf(t, s, url.Values{"stream": {"nothing"}}).Events)
}

func TestThePageTurns(t *testing.T) {
	s := estest.Run(t)
	for n := range 120 {
		_, err := s.Append("s", estest.Event{Type: "T", Data: fmt.Append(nil, n)})
		require.NoError(t, err)
	}
	for _, stream := range []string{"s", ""} {
		query, seen := url.Values{"stream": {stream}}, []string{}
		for {
			state := pageOf(t, s, query)
			for _, e := range state.Events {
				if e.Stream == "s" {
					seen = append(seen, e.Data)
				}
			}
			if state.Oldest == "" {
				break
			}
			query.Set("before", state.Oldest)
		}
		require.Len(t, seen, 120)
		for i, data := range seen {
			assert.Equal(t, fmt.Sprint(119-i), data)
		}
	}
	res := request(t, http.MethodGet, s.HTTPURL()+"/estest/state?before=x", nil, "")
	assert.Equal(t, http.StatusBadRequest, res.StatusCode)
}

func TestThePageShowsTheNewestOfManyStreams(t *testing.T) {
	s := estest.Run(t)
	for n := range 300 {
		appendTo(t, s, fmt.Sprintf("s-%d", n), "T")
	}
	appendTo(t, s, "s-7", "T")
	state := pageOf(t, s, nil)
	require.Len(t, state.Streams, 200)
	assert.True(t, state.More)
	assert.Equal(t, []string{"s-7", "s-299", "s-298"}, state.names()[:3])
	assert.Equal(t, "s-101", state.names()[199])
	state = pageOf(t, s, url.Values{"filter": {"s-12"}})
	assert.Len(t, state.Streams, 11)
	assert.False(t, state.More)
}

// A client on another machine, or with a foreign host name, must be an administrator.
func TestWhoMayLookAtThePage(t *testing.T) {
	s := estest.Run(t)
	look := func(path, host string, as *esproto.Credentials) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTPURL()+path, http.NoBody)
		require.NoError(t, err)
		req.Close, req.Host = true, host
		if as != nil {
			req.SetBasicAuth(as.Login, as.Password)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		assert.NotContains(t, res.Header.Get("Content-Security-Policy"), "unsafe")
		return res.StatusCode
	}
	for _, path := range []string{"/", "/estest/page.js", "/estest/page.css", "/estest/state"} {
		for host, status := range map[string]int{
			"": 200, "localhost": 200, "127.0.0.1:2113": 200, "[::1]:2113": 200, "[::1]": 200,
			"evil.example": 401, "192.0.2.1:2113": 401, "localhost.evil.example:2113": 401,
		} {
			assert.Equal(t, status, look(path, host, nil), "%s of %q", path, host)
		}
		assert.Equal(t, http.StatusUnauthorized, look(path, "evil.example", ops))
		assert.Equal(t, http.StatusOK, look(path, "evil.example", admin))
	}
	res := request(t, http.MethodPost, s.HTTPURL()+"/", admin, "")
	assert.Equal(t, http.StatusNotFound, res.StatusCode, "it only reads")
}

// What the process has computed before there was a server is none of it.
func TestTheFirstLookAtTheCPUTime(t *testing.T) {
	before := cpuTime(t)
	for before < 500*time.Millisecond {
		before = cpuTime(t)
	}
	s := estest.Run(t, estest.WithPersona(estest.Persona414)) // later versions divide it by the processors
	var proc struct {
		CPU float64
		TCP struct{ MeasureTime string }
	}
	getJSON(t, s.HTTPURL()+"/stats/proc", &proc)
	var hours, minutes, seconds float64
	_, err := fmt.Sscanf(proc.TCP.MeasureTime, "%f:%f:%f", &hours, &minutes, &seconds)
	require.NoError(t, err)
	told := proc.CPU / 100 * ((hours*60+minutes)*60 + seconds)
	assert.Less(t, told, before.Seconds()/2)
}

// cpuTime returns the CPU time of this process. It skips the test if the system does not report it.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Skip("the system tells no CPU time of a process: ", err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	require.NoError(t, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(t, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func TestStatsOverHTTP(t *testing.T) {
	s := estest.Run(t)
	p := dial(t, s)
	p.ask(esproto.CmdIdentifyClient, nil,
		&esproto.IdentifyClient{Version: proto.Int32(1), ConnectionName: proto.String("me")},
		&esproto.ClientIdentified{})
	p.mustAppend(nil, "s", newEvent("T", "x"))
	var stats struct {
		Proc struct {
			StartTime string
			TCP       struct{ Connections, ReceivedBytesTotal, SentBytesTotal int }
		}
		ES struct{ Checksum int64 }
	}
	var own struct {
		FramesIn map[string]int
		Events   int
	}
	getJSON(t, s.HTTPURL()+"/stats", &stats)
	getJSON(t, s.HTTPURL()+"/estest/stats", &own)
	assert.NotEmpty(t, stats.Proc.StartTime)
	assert.Equal(t, 1, stats.Proc.TCP.Connections)
	assert.Positive(t, stats.Proc.TCP.ReceivedBytesTotal)
	assert.Positive(t, stats.Proc.TCP.SentBytesTotal)
	assert.Equal(t, s.Snapshot().End, stats.ES.Checksum)
	assert.Equal(t, map[string]int{"IdentifyClient": 1, "WriteEvents": 1}, own.FramesIn)
	assert.Equal(t, s.Stats().Events, own.Events)
	var connections int
	getJSON(t, s.HTTPURL()+"/stats/proc/tcp/connections", &connections)
	assert.Equal(t, 1, connections)

	var clients []struct {
		RemoteEndPoint, ClientConnectionName string
		TotalBytesReceived, TotalBytesSent   int
	}
	getJSON(t, s.HTTPURL()+"/stats/tcp", &clients)
	require.Len(t, clients, 1)
	assert.Equal(t, "me", clients[0].ClientConnectionName)
	assert.Equal(t, p.nc.LocalAddr().String(), clients[0].RemoteEndPoint)
	assert.Equal(t, stats.Proc.TCP.ReceivedBytesTotal, clients[0].TotalBytesReceived)
	assert.Equal(t, stats.Proc.TCP.SentBytesTotal, clients[0].TotalBytesSent)

	for _, path := range []string{"/stats/nothing", "/stats/proc/tcp/connections/more"} {
		assert.Equal(t, http.StatusNotFound, request(t, http.MethodGet, s.HTTPURL()+path, nil, "").StatusCode, path)
	}
	s = run2310(t)
	for _, path := range []string{"/stats", "/stats/tcp", "/estest/stats"} {
		assert.Equal(t, http.StatusUnauthorized, request(t, http.MethodGet, s.HTTPURL()+path, nil, "").StatusCode)
		assert.Equal(t, http.StatusOK, request(t, http.MethodGet, s.HTTPURL()+path, ops, "").StatusCode)
	}
}
