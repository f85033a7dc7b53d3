package estest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// Rules from the suites of other clients that the recordings do not show. Each test names the suites.

// conforming are the users of the requests, by a letter each: without credentials, user1, user2, an administrator.
var conforming = map[string]*esproto.Credentials{
	"n": nil, "1": {Login: "user1", Password: "pa$$1"}, "2": {Login: "user2", Password: "pa$$2"}, "a": admin,
}

// runConforming starts a server like these suites: with two users without groups.
func runConforming(t *testing.T, persona estest.Persona) *peer {
	t.Helper()
	return connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess(),
		estest.WithUser("user1", "pa$$1"), estest.WithUser("user2", "pa$$2")))
}

// asked are the requests that need rights, by the names in the cases. Each reports whether the server refused it.
var asked = map[string]func(p *peer, as *esproto.Credentials, stream string) bool{
	"read event": func(p *peer, as *esproto.Credentials, stream string) bool { return p.eventRefused(as, stream) },
	"read": func(p *peer, as *esproto.Credentials, stream string) bool {
		return p.read(as, stream, 0, 10, false).GetResult() == esproto.ReadStreamEventsCompleted_AccessDenied
	},
	"read back": func(p *peer, as *esproto.Credentials, stream string) bool {
		r := p.readPage(esproto.CmdReadStreamEventsBackward, as, stream, -1, 10, false)
		return r.GetResult() == esproto.ReadStreamEventsCompleted_AccessDenied
	},
	"read meta": func(p *peer, as *esproto.Credentials, stream string) bool { return p.eventRefused(as, "$$"+stream) },
	"subscribe": func(p *peer, as *esproto.Credentials, stream string) bool {
		id := p.send(esproto.CmdSubscribeToStream, as,
			&esproto.SubscribeToStream{EventStreamId: allAsEmpty(stream), ResolveLinkTos: proto.Bool(false)})
		r := p.answer(id)
		if r.cmd == esproto.CmdSubscriptionConfirmation {
			p.write(frameOf(p.t, esproto.CmdUnsubscribeFromStream, id, nil, &esproto.UnsubscribeFromStream{}))
			require.Equal(p.t, esproto.CmdSubscriptionDropped, p.answer(id).cmd)
			return false
		}
		var dropped esproto.SubscriptionDropped
		r.into(p.t, &dropped)
		require.Equal(p.t, esproto.SubscriptionDropped_AccessDenied, dropped.GetReason())
		return true
	},
	"write": func(p *peer, as *esproto.Credentials, stream string) bool {
		return p.append(as, stream, esproto.ExpectAny).GetResult() == esproto.OperationResult_AccessDenied
	},
	"begin": func(p *peer, as *esproto.Credentials, stream string) bool {
		return p.begin(as, stream, esproto.ExpectAny).GetResult() == esproto.OperationResult_AccessDenied
	},
	"commit": func(p *peer, as *esproto.Credentials, stream string) bool {
		tx := p.begin(admin, stream, esproto.ExpectAny)
		require.Equal(p.t, esproto.OperationResult_Success, tx.GetResult())
		return p.commitAs(as, tx.GetTransactionId()).GetResult() == esproto.OperationResult_AccessDenied
	},
	"write meta": func(p *peer, as *esproto.Credentials, stream string) bool {
		r := p.append(as, "$$"+stream, esproto.ExpectAny)
		return r.GetResult() == esproto.OperationResult_AccessDenied
	},
	"delete": func(p *peer, as *esproto.Credentials, stream string) bool {
		var r esproto.DeleteStreamCompleted // with a version that none has, so that the stream stays
		p.ask(esproto.CmdDeleteStream, as, &esproto.DeleteStream{EventStreamId: &stream,
			ExpectedVersion: proto.Int64(1 << 40), RequireLeader: proto.Bool(false)}, &r)
		return r.GetResult() == esproto.OperationResult_AccessDenied
	},
}

// allAsEmpty is the name of a stream as subscriptions have it: $all has none there.
func allAsEmpty(stream string) *string {
	if stream == "$all" {
		stream = ""
	}
	return &stream
}

func (p *peer) eventRefused(as *esproto.Credentials, stream string) bool {
	p.t.Helper()
	var r esproto.ReadEventCompleted
	p.ask(esproto.CmdReadEvent, as, &esproto.ReadEvent{EventStreamId: &stream, EventNumber: proto.Int64(-1),
		ResolveLinkTos: proto.Bool(false), RequireLeader: proto.Bool(false)}, &r)
	return r.GetResult() == esproto.ReadEventCompleted_AccessDenied
}

