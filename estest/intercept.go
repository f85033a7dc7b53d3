package estest

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// AnyOperation stands for every command of [Server.Intercept] by which a client reads, writes, subscribes or uses
// persistent subscriptions. Ping, UnsubscribeFromStream and the commands that concern the connection itself are not
// among them.
const AnyOperation esproto.Command = 0

// Request is a frame from a client, for [Choose].
type Request struct {
	Command esproto.Command
	ID      esproto.CorrelationID
	Login   string // of the credentials of the frame itself; empty without any
	Payload []byte // the encoded message, which the receiver may keep
}

// Action says how a server treats a frame that a [Rule] applies to. The zero Action serves the frame as usual.
type Action struct {
	act    func(c *conn, f *frame) error // an error ends the connection
	choose func(r Request) Action
}

// Reply answers with a message of the caller and does not execute the command.
func Reply(cmd esproto.Command, m proto.Message) Action {
	return Action{act: func(c *conn, f *frame) error {
		c.reply(cmd, f.id, proto.Clone(m)) // zeros may be taken out of it
		return nil
	}}
}

// ReplyBytes is [Reply] with a payload that need not be a message.
func ReplyBytes(cmd esproto.Command, payload []byte) Action {
	payload = bytes.Clone(payload)
	return Action{act: func(c *conn, f *frame) error {
		c.send(cmd, f.id, func(b []byte) []byte { return append(b, payload...) })
		return nil
	}}
}

// Drop ignores the frame, as if it was lost on its way.
func Drop() Action { return Action{act: func(*conn, *frame) error { return nil }} }

// Delay serves the frame after d. Later frames of the connection do not wait for it.
func Delay(d time.Duration) Action {
	return Action{act: func(c *conn, f *frame) error {
		late := *f
		late.payload = bytes.Clone(f.payload)
		c.srv.later(d, func() { c.serveLocked(&late) })
		return nil
	}}
}

// Disconnect cuts the connection.
func Disconnect() Action { return Action{act: func(*conn, *frame) error { return errCut }} }

// Unanswered executes the command, withholds the reply, and then takes another action: with [Drop] the reply is lost,
// with [Disconnect] the connection is lost, with [Reply] the client gets another reply. The write is done, but its
// client cannot know.
func Unanswered(then Action) Action {
	return Action{act: func(c *conn, f *frame) error {
		quiet := *f
		quiet.silent = true
		c.serveNow(&quiet)
		if then.act == nil {
			return nil
		}
		return then.act(c, f)
	}}
}

// NotReady answers NotHandled, as a node does while it starts or knows no leader. Such a node ignores acks and naks, so
// they get no answer. The same holds for [TooBusy] and [NotLeader].
func NotReady() Action { return notHandled(esproto.NotHandled_NotReady, nil) }

// TooBusy answers NotHandled with the reason TooBusy. Servers define it but do not send it; clients retry.
func TooBusy() Action { return notHandled(esproto.NotHandled_TooBusy, nil) }

// NotLeader answers NotHandled, as a follower does, with the address of the leader; see [Server.LeaderInfo]. From 20.6
// on servers give either the plain or the secure address, or neither.
func NotLeader(leader LeaderInfo) Action { return notHandled(esproto.NotHandled_NotLeader, &leader) }

func notHandled(reason esproto.NotHandled_NotHandledReason, leader *LeaderInfo) Action {
	return Action{act: func(c *conn, f *frame) error {
		if cmd := commands[f.cmd]; cmd != nil && cmd.node == leaderSilently {
			return nil
		}
		m := &esproto.NotHandled{Reason: reason.Enum()}
		if leader != nil {
			m.AdditionalInfo = c.core.persona.marshal(nil, leader.wire())
		}
		c.reply(esproto.CmdNotHandled, f.id, m)
		return nil
	}}
}

// BadRequest answers that the frame makes no sense.
func BadRequest(text string) Action { return ReplyBytes(esproto.CmdBadRequest, []byte(text)) }

// NotAuthenticated answers that the credentials are wrong.
func NotAuthenticated() Action {
	return ReplyBytes(esproto.CmdNotAuthenticated, []byte("Not Authenticated"))
}

// AccessDenied answers as if the user had no rights at all, each command in its way; acks and naks are served.
func AccessDenied() Action {
	return Action{act: func(c *conn, f *frame) error {
		f.denied = true
		if c.srv.lockAwake(c.ended) {
			defer c.core.mu.Unlock()
			c.dispatch(f)
		}
		return nil
	}}
}

