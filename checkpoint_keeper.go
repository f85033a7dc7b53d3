package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// checkpointKeeper loads the checkpoint of a subscription, and saves it while the subscription lasts. A nil keeper, of
// a subscription without Checkpoints, does nothing.
type checkpointKeeper struct {
	cfg    *SubscriberConfig
	name   string
	source checkpointSource
	log    watermill.LoggerAdapter
	mark   lowWaterMark
	calls  storeCalls

	// Only one goroutine at a time uses it: Subscribe, and then run.
	saved     place // the latest that the store has
	taken     bool  // another process has the name
	logAt     int   // at this number of settled messages after a stuck one, the next line is logged
	startOver bool  // the checkpoint belongs to another log

	subscription context.Context // ends with the subscription
	free         chan struct{}   // closed when another subscription can use the name

	full chan struct{} // gets a token when CheckpointMaxCount messages are settled
	stop chan struct{} // closed when all handlers have answered
	done chan struct{} // closed when run has returned
	// ctx ends CheckpointTimeout after the end of the subscription.
	ctx    context.Context
	cancel context.CancelFunc
}

// newCheckpointKeeper returns the keeper of a topic, or nil without Checkpoints. ctx is that of the
// subscription.
func newCheckpointKeeper(
	ctx context.Context, cfg *SubscriberConfig, topic, stream string, log watermill.LoggerAdapter,
) *checkpointKeeper {
	if cfg.Checkpoints == nil {
		return nil
	}
	name := cfg.checkpointName(topic)
	k := &checkpointKeeper{
		cfg: cfg, name: name, log: log.With(watermill.LogFields{"checkpoint_name": name}),
		source:       newCheckpointSource(stream, cfg.Filter),
		mark:         lowWaterMark{stream: stream, all: stream == esclient.AllStream},
		subscription: ctx, free: make(chan struct{}),
		full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if k.fromEnd() {
		k.mark.origin = origin(k.mark.all)
	}
	k.ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return k
}

// load loads the checkpoint, for CheckpointTimeout at most.
func (k *checkpointKeeper) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.CheckpointTimeout)
	defer cancel()
	err := k.retry(ctx, ctx.Done(), "load", func(ctx context.Context) error {
		call := &storeCall{keeper: k}
		saved, err := k.calls.call(ctx, func(ctx context.Context) (esclient.Checkpoint, error) {
			return k.cfg.Checkpoints.Load(call.context(ctx), k.name)
		})
		if err == nil {
			k.saved = place{saved, call.known}
		}
		return err
	}, isLasting)
	if err != nil {
		op := "load"
		if errors.Is(err, ErrCheckpointSource) {
			op = "use"
		}
		return &CheckpointError{Name: k.name, Op: op, Advice: adviceAfterLoad(err), Err: err}
	}
	_, isPosition := k.saved.checkpoint.Position()
	if !k.saved.checkpoint.IsZero() && isPosition != k.mark.all {
		return &CheckpointError{
			Name: k.name, Op: "use", Err: errOfAnotherKind,
			Advice: "remove the checkpoint, or give the Subscriber another SubscriberName",
		}
	}
	return nil
}

var errOfAnotherKind = errors.New("a position belongs to $all, and an event number to a stream")

func adviceAfterLoad(err error) string {
	switch {
	case errors.Is(err, ErrCheckpointTaken):
		return "end the other subscription, or give this one another SubscriberName"
	case errors.Is(err, ErrCheckpointSource):
		return "give the Subscriber another SubscriberName to get all messages, or take back the change of Filter or " +
			"StreamName"
	case errors.Is(err, ErrCheckpointCorrupt):
		return "restore the checkpoint, or remove it to begin at Start again"
	case errors.Is(err, esclient.ErrStreamDeleted):
		return "the name cannot be used any more: give the Subscriber another SubscriberName"
	}
	return adviceBeforeMessages
}

const adviceBeforeMessages = "no message was handed out: repair the store and subscribe again"

