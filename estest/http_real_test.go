package estest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const (
	jsonType = "application/json; charset=utf-8"
	atomType = "application/vnd.eventstore.atom+json; charset=utf-8"
)

// TestHTTPAnswersAreThoseOf2310 sends the recorded requests of a server 23.10.8, in the same state, and compares the
// answers: status, type, and the members of the body, with the types of their values, or the values if they are the
// same each time.
func TestHTTPAnswersAreThoseOf2310(t *testing.T) {
	s := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithProjections())
	billing(t, s)
	for _, tc := range []struct {
		method, path string
		status       int
		contentType  string
		file         string // of the body; empty if the server sends none
	}{
		{"GET", "/gossip", 200, jsonType, "gossip.json"},
		{"DELETE", "/gossip", 405, "", ""},
		{"PUT", "/gossip", 405, "", ""},
		{"GET", "/info", 200, jsonType, "info.json"},
		{"GET", "/ping", 200, jsonType, "ping.json"},
		{"GET", "/stats", 200, jsonType, "stats.json"},
		{"GET", "/stats/sys", 200, jsonType, "stats_sys.json"},
		{"GET", "/stats/tcp", 200, jsonType, "stats_tcp.json"},
		{"GET", "/admin/scavenge/current", 200, jsonType, "admin_scavenge_current.json"},
		{"POST", "/admin/node/priority/5", 200, "", ""},
		{"GET", "/streams/orders-1/0", 200, jsonType, "streams_orders-1_0.json"},
		{"GET", "/streams/orders-1?embed=body", 200, atomType, "streams_orders-1_embed_body.json"},
		{"GET", "/subscriptions", 200, jsonType, "subscriptions.json"},
		{"GET", "/subscriptions/orders-1", 200, jsonType, "subscriptions_orders-1.json"},
		{"GET", "/subscriptions/orders-1/billing/info", 200, jsonType, "subscriptions_orders-1_billing_info.json"},
		{"GET", "/subscriptions/orders-1/nosuch/info", 404, jsonType, ""},
		{
			"POST", "/subscriptions/orders-1/billing/replayParked", 200, jsonType,
			"POST_subscriptions_orders-1_billing_replayParked.json",
		},
		{
			"POST", "/subscriptions/orders-1/nosuch/replayParked", 404, jsonType,
			"POST_subscriptions_orders-1_nosuch_replayParked.json",
		},
		{"POST", "/subscriptions/restart", 200, jsonType, "POST_subscriptions_restart.json"},
		{"GET", "/users", 200, jsonType, "users.json"},
		{"GET", "/users/admin", 200, jsonType, "users_admin.json"},
		{"GET", "/users/nosuch", 404, jsonType, "users_nosuch.json"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			accept := "application/json"
			if tc.contentType == atomType {
				accept = "application/vnd.eventstore.atom+json"
			}
			res, body := requestFor(t, tc.method, s.HTTPURL()+tc.path, "", http.Header{"Accept": {accept}})
			assert.Equal(t, tc.status, res.StatusCode)
			assert.Equal(t, tc.contentType, res.Header.Get("Content-Type"))
			if tc.file == "" {
				assert.Empty(t, string(body))
				return
			}
			recorded, err := os.ReadFile(filepath.Join("testdata", "http-23.10", tc.file))
			require.NoError(t, err)
			compareShape(t, "", parseNumbers(t, recorded), parseNumbers(t, body))
		})
	}
}

