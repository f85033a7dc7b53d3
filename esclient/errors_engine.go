package esclient

import (
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// The engine does not know the errors of this package. It reacts to these two errors of code that it calls.
var (
	errEngineNotEventStore = engine.ErrNotEventStore    // for dialing
	errEngineTimeout       = engine.ErrOperationTimeout // for operations that decode a reply
)

// fromEngine converts an error of the engine, and all causes in it, into errors of this package with the same text. It
// returns any other error unchanged. Each error of the engine passes this function, and no other file names an error of
// the engine.
func fromEngine(err error) error {
	if err == nil {
		return nil
	}
	_, ours := translate(err)
	return ours
}

// translate is fromEngine. It also reports whether err has changed: comparing the errors would panic for types that
// cannot be compared.
func translate(err error) (changed bool, ours error) {
	switch e := err.(type) { //nolint:errorlint // translates each error of the chain separately
	case nil:
		return false, nil
	case *engine.ConnectionError:
		return true, &ConnectionError{Endpoint: e.Endpoint, Err: fromEngine(e.Err)}
	case *engine.NotConnectedError:
		return true, &NotConnectedError{Err: fromEngine(e.Err), Last: fromEngine(e.Last)}
	case *engine.NotAuthenticatedError:
		return true, &NotAuthenticatedError{Text: e.Text}
	case *engine.BadRequestError:
		return true, &BadRequestError{Text: e.Text}
	case *engine.NotHandledError:
		notHandled := &NotHandledError{Reason: NotHandledReason(e.Reason)}
		notHandled.Leader, _ = e.LeaderEndpoint(false)
		notHandled.LeaderTLS, _ = e.LeaderEndpoint(true)
		return true, notHandled
	case *engine.UnexpectedReplyError:
		return true, &UnexpectedReplyError{
			Request: e.Request.String(), Reply: e.Reply.String(), Err: fromEngine(e.Err),
		}
	case *esproto.FrameTooLargeError:
		return true, &FrameTooLargeError{Reply: e.Header.Command.String(), Length: e.Length, Max: e.Max}
	case *engine.TimedOutError:
		return true, fromEngine(e.Unwrap())
	case *engine.TransientError:
		return true, &passing{fromEngine(e.Unwrap())}
	case interface{ Unwrap() error }:
		changed, cause := translate(e.Unwrap())
		if !changed {
			return false, err
		}
		return true, &translated{text: err.Error(), causes: []error{cause}}
	case interface{ Unwrap() []error }:
		var causes []error
		for i, cause := range e.Unwrap() {
			if changed, ours := translate(cause); changed {
				if causes == nil {
					causes = slices.Clone(e.Unwrap())
				}
				causes[i] = ours
			}
		}
		if causes == nil {
			return false, err
		}
		return true, &translated{text: err.Error(), causes: causes}
	}
	for _, c := range conditions {
		if err == c.engine { //nolint:errorlint // compares each error of the chain separately
			return true, c.ours
		}
	}
	return false, err
}

// conditions are the conditions of the engine and those of this package.
var conditions = [...]struct{ engine, ours error }{
	{engine.ErrClosed, ErrClosed},
	{engine.ErrOperationTimeout, ErrOperationTimeout},
	{engine.ErrHeartbeatTimeout, ErrHeartbeatTimeout},
	{engine.ErrNotEventStore, ErrNotEventStore},
	{engine.ErrNotAuthenticated, ErrNotAuthenticated},
}

// translated replaces an error that fmt.Errorf has made from errors of the engine. It has the same text.
type translated struct {
	text   string
	causes []error
}

func (e *translated) Error() string   { return e.text }
func (e *translated) Unwrap() []error { return e.causes }

// passing marks an error that will probably go away soon, because the peer answers but is not ready. A Discoverer
// checks its method Transient; see [discovery.Discoverer].
type passing struct{ error }

func (e *passing) Unwrap() error   { return e.error }
func (e *passing) Transient() bool { return true }

// refusedWhileStarting reports whether text comes from a server that refuses credentials because it is starting.
func refusedWhileStarting(text string) bool {
	return (&engine.NotAuthenticatedError{Text: text}).Transient()
}

// commonReply returns the error for a reply that any request may get; nil for other replies.
func commonReply(cmd esproto.Command, payload []byte) error {
	return fromEngine(engine.CommonReply(cmd, payload))
}