func (p *peer) begin(as *esproto.Credentials, stream string, expected int64) *esproto.TransactionStartCompleted {
	p.t.Helper()
	var r esproto.TransactionStartCompleted
	p.ask(esproto.CmdTransactionStart, as, &esproto.TransactionStart{
		EventStreamId: &stream, ExpectedVersion: &expected, RequireLeader: proto.Bool(false)}, &r)
	return &r
}

func (p *peer) commitAs(as *esproto.Credentials, id int64) *esproto.TransactionCommitCompleted {
	p.t.Helper()
	var r esproto.TransactionCommitCompleted
	p.ask(esproto.CmdTransactionCommit, as,
		&esproto.TransactionCommit{TransactionId: &id, RequireLeader: proto.Bool(false)}, &r)
	return &r
}

// mays lists the rights: "may" for all requests without an entry, then "request, request: users".
type mays struct {
	stream, metadata string
	who              string
	but              map[string]string // by the names of requests, separated by commas
}

func (m mays) of(request string) string {
	for names, who := range m.but {
		for name := range strings.SplitSeq(names, ",") {
			if name == request {
				return who
			}
		}
	}
	return m.who
}

const (
	everybody = "n12a"
	reading   = "read event,read,read back,subscribe"
	writing   = "write,begin,commit"
	everyKind = `"$r":W,"$w":W,"$d":W,"$mr":W,"$mw":W`
)

// acl returns metadata with the given rights, in which W stands for who.
func acl(rights, who string) string { return `{"$acl":{` + strings.ReplaceAll(rights, "W", who) + `}}` }

// TestRightsOfUsers plays ClientAPI/Security of the servers' own tests, which the legacy .NET client 22.0 has as well:
// all_stream_with_no_acl_security, delete_, read_all_, read_stream_, read_stream_meta_, subscribe_to_all_,
// subscribe_to_stream_, system_stream_, transactional_write_stream_, write_stream_ and write_stream_meta_security.
func TestRightsOfUsers(t *testing.T) {
	checkRights(t, "", []mays{
		{stream: "no-acl", metadata: `{}`, who: everybody},
		{stream: "r", metadata: acl(`"$r":W`, `"user1"`), who: everybody, but: map[string]string{reading: "1a"}},
		{stream: "w", metadata: acl(`"$w":W`, `"user1"`), who: everybody, but: map[string]string{writing: "1a"}},
		{stream: "mr", metadata: acl(`"$mr":W`, `"user1"`), who: everybody, but: map[string]string{"read meta": "1a"}},
		{stream: "mw", metadata: acl(`"$mw":W`, `"user1"`), who: everybody, but: map[string]string{"write meta": "1a"}},
		{stream: "d", metadata: acl(`"$d":W`, `"user1"`), who: everybody, but: map[string]string{"delete": "1a"}},
		{stream: "all", metadata: acl(everyKind, `"$all"`), who: everybody},
		{stream: "admins", metadata: acl(everyKind, `"$admins"`), who: "a"},
		{stream: "list", metadata: acl(everyKind, `["user2","$admins"]`), who: "2a"},
		{stream: "empty", metadata: acl(everyKind, `[]`), who: "a"},
		{stream: "$no-acl", metadata: `{}`, who: "a"},
		{stream: "$user", metadata: acl(everyKind, `"user1"`), who: "1a"},
		{stream: "$admins", metadata: acl(everyKind, `"$admins"`), who: "a"},
		{stream: "$every", metadata: acl(everyKind, `"$all"`), who: everybody},
		{stream: "$all", metadata: `{}`, who: "a", but: map[string]string{"write,begin,commit,delete": ""}},
	})
	checkRights(t, "", []mays{
		{stream: "$all", metadata: acl(`"$r":W`, `"user1"`), who: "a",
			but: map[string]string{reading: "1a", "write,begin,commit,delete": ""}},
	})
}

