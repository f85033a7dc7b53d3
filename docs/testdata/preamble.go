// These are the names that Go in documents may use without a declaration. A page that declares one of them has its own.

package page

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

var (
	ctx        context.Context
	logger     watermill.LoggerAdapter
	cfg        esclient.Config
	client     *esclient.Client
	admin      *esadmin.Client
	publisher  *eventstore.Publisher
	subscriber *eventstore.Subscriber
	store      eventstore.Checkpoints
	tracing    *esotel.Tracing
	router     *message.Router
	messages   <-chan *message.Message
	msg        *message.Message
	db         *sql.DB
	srv        *estest.Server
	server     *estest.Server
	cluster    *estest.Cluster
	t          *testing.T

	kafkaSubscriber, natsSubscriber message.Subscriber // which a program uses already
)

// handle is the handler of an application.
var handle func(msg *message.Message) error
