package eventstore

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// CheckpointToSave returns the checkpoint of a message, and the name under which [SubscriberConfig.Checkpoints] stores
// it. A handler saves both in the transaction in which it changes a database for the message, as module essql does. If
// the stored checkpoint is this one or a later one, the message was redelivered, and the handler only acks it.
// [CheckpointSourceFromCtx] of the message's context belongs beside the checkpoint.
//
// It returns an [*esclient.ArgumentError] if a checkpoint cannot say which messages the database has:
//   - The message is not from a Subscriber with Checkpoints, or its context was replaced.
//   - Concurrency is over 1. Then later messages are handled before earlier ones.
//   - StartOver is set. Then messages of another log can have the checkpoints of earlier messages.
func CheckpointToSave(msg *message.Message) (name string, c esclient.Checkpoint, err error) {
	refuse := func(reason string) (string, esclient.Checkpoint, error) {
		return "", esclient.Checkpoint{}, &esclient.ArgumentError{Argument: "msg", Reason: reason}
	}
	if msg == nil {
		return refuse("is nil")
	}
	name, named := CheckpointNameFromCtx(msg.Context())
	c, known := CheckpointFromCtx(msg.Context())
	if !named || !known {
		return refuse("is not of a Subscriber with Checkpoints, or does not have the context that it came with")
	}
	switch cfg := deliveryFromCtx(msg.Context()).s.cfg; {
	case cfg.Concurrency > 1:
		return refuse(fmt.Sprintf("is of a Subscriber with Concurrency %d, and a checkpoint that is saved for each "+
			"message needs their order: set it to 1 and use Subscribers for several topics, or have Checkpoints save "+
			"and have the handler recognise messages that come again", cfg.Concurrency))
	case cfg.StartOver:
		return refuse("is of a Subscriber with StartOver: the changes of another log must be removed before its " +
			"messages are handled. Without StartOver the subscription ends with ErrLogWentBack")
	}
	return name, c, nil
}
