package esclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// failure is a kind of error or reply that the client handles in its own way.
type failure int

const (
	failAnswered       failure = iota // the server's answer, and any other error
	failServer                        // ErrServer
	failContext                       // the context of the call, while it waited for the reply
	failClosed                        // ErrClosed
	failNotEventStore                 // ErrNotEventStore
	failNotLeader                     // NotHandled NotLeader
	failReadOnlyNode                  // NotHandled IsReadOnly
	failNotReady                      // NotHandled NotReady
	failTooBusy                       // NotHandled TooBusy
	failStarting                      // NotAuthenticated by a server that is not ready
	failRefused                       // NotAuthenticated
	failServerTimeout                 // PrepareTimeout, CommitTimeout
	failForwardTimeout                // ForwardTimeout
	failUnreadable                    // an UnexpectedReplyError
	failTooLarge                      // a FrameTooLargeError
	failCutOff                        // the server ended the connection because it had too much to send
	failLost                          // a ConnectionError or a NotConnectedError
	failNoReply                       // ErrOperationTimeout
	failDropped                       // SubscriptionDropped, without a fault of the subscriber
	failNoPlace                       // ErrMaxSubscribers
	failNoGroup                       // ErrGroupNotFound
)

// policy is how the client reacts to a failure.
type policy struct {
	call    repeatPolicy
	free    bool // the attempt does not count against Config.MaxRetries: the server says that it has done nothing
	reply   replyPolicy
	outcome outcomePolicy
	ids     idPolicy
	conn    connPolicy
	resume  resumePolicy
	safe    bool // the result of SafeToRetry, unless the outcome is unknown
}

type (
	repeatPolicy  int // whether the call is repeated, if its effect allows that
	replyPolicy   int // whether an operation that can asks for a smaller reply when it is repeated
	outcomePolicy int // whether a change may have taken place
	idPolicy      int // whether the server still has the event ids of earlier attempts
	connPolicy    int // whether the client leaves the connection
	resumePolicy  int // whether a confirmed subscription goes on
)

const (
	callFails       repeatPolicy = iota
	callRepeats                  // at once
	callRepeatsLate              // after a pause
	callAsksForLess              // at once, if the operation can ask for a smaller reply
)

const (
	replyFits     replyPolicy = iota
	replyMayBeBig             // the reply may have been too large to arrive in time
	replyTooLarge             // a repetition with a smaller page does not count against Config.MaxRetries
)

const (
	outcomeKnown  outcomePolicy = iota // the change did not take place, or the reply says
	unknownIfSent                      // unknown if the request was sent
	outcomeUnknown
)

const (
	idsKept          idPolicy = iota
	idsLost                   // another process may answer from now on, or has led meanwhile
	idsLostInCluster          // the same, if there are other nodes and the request was sent
)

const (
	connStays    connPolicy = iota // or it has ended by itself, and the client reconnects
	connLeft                       // for the leader
	connLeftLate                   // for another node, after notReadyLimit of these
)

const (
	subEnds     resumePolicy = iota
	subResumes               // without limit
	subRereads               // a read follows; if it fails in the same way, the subscription ends
	subWaits                 // goes on for Config.AuthRetryTimeout
	subIfServed              // resumes if the server has served the subscription before
	subLooks                 // looks for the group; see missingFor
)

// policies has the policy for each failure: whether a call is repeated, whether its outcome is unknown, whether the
// client leaves the connection, and whether a subscription resumes. A missing field is false or its first constant: the
// call fails, the outcome is known, the connection stays and the subscription ends.
//
// An operation that only reads has no outcome. Config.MaxRetries bounds repetitions, unless they are free, and the
// context bounds all. See mayRepeat for the effect of an operation.
var policies = [...]policy{
	failAnswered:      {},
	failServer:        {resume: subIfServed},
	failContext:       {outcome: unknownIfSent},
	failClosed:        {outcome: unknownIfSent},
	failNotEventStore: {},
	failNotLeader:     {call: callRepeats, ids: idsLost, conn: connLeft, resume: subResumes, safe: true},
	failReadOnlyNode:  {},
	failNotReady: {
		call: callRepeatsLate, free: true, ids: idsLost, conn: connLeftLate, resume: subResumes, safe: true,
	},
	failTooBusy:        {call: callRepeatsLate, free: true, resume: subResumes, safe: true},
	failStarting:       {call: callRepeatsLate, free: true, resume: subWaits, safe: true},
	failRefused:        {resume: subWaits},
	failServerTimeout:  {call: callRepeatsLate, outcome: outcomeUnknown, resume: subResumes, safe: true},
	failForwardTimeout: {call: callRepeatsLate, outcome: outcomeUnknown, ids: idsLost, resume: subResumes, safe: true},
	failUnreadable:     {outcome: outcomeUnknown},
	failTooLarge:       {call: callAsksForLess, reply: replyTooLarge, outcome: outcomeUnknown, resume: subRereads},
	failCutOff: {
		call: callRepeats, reply: replyTooLarge, outcome: unknownIfSent, ids: idsLostInCluster,
		resume: subResumes, safe: true,
	},
	failLost: {
		call: callRepeats, outcome: unknownIfSent, ids: idsLostInCluster, resume: subResumes, safe: true,
	},
	failNoReply: {
		call: callRepeats, reply: replyMayBeBig, outcome: unknownIfSent, ids: idsLostInCluster,
		resume: subResumes, safe: true,
	},
	failDropped: {call: callRepeatsLate, resume: subResumes},
	failNoPlace: {resume: subResumes},
	failNoGroup: {resume: subLooks},
}