// isLasting reports whether a repetition of the call would return the same error.
func isLasting(err error) bool {
	for _, lasting := range []error{
		ErrCheckpointCorrupt, ErrCheckpointSource, esclient.ErrClosed, esclient.ErrInvalidArgument,
		esclient.ErrAccessDenied, esclient.ErrStreamDeleted,
	} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	var permanent *backoff.PermanentError
	return errors.As(err, &permanent)
}

// Delays between the attempts of one load or save.
const (
	firstCheckpointDelay = 50 * time.Millisecond
	maxCheckpointDelay   = 30 * time.Second
)

// retry calls f with backoff until f succeeds or returns a lasting error, or the channel until is closed. It returns
// the latest error of f. It logs the 1st, 10th, 100th … failure.
func (k *checkpointKeeper) retry(
	ctx context.Context, until <-chan struct{}, op string, f func(context.Context) error, givesUp func(error) bool,
) error {
	delays := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstCheckpointDelay), backoff.WithMultiplier(nackMultiplier),
		backoff.WithMaxInterval(maxCheckpointDelay), backoff.WithMaxElapsedTime(0),
		backoff.WithRandomizationFactor(nackJitter),
	)
	for failures := 1; ; failures++ {
		err := f(ctx)
		if err == nil || givesUp(err) {
			return err
		}
		if isPowerOfTen(failures) {
			k.log.Error("Cannot "+op+" the checkpoint: trying again", err, watermill.LogFields{"failures": failures})
		}
		if closedWithin(until, delays.NextBackOff()) {
			return err
		}
	}
}

// start returns where the subscription begins.
func (k *checkpointKeeper) start() esclient.Start {
	switch {
	case k.startOver:
		return esclient.FromStart()
	case k.saved.checkpoint.IsZero():
		return k.cfg.Start
	}
	return k.saved.checkpoint.Start()
}

// known returns the event by which the subscription recognises the log.
func (k *checkpointKeeper) known() esclient.KnownEvent {
	if k == nil || k.startOver || k.saved.checkpoint.IsZero() {
		return esclient.KnownEvent{}
	}
	return k.saved.known
}

// use makes sub the subscription whose checkpoint is saved, or stops it.
func (k *checkpointKeeper) use(ctx context.Context, sub *esclient.Subscription) error {
	k.mark.sub = sub
	err := k.saveStart(ctx)
	if err != nil {
		sub.Stop()
		k.mark.sub = nil
	}
	return err
}

// fromEnd reports whether the subscription begins at the end if it has no checkpoint.
func (k *checkpointKeeper) fromEnd() bool { return k.cfg.Start == esclient.FromEnd() }

// origin returns the checkpoint before all events. No event is at the beginning of the log.
func origin(all bool) esclient.Checkpoint {
	if all {
		return esclient.CheckpointAtPosition(esclient.StartPosition)
	}
	return esclient.CheckpointAtNumber(-1)
}

// savesStart reports whether use saves the start of the subscription.
func (k *checkpointKeeper) savesStart() bool {
	return k.fromEnd() && !k.startOver && k.saved.checkpoint.IsZero()
}

// saveStart saves the start of a subscription without a checkpoint if it begins at the end. Otherwise the next
// subscription would begin at a later end, and miss the messages between.
func (k *checkpointKeeper) saveStart(ctx context.Context) error {
	if !k.savesStart() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.CheckpointTimeout)
	defer cancel()
	start := k.mark.mark()
	err := k.retry(ctx, ctx.Done(), "save", func(ctx context.Context) error { return k.put(ctx, start) },
		func(err error) bool { return isTaken(err) || isLasting(err) })
	if err != nil {
		return &CheckpointError{
			Name: k.name, Op: "save", Err: err, Advice: adviceBeforeMessages,
		}
	}
	return nil
}

// begin records that the message of an event will be handed out.
func (k *checkpointKeeper) begin(e *esclient.Event) {
	if k != nil {
		k.mark.add(e)
	}
}

// settle records that the message of an event is settled.
func (k *checkpointKeeper) settle(e *esclient.Event) {
	if k == nil || k.mark.settle(e) < k.cfg.CheckpointMaxCount {
		return
	}
	select {
	case k.full <- struct{}{}:
	default:
	}
}