// billing makes the data of the recorded server: a stream of twelve events with a group, whose consumer has settled
// four of them, parked one of these, and holds eight.
func billing(t testing.TB, s *estest.Server) {
	p := dial(t, s)
	p.ask(esproto.CmdIdentifyClient, nil, &esproto.IdentifyClient{
		Version: proto.Int32(1), ConnectionName: proto.String("billing-1"),
	}, &esproto.ClientIdentified{})
	events := make([]*esproto.NewEvent, 12)
	for i := range events {
		events[i] = newEvent("placed", fmt.Sprintf(`{"n":%d}`, i))
		events[i].DataContentType = proto.Int32(1)
	}
	p.mustAppend(admin, "orders-1", events...)
	p.group("orders-1", "billing", func(m *esproto.CreatePersistentSubscription) {
		m.CheckpointMaxCount, m.CheckpointMinCount = proto.Int32(1000), proto.Int32(10)
		m.CheckpointAfterTime = proto.Int32(2000)
	})
	sub := p.join("orders-1", "billing")
	ids := make([][]byte, 0, len(events))
	for range 10 {
		ids = append(ids, p.delivered(sub).GetEvent().GetEvent().GetEventId())
	}
	p.nak(sub, "orders-1", "billing", esproto.PersistentSubscriptionNakEvents_Park, ids[0])
	p.delivered(sub)
	p.ack(sub, "orders-1", "billing", ids[1:4]...)
	p.delivered(sub)
}

// requestFor makes a request of the administrator with headers.
func requestFor(t testing.TB, method, url, body string, header http.Header) (httpAnswer, []byte) {
	t.Helper()
	return requestAs(t, admin, method, url, body, header)
}

// requestAs is requestFor as another user, or without credentials. It follows no redirects.
func requestAs(
	t testing.TB, as *esproto.Credentials, method, url, body string, header http.Header,
) (httpAnswer, []byte) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return exchange(t, client, as, method, url, body, header)
}

// parseNumbers reads JSON and keeps numbers as they were written.
func parseNumbers(t testing.TB, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	require.NoError(t, d.Decode(&v), "%s", b)
	return v
}

// nullable are the members that are null at times.
var nullable = []string{"currentIdleTime", "currentItemProcessingTime"}

// stable are the members whose values are the same on all servers that were asked the same.
var stable = []string{
	"text", "result", "reason", "error", "success", "msgTypeId", "label", "mode", "status", "stateReason",
	"loginName", "fullName", "disabled", "rel", "eventStreamId", "groupName", "username", "connectionName",
	"availableSlots", "inFlightMessages", "totalInFlightMessages", "outstandingMessagesCount", "parkedMessageCount",
	"lastKnownEventNumber", "lastKnownEventPosition", "scavengeId", "scavengeLink", "title", "streamId", "relation",
	"eventNumber", "eventType", "state",
}

// compareShape reports members that only one of both has, and values of other types, or other values where those are
// stable, as are all of the config of a group, the name in an answer about one thing, and a body that is one value.
// Arrays must have as many elements, and each must be like that in the same place of the other array.
func compareShape(t testing.TB, path string, theirs, ours any) {
	t.Helper()
	if kindOf(theirs) != kindOf(ours) {
		last := path[strings.LastIndexByte(path, '.')+1:]
		if slices.Contains(nullable, last) && (theirs == nil || ours == nil) {
			return
		}
		t.Errorf("%s: a real server has %s, estest %s %.100v", path, kindOf(theirs), kindOf(ours), ours)
		return
	}
	switch theirs := theirs.(type) {
	default:
		last := path[strings.LastIndexByte(path, '.')+1:]
		if path == "" || path == ".name" || slices.Contains(stable, last) || strings.Contains(path, ".config.") {
			assert.Equal(t, theirs, ours, path)
		}
	case map[string]any:
		ours := ours.(map[string]any)
		assert.ElementsMatch(t, slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(ours)), "members of %s", path)
		for name, v := range theirs {
			if o, ok := ours[name]; ok {
				compareShape(t, path+"."+name, v, o)
			}
		}
	case []any:
		ours := ours.([]any)
		require.Len(t, ours, len(theirs), "elements of %s", path)
		for i := range theirs {
			compareShape(t, fmt.Sprintf("%s[%d]", path, i), theirs[i], ours[i])
		}
	}
}

// kindOf tells integers from numbers with a fraction: clients that read the one into an integer fail at the other.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case string:
		return "string"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "fraction"
		}
		return "integer"
	case []any:
		return "array"
	default:
		return "object"
	}
}