// failureOf returns the kind of an error. The first match counts.
func failureOf(err error) failure {
	var (
		notHandled *NotHandledError
		auth       *NotAuthenticatedError
		timeout    *serverTimeoutError
		reply      *UnexpectedReplyError
		large      *FrameTooLargeError
		conn       *ConnectionError
		none       *NotConnectedError
		drop       *SubscriptionDroppedError
	)
	switch {
	case errors.Is(err, ErrClosed):
		return failClosed
	case errors.Is(err, ErrNotEventStore):
		return failNotEventStore
	case errors.As(err, &notHandled):
		return notHandledFailure(notHandled.Reason)
	case errors.As(err, &auth) && auth.Transient():
		return failStarting
	case errors.Is(err, ErrNotAuthenticated):
		return failRefused
	case errors.As(err, &timeout) && timeout.result == esproto.OperationResult_ForwardTimeout:
		return failForwardTimeout
	case timeout != nil:
		return failServerTimeout
	case errors.As(err, &reply):
		return failUnreadable
	case errors.As(err, &large):
		return failTooLarge
	case errors.As(err, &conn) && hadTooMuchToSend(err):
		return failCutOff
	case conn != nil, errors.As(err, &none):
		return failLost
	case errors.Is(err, ErrOperationTimeout):
		return failNoReply
	case errors.As(err, &drop) && drop.condition() == nil:
		return failDropped
	case errors.Is(err, ErrMaxSubscribers):
		return failNoPlace
	case errors.Is(err, ErrGroupNotFound):
		return failNoGroup
	case errors.Is(err, ErrServer):
		return failServer
	}
	return failAnswered
}

func notHandledFailure(reason NotHandledReason) failure {
	switch reason {
	case ReasonNotLeader:
		return failNotLeader
	case ReasonReadOnly:
		return failReadOnlyNode
	case ReasonNotReady:
		return failNotReady
	}
	return failTooBusy
}

// hadTooMuchToSend reports whether the server ended a connection because a reply, perhaps to another request, was too
// large to send.
func hadTooMuchToSend(err error) bool {
	var bad *BadRequestError
	return errors.As(err, &bad) && strings.Contains(bad.Text, "pending send bytes is too big")
}

// policyFor returns the policy for an error.
func policyFor(err error) *policy { return &policies[failureOf(err)] }

// SafeToRetry reports whether an operation that failed with err had no effect and may succeed if it is repeated as it
// was: the connection was lost before the request was sent, or the server was not ready. It is false if a person must
// do something first, as with refused credentials or a peer that is no EventStore.
func SafeToRetry(err error) bool {
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		return false
	}
	p := policyFor(err)
	if e := (interface{ SafeToRetry() bool })(nil); errors.As(err, &e) && p != &policies[failClosed] {
		return e.SafeToRetry() // the request went over HTTP
	}
	return p.safe
}

// replaces reports whether a subscription that was confirmed and has ended with err is followed by another one.
func replaces(err error) bool {
	how := policyFor(err).resume
	return how == subResumes || how == subRereads
}

// resumption decides, after each failure of a subscription that resumes, whether it tries again, and when.
type resumption struct {
	refusals  time.Duration // how long refused credentials are accepted: Config.AuthRetryTimeout
	refusedAt time.Time     // of the first refusal; zero if there was none
	served    bool          // the server has served the subscription before
	first     time.Duration // the mean pause before the second attempt: Config.ReconnectDelay
	pauses    pauses
}

// resumptionGrowth limits the mean pause of a subscription to this multiple of Config.ReconnectDelay.
const resumptionGrowth = 10

func (c *Client) newResumption(served bool) resumption {
	return resumption{refusals: c.cfg.AuthRetryTimeout, served: served, first: c.cfg.ReconnectDelay}
}

// sleep waits before the next attempt, for longer each time.
func (r *resumption) sleep(ctx context.Context) error {
	return sleep(ctx, r.pauses.next(r.first, resumptionGrowth*r.first))
}

// goesOn reports whether the subscription tries again after err. If the server refuses the credentials, it may be a new
// one without users yet, or a changed password may be changed back.
func (r *resumption) goesOn(err error) bool {
	switch policyFor(err).resume {
	case subResumes:
		return true
	case subIfServed:
		return r.served
	case subWaits:
		if r.refusedAt.IsZero() {
			r.refusedAt = time.Now()
		}
		return time.Since(r.refusedAt) < r.refusals
	}
	return false
}