// Choose calls choose for each frame and takes the action that it returns. If that is the zero Action, the next rule
// decides, and the frame does not count. Goroutines of several connections may call choose at the same time.
func Choose(choose func(r Request) Action) Action { return Action{choose: choose} }

// Rule is the result of [Server.Intercept]. Its methods are safe for concurrent use.
type Rule struct {
	srv    *Server
	cmd    esproto.Command
	action Action

	mu    sync.Mutex
	times int // left; negative for any number
	until time.Time
	hits  int
	gone  bool
}

// RuleOption limits a Rule.
type RuleOption func(*Rule)

// Times limits a rule to n frames. Without it a rule applies until [Rule.Remove].
func Times(n int) RuleOption { return func(r *Rule) { r.times = max(n, 0) } }

// For limits a rule to the time d, by the clock of the server.
func For(d time.Duration) RuleOption {
	return func(r *Rule) { r.until = r.srv.core.now().Add(d) }
}

// Intercept makes the server take an action in place of serving frames of a command, or of [AnyOperation]. If several
// rules apply to a frame, only the oldest one does. Rules stay over lost connections and [Server.Restart].
func (s *Server) Intercept(cmd esproto.Command, action Action, options ...RuleOption) *Rule {
	r := &Rule{srv: s, cmd: cmd, action: action, times: -1}
	for _, o := range options {
		o(r)
	}
	s.changeRules(func(rules []*Rule) []*Rule { return append(rules, r) })
	return r
}

// Remove ends the rule. It may still apply to a frame that the server is just processing.
func (r *Rule) Remove() {
	r.mu.Lock()
	r.gone = true
	r.mu.Unlock()
	r.srv.changeRules(func(rules []*Rule) []*Rule {
		return slices.DeleteFunc(rules, func(o *Rule) bool { return o == r })
	})
}

// Hits returns the number of frames to which the rule has applied.
func (r *Rule) Hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// take applies the rule to one more frame, if it may be.
func (r *Rule) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || r.times == 0 || !r.until.IsZero() && !r.srv.core.now().Before(r.until) {
		return false
	}
	if r.times > 0 {
		r.times--
	}
	r.hits++
	return true
}

func (r *Rule) isAbout(cmd esproto.Command) bool {
	if r.cmd != AnyOperation {
		return r.cmd == cmd
	}
	known := commands[cmd]
	return known != nil && known.stage == operation && !known.noOperation
}

// changeRules replaces the list of rules, which connections read without a lock.
func (s *Server) changeRules(change func(rules []*Rule) []*Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rules []*Rule
	if old := s.rules.Load(); old != nil {
		rules = slices.Clone(*old)
	}
	if rules = change(rules); len(rules) == 0 {
		s.rules.Store(nil)
		return
	}
	s.rules.Store(&rules)
}

// intercepted returns the action for a frame; nil if the server serves it as usual.
func (s *Server) intercepted(f *frame) (act func(c *conn, f *frame) error) {
	rules := s.rules.Load()
	if rules == nil {
		return nil
	}
	for _, r := range *rules {
		if !r.isAbout(f.cmd) {
			continue
		}
		action := r.action
		if action.choose != nil {
			action = action.choose(f.request())
		}
		if action.act != nil && r.take() {
			return action.act
		}
	}
	return nil
}

func (f *frame) request() Request {
	r := Request{Command: f.cmd, ID: f.id, Payload: bytes.Clone(f.payload)}
	if f.creds != nil {
		r.Login = f.creds.Login
	}
	return r
}

// serveNow serves a frame, unless its connection has ended, and at once sends replies that otherwise wait for the
// goroutine that reads the connection.
func (c *conn) serveNow(f *frame) {
	if c.srv.lockAwake(c.ended) {
		defer c.core.mu.Unlock()
		c.serveLocked(f)
	}
}

// serveLocked is serveNow for callers that hold core.mu.
func (c *conn) serveLocked(f *frame) {
	if _, open := c.core.conns[c]; open {
		defer c.hush(f)()
		c.dispatch(f)
		c.settlePending(c.pending.Swap(nil))
	}
}

// hush has nothing sent for a frame that is silent, until its result is called.
func (c *conn) hush(f *frame) (end func()) {
	if !f.silent {
		return func() {}
	}
	c.silence(f.id, true)
	return func() { c.silence(f.id, false) }
}

// silence has nothing sent under a correlation id, or no more so.
func (c *conn) silence(id esproto.CorrelationID, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silenced, c.silencedID = on, id
}