// TestSettingsNameTheRights plays multiple_role_security, overriden_system_stream_security and that for all,
// overriden_user_stream_security and stream_security_inheritance.
func TestSettingsNameTheRights(t *testing.T) {
	checkRights(t, `{"$userStreamAcl":{"$r":["user1","user2"],"$w":["$admins","user1"],"$d":["user1","$all"]}}`, []mays{
		{stream: "s", who: everybody, but: map[string]string{reading: "12a", writing: "1a"}},
	})
	rights := func(who string) string { return strings.ReplaceAll(`{`+everyKind+`}`, "W", who) }
	checkRights(t, `{"$systemStreamAcl":`+rights(`"user1"`)+`}`, []mays{
		{stream: "$s", who: "1a"}, {stream: "s", who: everybody},
	})
	checkRights(t, `{"$systemStreamAcl":`+rights(`"$all"`)+`}`, []mays{{stream: "$s", who: everybody}})
	checkRights(t, `{"$userStreamAcl":`+rights(`"user1"`)+`}`, []mays{
		{stream: "s", who: "1a"}, {stream: "$s", who: "a"},
	})
	var inherited []mays
	for _, kind := range []struct{ prefix, who string }{{"", everybody}, {"$", "a"}} {
		for name, m := range map[string]mays{
			"no-acl":     {metadata: `{}`, but: map[string]string{writing: "1a"}},
			"diff":       {metadata: acl(`"$w":W`, `"user2"`), but: map[string]string{writing: "2a"}},
			"multiple":   {metadata: acl(`"$w":W`, `["user1","user2"]`), but: map[string]string{writing: "12a"}},
			"restricted": {metadata: acl(`"$w":W`, `[]`), but: map[string]string{writing: "a"}},
			"every":      {metadata: acl(`"$w":W`, `"$all"`), but: map[string]string{writing: everybody}},
			"r":          {metadata: acl(`"$r":W`, `"user1"`), but: map[string]string{reading: "1a", writing: "1a"}},
		} {
			m.stream, m.who = kind.prefix+name, kind.who
			inherited = append(inherited, m)
		}
	}
	checkRights(t, `{"$userStreamAcl":{"$w":"user1"},"$systemStreamAcl":{"$w":"user1"}}`, inherited)
}

// checkRights sends every request for every stream as every user, with the settings, if there are any.
func checkRights(t *testing.T, settings string, streams []mays) {
	t.Helper()
	for _, persona := range personas {
		p := runConforming(t, persona)
		if settings != "" {
			p.mustAppend(admin, "$settings", newEvent("update", settings))
		}
		for _, m := range streams {
			if m.metadata != "" {
				p.mustAppend(admin, "$$"+m.stream, metadata(m.metadata))
			}
			for request, refused := range asked {
				if m.stream == "$all" && request == "commit" {
					continue // this user may not begin one
				}
				for letter, as := range conforming {
					assert.Equal(t, !strings.Contains(m.of(request), letter), refused(p, as, m.stream),
						"%s: is %q refused to %q on %s with %s and settings %s",
						persona, request, letter, m.stream, m.metadata, settings)
				}
			}
		}
	}
}

// TestWrongCredentialsAreNoOnesRights plays ..._with_not_existing_credentials_is_not_authenticated of the same.
func TestWrongCredentialsAreNoOnesRights(t *testing.T) {
	for _, persona := range personas {
		p := runConforming(t, persona)
		for _, as := range []*esproto.Credentials{
			{Login: "badlogin", Password: "badpass"}, {Login: "user1", Password: "badpass"},
		} {
			stream := "s"
			for cmd, m := range map[esproto.Command]proto.Message{
				esproto.CmdReadStreamEventsForward: &esproto.ReadStreamEvents{EventStreamId: &stream,
					FromEventNumber: proto.Int64(0), MaxCount: proto.Int32(1), ResolveLinkTos: proto.Bool(false),
					RequireLeader: proto.Bool(false)},
				esproto.CmdWriteEvents: &esproto.WriteEvents{EventStreamId: &stream,
					ExpectedVersion: proto.Int64(esproto.ExpectAny), RequireLeader: proto.Bool(false)},
				esproto.CmdTransactionStart: &esproto.TransactionStart{EventStreamId: &stream,
					ExpectedVersion: proto.Int64(esproto.ExpectAny), RequireLeader: proto.Bool(false)},
				esproto.CmdTransactionCommit: &esproto.TransactionCommit{
					TransactionId: proto.Int64(1), RequireLeader: proto.Bool(false)},
				esproto.CmdSubscribeToStream: &esproto.SubscribeToStream{
					EventStreamId: &stream, ResolveLinkTos: proto.Bool(false)},
			} {
				assert.Equal(t, esproto.CmdNotAuthenticated, p.answer(p.send(cmd, as, m)).cmd, "%s: %v", persona, cmd)
			}
		}
	}
}