// effect is the effect of a repetition if an earlier attempt has taken place.
type effect int

const (
	// idempotent: it changes nothing more.
	idempotent effect = iota
	// idempotentOnConnection: it changes nothing more while the same process is the leader. The client knows that only
	// while the connection lasts.
	idempotentOnConnection
	// notIdempotent: it takes place a second time.
	notIdempotent
)

// repetition describes the repetitions of an operation.
type repetition struct {
	effect effect
	reads  bool // the operation changes nothing, so it has no outcome
	tells  bool // if a repetition is refused with WrongExpectedVersion, no attempt has taken place
}

var (
	reading  = repetition{reads: true}
	compared = repetition{tells: true} // the server compares the repetition with the stream
)

// writeRepetition describes a write to a stream whose events have ids.
func writeRepetition(stream string, expected ExpectedVersion, requireLeader bool) repetition {
	switch {
	case expected > NoStream:
		return compared
	case expected == NoStream && strings.HasPrefix(stream, metadataPrefix):
		return compared // metadata streams are never soft-deleted
	case expected == NoStream:
		return repetition{} // a soft-deleted stream goes on with other numbers; see append_recreated.go
	case !requireLeader:
		return repetition{effect: notIdempotent} // a node forwards the write to the leader, which may change
	}
	return repetition{effect: idempotentOnConnection}
}

// decision is the reaction to a failed attempt.
type decision struct {
	again  bool
	pause  bool
	counts bool // against Config.MaxRetries
}

// judge decides how to go on after an attempt on conn that has failed with err. sent is true if the request was sent.
func (a *attempts) judge(ctx context.Context, conn *engine.Conn, sent bool, err error) decision {
	f := failureOf(err)
	if f <= failServer && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		f = failContext
	}
	p := &policies[f]
	if p.outcome == outcomeUnknown || p.outcome == unknownIfSent && sent {
		a.uncertain(conn, err)
	}
	if p.ids == idsLost || p.ids == idsLostInCluster && sent && a.c.clustered() {
		a.on = nil
	}
	a.leave(p.conn, conn, err)
	smaller := p.reply != replyFits && sent && a.shrinks != nil && a.shrinks.shrink()
	free := p.free && a.c.cfg.MaxRetries >= 0 || smaller && p.reply == replyTooLarge
	again := p.call != callFails && (smaller || p.call != callAsksForLess)
	return decision{again: again && a.mayRepeat(conn), pause: p.call == callRepeatsLate, counts: !free}
}

// leave makes the client leave a connection, if the policy says so.
func (a *attempts) leave(how connPolicy, conn *engine.Conn, err error) {
	var e *NotHandledError
	if how == connStays || !errors.As(err, &e) {
		return
	}
	if how == connLeft {
		a.c.redirected.Store(true)
		a.c.redirect(conn, e)
		return
	}
	if a.notReady++; a.notReady >= notReadyLimit && a.c.cfg.discovers() {
		a.notReady = 0
		a.c.redirect(conn, e)
	}
}

// redirect leaves a connection for the leader if e names it, otherwise for another node.
func (c *Client) redirect(conn *engine.Conn, e *NotHandledError) {
	leader := e.Leader
	if c.cfg.TLS != nil {
		leader = e.LeaderTLS
	}
	c.manager.Redirect(conn, leader, e)
}

// notReadyLimit is how many times a node may answer an operation that it is not ready. Then the client looks for
// another node, since this one may have lost its cluster.
const notReadyLimit = 3

// uncertain notes that an attempt on conn may have taken place.
func (a *attempts) uncertain(conn *engine.Conn, err error) {
	if !a.repetition.reads {
		a.unknown, a.on = err, conn
	}
}

// mayRepeat reports whether another attempt may be made on conn, considering the earlier ones.
func (a *attempts) mayRepeat(conn *engine.Conn) bool {
	if a.unknown == nil {
		return true
	}
	switch a.repetition.effect {
	case idempotentOnConnection:
		return conn == a.on && conn.Err() == nil
	case notIdempotent:
		return false
	}
	return true
}

// clustered reports whether the client knows of other nodes, any of which may become the leader.
func (c *Client) clustered() bool { return c.cfg.discovers() || c.redirected.Load() }

// final returns the error for the caller. A reply to a repetition settles the outcome only if the server has compared
// the repetition with the stream.
func (a *attempts) final(err error) error {
	var wrong *WrongExpectedVersionError
	if a.unknown == nil || a.repetition.tells && errors.As(err, &wrong) {
		return explained(err)
	}
	if err != a.unknown { //nolint:errorlint // this error itself, not its kind
		err = fmt.Errorf("%w; before that: %w", err, a.unknown)
	}
	return &OutcomeUnknownError{Err: err}
}

// explained replaces the refusal of a read-only replica by ErrNotSupported: only another node could help.
func explained(err error) error {
	if failureOf(err) == failReadOnlyNode {
		return fmt.Errorf("%w: the node is a read-only replica", ErrNotSupported)
	}
	return err
}
