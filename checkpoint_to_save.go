package eventstore

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// CheckpointToSave returns what a handler saves together with the change that it makes for a message, in one
// transaction of a database: the checkpoint, and the name that [SubscriberConfig.Checkpoints] is given for it. Module
// essql does that. If the stored checkpoint is this one or a later one, the message has come again, and the handler
// only acks it.
//
// It returns an [*esclient.ArgumentError] if the checkpoint does not tell which messages the database has:
//   - The message is not of a Subscriber with Checkpoints, or does not have the context that it came with.
//   - Concurrency is over 1. Then later messages are handled before earlier ones.
//   - StartOver is set. Then the messages of another log have the checkpoints of earlier ones.
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
			"message needs their order: set it to 1 and use Subscribers for several topics, or let Checkpoints save "+
			"and have the handler recognise messages that come again", cfg.Concurrency))
	case cfg.StartOver:
		return refuse("is of a Subscriber with StartOver: what was made of another log must be emptied before its " +
			"messages are handled, so let the subscription end with ErrLogWentBack")
	}
	return name, c, nil
}
