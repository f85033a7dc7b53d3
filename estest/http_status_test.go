package estest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// wrong are credentials of no user.
var wrong = &esproto.Credentials{Login: "admin", Password: "wrong"}

// TestHTTPStatusCodes makes requests in their order on one server.
func TestHTTPStatusCodes(t *testing.T) {
	const group, body = "/subscriptions/http-st/g", `{"resolveLinktos":true,"bufferSize":30}`
	requests := []struct {
		method, path string
		as           *esproto.Credentials
		body         string
		want         map[estest.Persona]int // by persona; the others have that of 5.0.11
	}{
		{"GET", "/ping", nil, "", all(200)},
		{"GET", "/info", nil, "", all(200)},
		{"GET", "/gossip", nil, "", all(200)},
		{"GET", "/health/live", nil, "", all(204)},

		{"GET", "/subscriptions", nil, "", all(401)},
		{"GET", "/subscriptions", wrong, "", all(401)},
		{"GET", "/subscriptions", ops, "", all(200)},
		{"GET", "/subscriptions/http-st", ops, "", all(404)},
		{"GET", group + "/info", ops, "", all(404)},
		{"PUT", group, nil, body, all(401)},
		{"PUT", group, ops, body, byPersona(201, 401, 201)}, // up to 4.1 it takes the right to write to $settings
		{"PUT", "/subscriptions/http-st/h", admin, body, all(201)},
		{"PUT", "/subscriptions/http-st/h", admin, body, all(409)},
		// all its settings are then the defaults
		{"PUT", "/subscriptions/http-st/i", admin, "this is no JSON", all(201)},
		{"PUT", "/subscriptions/http-st/j", admin, `{"bufferSize":0}`, all(400)},
		{"PUT", "/subscriptions/http-st/j", admin, `{"liveBufferSize":-1}`, all(400)},
		{"PUT", "/subscriptions/http-st/j", admin, `{"readBatchSize":0}`, all(400)},
		{"PUT", "/subscriptions/http-st/j", admin, `{"readBatchSize":20,"bufferSize":20}`, all(400)},
		{"PUT", "/subscriptions/http-st/j", admin, `{"namedConsumerStrategy":"Best"}`, byPersona(500, 500, 400)},
		{"POST", "/subscriptions/http-st/h", admin, `{"startFrom":3}`, all(200)},
		{"POST", "/subscriptions/http-st/none", admin, body, all(404)},
		{"GET", "/subscriptions/http-st", ops, "", all(200)},
		{"GET", "/subscriptions/http-st/h/info", ops, "", all(200)},
		{"POST", "/subscriptions/http-st/h/replayParked", nil, "", all(401)},
		{"POST", "/subscriptions/http-st/h/replayParked", admin, "", all(200)},
		{"POST", "/subscriptions/http-st/none/replayParked", admin, "", all(404)},
		{"POST", "/subscriptions/http-st/h/replayParked?stopAt=-1", admin, "", byPersona(200, 200, 400)},
		{"POST", "/subscriptions/restart", admin, "", byPersona(405, 405, 200)},
		{"DELETE", "/subscriptions/http-st/h", nil, "", all(401)},
		{"DELETE", "/subscriptions/http-st/h", admin, "", all(200)},
		{"DELETE", "/subscriptions/http-st/h", admin, "", all(404)},

		{"POST", "/users", nil, `{"loginName":"ann","password":"p"}`, all(401)},
		{"POST", "/users", ops, `{"loginName":"ann","password":"p"}`, all(401)},
		{"POST", "/users", admin, `{"loginName":"ann","password":"p","fullName":"Ann","groups":["g"]}`, all(201)},
		{"POST", "/users/", admin, `{"loginName":"ann","password":"p"}`, all(201)}, // the same request once more
		{"POST", "/users/", admin, `{"loginName":"ann","password":"other"}`, all(409)},
		{"GET", "/users", ops, "", all(401)},
		{"GET", "/users", admin, "", all(200)},
		{"GET", "/users/ann", admin, "", all(200)},
		{"GET", "/users/bob", admin, "", all(404)},
		{"GET", "/users/$current", nil, "", all(401)},
		{"GET", "/users/$current", &esproto.Credentials{Login: "ann", Password: "p"}, "", all(200)},
		{"PUT", "/users/ann", admin, `{"fullName":"Ann B","groups":["$ops"]}`, all(200)},
		{"PUT", "/users/bob", admin, `{}`, all(404)},
		{"POST", "/users/ann/command/change-password", &esproto.Credentials{Login: "ann", Password: "p"},
			`{"currentPassword":"wrong","newPassword":"q"}`, all(401)},
		{"POST", "/users/ann/command/change-password", &esproto.Credentials{Login: "ann", Password: "p"},
			`{"currentPassword":"p","newPassword":"q"}`, all(200)},
		{"GET", "/users/$current", &esproto.Credentials{Login: "ann", Password: "p"}, "", all(401)},
		{"POST", "/users/ann/command/reset-password", admin, `{"newPassword":"r"}`, all(200)},
		{"POST", "/users/ann/command/disable", admin, "", all(200)},
		{"GET", "/users/$current", &esproto.Credentials{Login: "ann", Password: "r"}, "", all(401)},
		{"POST", "/users/ann/command/enable", admin, "", all(200)},
		{"GET", "/users/$current", &esproto.Credentials{Login: "ann", Password: "r"}, "", all(200)},
		{"DELETE", "/users/ann", admin, "", all(200)},
		{"DELETE", "/users/ann", admin, "", all(404)},
		{"POST", "/users", admin, `{"loginName":"ann","password":"again"}`, all(201)},
		{"POST", "/users/ann/command/enable", admin, "", all(200)},
	}
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona414, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			s := estest.Run(t, estest.WithPersona(persona))
			for _, r := range requests {
				res, answer := requestBody(t, r.method, s.HTTPURL()+r.path, r.as, r.body)
				assert.Equal(t, r.want[persona], res.StatusCode,
					"%s %s as %v %s: %s", r.method, r.path, r.as, r.body, answer)
			}
		})
	}
}

func all[T any](v T) map[estest.Persona]T { return byPersona(v, v, v) }

func byPersona[T any](v5, v4, v23 T) map[estest.Persona]T {
	return map[estest.Persona]T{estest.Persona5011: v5, estest.Persona414: v4, estest.Persona2310: v23}
}

// joinWith is join for another number of events in flight than 10.
func (p *peer) joinWith(stream, group string, inFlight int32) esproto.CorrelationID {
	p.t.Helper()
	return p.joinAs(admin, stream, group, inFlight)
}

// joinAs is joinWith for another user than the administrator.
func (p *peer) joinAs(as *esproto.Credentials, stream, group string, inFlight int32) esproto.CorrelationID {
	p.t.Helper()
	id := p.send(esproto.CmdConnectToPersistentSubscription, as, &esproto.ConnectToPersistentSubscription{
		SubscriptionId: &group, EventStreamId: &stream, AllowedInFlightMessages: &inFlight,
	})
	require.Equal(p.t, esproto.CmdPersistentSubscriptionConfirmation, p.answer(id).cmd)
	return id
}
