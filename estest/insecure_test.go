package estest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// Every client is an administrator, so the page is open to all.
func TestThePageOfAnInsecureServer(t *testing.T) {
	s := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithInsecure())
	for _, host := range []string{"localhost", "elsewhere.example"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTPURL()+"/estest/state", http.NoBody)
		require.NoError(t, err)
		req.Close, req.Host = true, host
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, http.StatusOK, res.StatusCode, host)
	}
}

func TestAnInsecureServerRefusesNoUser(t *testing.T) {
	s := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithInsecure())
	unknown := &esproto.Credentials{Login: "unknown", Password: "anything"}
	for _, as := range []*esproto.Credentials{admin, wrong, unknown, nil} {
		p := connect(t, s)
		p.mustAppend(as, "$protected", newEvent("t", "{}"))
		assert.Equal(t, esproto.ReadStreamEventsCompleted_Success, p.read(as, "$protected", 0, 1, false).GetResult())
		var all esproto.ReadAllEventsCompleted
		p.ask(esproto.CmdReadAllEventsForward, as, &esproto.ReadAllEvents{
			CommitPosition: proto.Int64(0), PreparePosition: proto.Int64(0), MaxCount: proto.Int32(10),
			ResolveLinkTos: proto.Bool(false), RequireLeader: proto.Bool(false),
		}, &all)
		assert.Equal(t, esproto.ReadAllEventsCompleted_Success, all.GetResult())
		stream, group := "orders", "g"
		var deleted esproto.DeletePersistentSubscriptionCompleted
		p.createGroup(stream, group)
		p.ask(esproto.CmdDeletePersistentSubscription, as, &esproto.DeletePersistentSubscription{
			SubscriptionGroupName: &group, EventStreamId: &stream,
		}, &deleted)
		assert.Equal(t, esproto.DeletePersistentSubscriptionCompleted_Success, deleted.GetResult())

		id := p.send(esproto.CmdAuthenticate, as, nil)
		if as == nil {
			r := p.answer(id)
			assert.Equal(t, esproto.CmdNotAuthenticated, r.cmd)
			assert.Equal(t, "No user credentials provided.", string(r.payload))
		} else {
			assert.Equal(t, esproto.CmdAuthenticated, p.answer(id).cmd)
		}
		p.mustAppend(nil, "$protected", newEvent("t", "{}"))

		url := s.HTTPURL()
		assert.Equal(t, http.StatusCreated, request(t, "PUT", url+"/subscriptions/http/g", as, `{}`).StatusCode)
		assert.Equal(t, http.StatusOK, request(t, "GET", url+"/subscriptions/http/g/info", as, "").StatusCode)
		assert.Equal(t, http.StatusOK, request(t, "GET", url+"/stats", as, "").StatusCode)
		assert.Equal(t, http.StatusOK, request(t, "POST", url+"/admin/scavenge", as, "").StatusCode)
		res, _ := requestAs(t, as, "POST", url+"/streams/$protected", eventsBody("t", "{}"),
			http.Header{"Content-Type": {eventsType}})
		assert.Equal(t, http.StatusCreated, res.StatusCode)
		assert.Equal(t, http.StatusOK, request(t, "DELETE", url+"/subscriptions/http/g", as, "").StatusCode)
		for _, path := range []string{"/users", "/users/", "/users/admin", "/users/$current"} {
			assert.Equal(t, http.StatusNotFound, request(t, "GET", url+path, as, "").StatusCode, path)
		}
	}
}

func TestAnInsecureServerDescribesItself(t *testing.T) {
	s := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithInsecure())
	var info struct {
		Features       map[string]bool
		Authentication map[string]json.RawMessage
	}
	getJSON(t, s.HTTPURL()+"/info", &info)
	assert.False(t, info.Features["userManagement"])
	assert.JSONEq(t, `"insecure"`, string(info.Authentication["type"]))
	for _, info := range s.Streams() {
		assert.NotContains(t, info.Name, "$user", "it has no users, so no streams of users")
	}

	p := connect(t, s)
	p.createGroup("s", "g")
	names := func() (names []string) {
		var group struct{ Connections []struct{ Username string } }
		getJSON(t, s.HTTPURL()+"/subscriptions/s/g/info", &group)
		for _, c := range group.Connections {
			names = append(names, c.Username)
		}
		return names
	}
	p.join("s", "g")
	assert.Equal(t, []string{"system"}, names())
	connect(t, s).joinAs(nil, "s", "g", 10)
	assert.Equal(t, []string{"system", "anonymous"}, names())
}

func TestAnInsecureServerRefusesOtherOptions(t *testing.T) {
	insecure := estest.WithInsecure()
	for what, opts := range map[string][]estest.Option{
		"20.6":  {insecure},
		"4.1.4": {insecure, estest.WithPersona(estest.Persona414)},
		"TLS":   {insecure, estest.WithPersona(estest.Persona2310), estest.WithTLS()},
		"users": {insecure, estest.WithPersona(estest.Persona2310), estest.WithUser("ann", "secret")},
	} {
		_, err := estest.Start(opts...)
		require.ErrorContains(t, err, what)
		_, err = estest.StartCluster(3, opts...)
		require.ErrorContains(t, err, what)
	}
}

func TestAnInsecureServerStartsAtOnceWithoutUsers(t *testing.T) {
	clock := estest.NewClock(time.Time{})
	s := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithInsecure(), estest.WithClock(clock),
		estest.WithStartUp(0, patience))
	connectAs(t, s, wrong)
}