// run saves the checkpoint until finish is called. It calls taken if another process has taken the name over.
func (k *checkpointKeeper) run(taken func(error)) {
	defer close(k.done)
	tick := time.NewTicker(k.cfg.CheckpointAfter)
	defer tick.Stop()
	for {
		select {
		case <-k.full:
		case <-tick.C:
		case <-k.stop:
			k.saveLast()
			return
		}
		if k.taken {
			continue
		}
		if !k.mark.due(k.saved) {
			k.logIfStuck()
			continue
		}
		if err := k.save(k.stop, isTaken); k.taken {
			taken(err)
		}
	}
}

// stuckFactor times CheckpointMaxCount messages are settled after a stuck one when the logger gets the first error. It
// gets the next one at ten times as many, and so on.
const stuckFactor = 10

var errStuck = errors.New("eventstore: the checkpoint stands at a message whose handler has not acked it; " +
	"a restart hands out all later messages again")

// logIfStuck logs a message that holds up the checkpoint while very many later ones are settled.
func (k *checkpointKeeper) logIfStuck() {
	e, behind := k.mark.stuck()
	if behind < k.cfg.CheckpointMaxCount { // the mark has moved
		k.logAt = 0
	}
	if k.logAt == 0 {
		k.logAt = stuckFactor * k.cfg.CheckpointMaxCount
	}
	if e == nil || behind < k.logAt {
		return
	}
	k.logAt *= 10
	o := e.Original()
	k.log.Error("Message holds up the checkpoint", errStuck, watermill.LogFields{
		"event_number": o.Number, "event_stream": o.Stream, "event_id": o.ID.String(), "settled_behind": behind,
	})
}

// save saves the mark, with retries until the channel until is closed. Each attempt saves the mark of its time.
func (k *checkpointKeeper) save(until <-chan struct{}, givesUp func(error) bool) error {
	err := k.retry(k.ctx, until, "save", k.saveOnce, givesUp)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrCheckpointTaken):
		k.taken = true
		return &CheckpointError{
			Name: k.name, Op: "save", Err: err,
			Advice: "the other subscription goes on from the latest saved checkpoint; this one has ended",
		}
	}
	return &CheckpointError{
		Name: k.name, Op: "save", Err: err,
		Advice: "the next subscription hands out again what was settled since the latest save",
	}
}

func isTaken(err error) bool { return errors.Is(err, ErrCheckpointTaken) }

func (k *checkpointKeeper) saveOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.CheckpointTimeout)
	defer cancel()
	k.mark.saving()
	mark := k.mark.mark()
	if mark == k.saved {
		return nil
	}
	if order, err := mark.checkpoint.Compare(k.saved.checkpoint); err != nil || order <= 0 {
		if err := k.put(ctx, place{}); err != nil { // without it, a store may refuse to go back
			return err
		}
	}
	return k.put(ctx, mark)
}

func (k *checkpointKeeper) put(ctx context.Context, p place) error {
	if p == k.saved {
		return nil
	}
	call := &storeCall{keeper: k, known: p.known}
	_, err := k.calls.call(ctx, func(ctx context.Context) (esclient.Checkpoint, error) {
		return p.checkpoint, k.cfg.Checkpoints.Save(call.context(ctx), k.name, p.checkpoint)
	})
	if err != nil {
		return err
	}
	k.saved = p
	return nil
}

// finish ends run, and saves the mark for the last time. All handlers have answered before. It takes CheckpointTimeout
// and storeGrace at most.
func (k *checkpointKeeper) finish() {
	if k == nil {
		return
	}
	limit := time.AfterFunc(k.cfg.CheckpointTimeout, k.cancel)
	defer limit.Stop()
	close(k.stop)
	<-k.done
	k.cancel()
}

// saveLast saves the mark at the end of the subscription.
func (k *checkpointKeeper) saveLast() {
	if k.taken {
		return
	}
	err := k.save(k.ctx.Done(), func(err error) bool { return isTaken(err) || isLasting(err) })
	if err != nil {
		k.log.Error("The last checkpoint was not saved", err, nil)
	}
}
