package eventstore

import (
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// publishError sorts the messages of a call into the lists of a PublishError after one of its appends has failed. The
// appends have the order of the streams; the lists have the order of the call.
func publishError(
	topic string, messages []*message.Message, appends []plannedAppend, failed int, err error,
) *PublishError {
	e := &PublishError{Topic: topic, Stream: appends[failed].stream, Err: err}
	lists := make(map[*message.Message][]*[]*message.Message) // several if a message occurs several times
	for i := range appends {
		list := &e.NotWritten
		switch {
		case i < failed:
			list = &e.Written
		case i == failed && errors.Is(err, esclient.ErrOutcomeUnknown):
			list = &e.Unknown
		}
		for _, m := range appends[i].messages {
			lists[m] = append(lists[m], list)
		}
	}
	for _, m := range messages {
		list := lists[m][0]
		*list = append(*list, m)
		lists[m] = lists[m][1:]
	}
	return e
}
