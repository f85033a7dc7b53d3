package esclient

import (
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// Errors of the connection's engine become those of this package where they come out of it. Nothing else in this
// package knows them. The engine does not know ours, but for these two that it has to act on.
var (
	// engineNotEventStore is ErrNotEventStore in what dialing ends with.
	engineNotEventStore = engine.ErrNotEventStore
	// engineTimeout is ErrOperationTimeout in what an operation makes of its reply.
	engineTimeout = engine.ErrOperationTimeout
)

// fromEngine makes an error of this package of one of the engine. Its text and all of its causes are kept. Any other
// error is returned as it is.
func fromEngine(err error) error {
	if err == nil {
		return nil
	}
	err, _ = translate(err)
	return err
}

// translate is fromEngine that tells whether there was anything of the engine. Errors are not compared with each other,
// since those of others may be of types that cannot be.
func translate(err error) (_ error, changed bool) {
	switch e := err.(type) { //nolint:errorlint // each error of the chain has its turn
	case nil:
		return nil, false
	case *engine.ConnectionError:
		return &ConnectionError{Endpoint: e.Endpoint, Err: fromEngine(e.Err)}, true
	case *engine.NotConnectedError:
		return &NotConnectedError{Err: fromEngine(e.Err), Last: fromEngine(e.Last)}, true
	case *engine.NotAuthenticatedError:
		return &NotAuthenticatedError{Text: e.Text}, true
	case *engine.BadRequestError:
		return &BadRequestError{Text: e.Text}, true
	case *engine.NotHandledError:
		notHandled := &NotHandledError{Reason: NotHandledReason(e.Reason)}
		notHandled.Leader, _ = e.LeaderEndpoint(false)
		notHandled.LeaderTLS, _ = e.LeaderEndpoint(true)
		return notHandled, true
	case *engine.UnexpectedReplyError:
		return &UnexpectedReplyError{
			Request: e.Request.String(), Reply: e.Reply.String(), Err: fromEngine(e.Err),
		}, true
	case *esproto.FrameTooLargeError:
		return &FrameTooLargeError{Reply: e.Header.Command.String(), Length: e.Length, Max: e.Max}, true
	case *engine.TimedOutError:
		return fromEngine(e.Unwrap()), true
	case *engine.TransientError:
		return &passing{fromEngine(e.Unwrap())}, true
	case interface{ Unwrap() error }:
		cause, changed := translate(e.Unwrap())
		if !changed {
			return err, false
		}
		return &translated{text: err.Error(), causes: []error{cause}}, true
	case interface{ Unwrap() []error }:
		var causes []error
		for i, cause := range e.Unwrap() {
			if ours, changed := translate(cause); changed {
				if causes == nil {
					causes = slices.Clone(e.Unwrap())
				}
				causes[i] = ours
			}
		}
		if causes == nil {
			return err, false
		}
		return &translated{text: err.Error(), causes: causes}, true
	}
	return translateCondition(err)
}

func translateCondition(err error) (_ error, changed bool) {
	switch err { //nolint:errorlint // that very error
	case engine.ErrClosed:
		return ErrClosed, true
	case engine.ErrOperationTimeout:
		return ErrOperationTimeout, true
	case engine.ErrHeartbeatTimeout:
		return ErrHeartbeatTimeout, true
	case engine.ErrNotEventStore:
		return ErrNotEventStore, true
	case engine.ErrNotAuthenticated:
		return ErrNotAuthenticated, true
	}
	return err, false
}

// translated is what the engine has said of errors, with those of this package for its own.
type translated struct {
	text   string
	causes []error
}

func (e *translated) Error() string   { return e.text }
func (e *translated) Unwrap() []error { return e.causes }

// passing is a failure that will probably pass soon, which [discovery.Discoverer] asks for: the peer answers, but is
// not ready.
type passing struct{ error }

func (e *passing) Unwrap() error   { return e.error }
func (e *passing) Transient() bool { return true }

// refusedWhileStarting reports whether a server that says so does not accept credentials because it is starting.
func refusedWhileStarting(text string) bool {
	return (&engine.NotAuthenticatedError{Text: text}).Transient()
}

// commonReply is the error that a reply to any request may stand for; nil for other replies.
func commonReply(cmd esproto.Command, payload []byte) error {
	return fromEngine(engine.CommonReply(cmd, payload))
}
