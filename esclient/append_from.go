package esclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// AppendFromOptions are the options of [Client.AppendFrom]. The zero value serves most sources.
type AppendFromOptions struct {
	// BatchEvents limits the events of one append. 0 means 200.
	BatchEvents int
	// BatchBytes limits the bytes of one append; see [AppendSize]. 0 means 1 MiB. A larger event is alone in its
	// append.
	BatchBytes int
	// WindowEvents limits the events that were taken from the source and are not confirmed. 0 means four times
	// BatchEvents.
	WindowEvents int
	// WindowBytes is the same limit in bytes. 0 means four times BatchBytes. One event is always taken, of any size.
	WindowBytes int
	// Linger is how long an append that has room for more events waits for them. With 0 it does not wait. Events that
	// come while one append is under way are together in the next one in any case.
	Linger time.Duration
	// Grace is how long AppendFrom waits, after the end of ctx, for the reply to the append that is under way, so that
	// its outcome is known. 0 means one second. With a negative value it does not wait.
	Grace time.Duration
	// Progress, if not nil, is called after each append with the result so far. The source may forget these events. It
	// runs on a goroutine of AppendFrom, and the next append waits for it.
	Progress func(AppendFromResult)
	// Failed, if not nil, is called once with the error, as soon as an append has failed. Use it to wake a source that
	// waits, for example with a context.CancelCauseFunc.
	Failed func(error)
}

// Defaults of AppendFromOptions.
const (
	defaultBatchEvents = 200
	defaultBatchBytes  = 1 << 20
	defaultWindow      = 4 // batches
	defaultGrace       = time.Second
)

func (o *AppendFromOptions) setDefaults() {
	for _, d := range []struct {
		n     *int
		value func() int
	}{
		{&o.BatchEvents, func() int { return defaultBatchEvents }},
		{&o.BatchBytes, func() int { return defaultBatchBytes }},
		{&o.WindowEvents, func() int { return defaultWindow * o.BatchEvents }},
		{&o.WindowBytes, func() int { return defaultWindow * o.BatchBytes }},
	} {
		if *d.n == 0 {
			*d.n = d.value()
		}
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
}

func (o *AppendFromOptions) validate() error {
	for _, n := range []struct {
		field string
		n     int
		most  int
	}{
		{"BatchEvents", o.BatchEvents, 1 << 20}, {"BatchBytes", o.BatchBytes, MaxAppendSize},
		{"WindowEvents", o.WindowEvents, 1 << 30}, {"WindowBytes", o.WindowBytes, 1 << 30},
	} {
		if n.n < 0 || n.n > n.most {
			return &ArgumentError{Argument: "AppendFromOptions." + n.field,
				Reason: fmt.Sprintf("%d is not between 0 and %d", n.n, n.most)}
		}
	}
	if o.Linger < 0 {
		return &ArgumentError{Argument: "AppendFromOptions.Linger", Reason: fmt.Sprintf("%v is negative", o.Linger)}
	}
	return nil
}

// AppendFromResult tells which events of a source are in the stream.
type AppendFromResult struct {
	// Events is how many events of the source are written. They are the first ones, in the order of the source.
	Events int64
	// Unknown is how many of the following events may be written, all of them or none. It is 0 unless the error is
	// [ErrOutcomeUnknown]. The events after these are not written.
	Unknown int64
	// FirstEventNumber and LastEventNumber are the numbers of the first and the last written event; -1 if there are
	// none.
	FirstEventNumber int64
	LastEventNumber  int64
	// Position is the log position of the last written event, if the server tells it; see [AppendResult].
	Position Position
}

// AppendFrom appends the events of source to the end of a stream, in order, until the source ends, ctx ends or
// something fails. Also with an error, the result is exact: the first Events events of the source are written, and no
// others.
//
// AppendFrom writes no event twice and keeps the order, also over lost connections and restarts of the server. One
// append is under way at a time. Each has an exact expected version, the number of the event before it, so that the
// server recognises every repetition. Only the first append has the version of the caller; for Any the client asks for
// the number of the last event before. Several appends under way at once would not be safe: a server may process them
// in another order, or may accept one after it has refused the one before. The throughput comes from batches, which
// grow while an append is under way.
//
// The server compares the expected version with the first event. With NoStream or an event number no other writer may
// write to the stream from then on: an event of another one ends AppendFrom with [ErrWrongExpectedVersion]. With Any
// and StreamExists others may write at the same time, and their events are between the batches of the source. With
// StreamExists the outcome of the first append may be unknown after a lost connection; see [Client.Append].
//
// If the events of a source have ids, the caller can append the source again from its beginning, after an error or a
// crash, with the same NoStream or event number. Events that are in the stream count as written.
//
// The error is that of the append that failed, and [SafeToRetry] applies to that append alone. An error that the source
// yields ends the source, and so does the first invalid event, as an [*ArgumentError]. In both cases the events before
// are written. After the end of ctx the error is that of the context. Then AppendFrom waits for the append that is
// under way, see AppendFromOptions.Grace, and sends no other. There is no error if the source ended first.
//
// The source runs in the caller's goroutine, and AppendFrom returns after the source has returned. So a source that
// waits must end with ctx; AppendFromOptions.Failed can wake it. The caller must not change the slices of the events
// before they are written.
func (c *Client) AppendFrom(
	ctx context.Context, stream string, expected ExpectedVersion, source iter.Seq2[EventData, error],
	opts AppendFromOptions,
) (AppendFromResult, error) {
	none := AppendFromResult{FirstEventNumber: -1, LastEventNumber: -1, Position: UnknownPosition}
	if err := validateName("stream", stream); err != nil {
		return none, err
	}
	if err := expected.validate(); err != nil {
		return none, err
	}
	if source == nil {
		return none, &ArgumentError{Argument: "source", Reason: "it is nil"}
	}
	if err := opts.validate(); err != nil {
		return none, err
	}
	opts.setDefaults()
	f := &sourceAppend{
		c: c, stream: stream, opts: &opts, expected: expected, result: none,
		shared: !expected.exact(), more: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	return f.run(ctx, source)
}

// sourceAppend is one call of AppendFrom. The caller's goroutine iterates over the source and puts events into the
// queue. Another goroutine takes batches from the queue and appends them.
type sourceAppend struct {
	c      *Client
	stream string
	opts   *AppendFromOptions
	shared bool // others may write to the stream

	// The sending goroutine owns these until it ends.
	expected ExpectedVersion // of the next append
	result   AppendFromResult

	mu      sync.Mutex
	queue   []EventData
	queued  int  // bytes of the queue
	held    int  // events that are not confirmed, queued ones included
	bytes   int  // of those events
	waiting bool // the source waits for room
	ended   bool // the source has ended
	err     error

	more chan struct{} // wakes the sender; never blocks
	room chan struct{} // wakes the source; never blocks
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *sourceAppend) run(ctx context.Context, source iter.Seq2[EventData, error]) (AppendFromResult, error) {
	var wg sync.WaitGroup
	sending, stop := context.WithCancel(ctx)
	defer wg.Wait()
	defer stop() // if the source panics
	wg.Go(func() { f.send(sending) })
	err := f.pull(ctx, source)
	f.end()
	wg.Wait()
	if f.err != nil {
		err = f.err // it is about earlier events than err
	}
	if op := (*OperationError)(nil); err != nil && !errors.As(err, &op) && !errors.Is(err, ErrInvalidArgument) {
		err = &OperationError{Operation: "append from source", Stream: f.stream, Err: err}
	}
	return f.result, err
}

// pull takes events from the source until it ends, ctx ends, or an append has failed.
func (f *sourceAppend) pull(ctx context.Context, source iter.Seq2[EventData, error]) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	n := 0
	for e, err := range source {
		if err != nil {
			return err
		}
		if err := validateEvent(n, &e); err != nil {
			return err
		}
		if e.ID == uuid.Nil {
			e.ID = newID() // the same for all attempts
		}
		if !f.put(ctx, &e) {
			break
		}
		n++
	}
	return context.Cause(ctx)
}

// put waits for room in the window and queues an event. It returns false if the call has failed or ended.
func (f *sourceAppend) put(ctx context.Context, e *EventData) bool {
	size := AppendEventSize(e)
	for ctx.Err() == nil {
		f.mu.Lock()
		failed := f.err != nil
		fits := f.held == 0 || f.held < f.opts.WindowEvents && f.bytes+size <= f.opts.WindowBytes
		if f.waiting = !fits; fits && !failed {
			f.queue = append(f.queue, *e)
			f.queued += size
			f.held++
			f.bytes += size
		}
		f.mu.Unlock()
		if failed {
			return false
		}
		signal(f.more)
		if fits {
			return true
		}
		select {
		case <-f.room:
		case <-ctx.Done():
		}
	}
	return false
}

func (f *sourceAppend) end() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	signal(f.more)
}

// send appends the queued events in batches, until the source has ended and all events are written, ctx ends, or an
// append fails.
func (f *sourceAppend) send(ctx context.Context) {
	onItsWay, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		f.awaitGrace(ctx, done)
		abandon(context.Cause(ctx))
	})
	defer wg.Wait()
	defer close(done)
	for {
		batch, err := f.next(ctx)
		if err == nil && batch != nil {
			err = f.append(ctx, onItsWay, batch)
		}
		if err != nil {
			f.fail(ctx, err)
			return
		}
		if batch == nil {
			return
		}
	}
}

// awaitGrace returns when done is closed, or Grace after the end of ctx.
func (f *sourceAppend) awaitGrace(ctx context.Context, done <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-done:
		return
	}
	t := time.NewTimer(f.opts.Grace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	}
}

// next waits for a batch and takes it from the queue. It is nil at the end.
func (f *sourceAppend) next(ctx context.Context) ([]EventData, error) {
	var lingered <-chan time.Time
	linger := f.opts.Linger > 0
	for {
		f.mu.Lock()
		full := len(f.queue) >= f.opts.BatchEvents || f.queued >= f.opts.BatchBytes
		if len(f.queue) > 0 && (full || f.ended || f.waiting || !linger) && ctx.Err() == nil {
			batch := f.take()
			f.mu.Unlock()
			return batch, nil
		}
		queued, ended := len(f.queue), f.ended
		f.mu.Unlock()
		switch {
		case queued == 0 && ended:
			return nil, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case queued > 0 && lingered == nil:
			lingered = time.After(f.opts.Linger)
		}
		select {
		case <-f.more:
		case <-lingered:
			linger = false
		case <-ctx.Done():
		}
	}
}

// take removes a batch from the queue, which is not empty.
func (f *sourceAppend) take() []EventData {
	n, size := 0, AppendSize(f.stream)
	for n < len(f.queue) && n < f.opts.BatchEvents {
		s := AppendEventSize(&f.queue[n])
		if n > 0 && size+s > f.opts.BatchBytes {
			break
		}
		size += s
		f.queued -= s
		n++
	}
	batch := slices.Clone(f.queue[:n])
	f.queue = slices.Delete(f.queue, 0, n)
	return batch
}

// maxRebases is how many times in a row another writer may append first to a shared stream.
const maxRebases = 100

// append appends a batch, in one request unless the stream already has its first events.
func (f *sourceAppend) append(ctx, onItsWay context.Context, batch []EventData) error {
	n, rebases := len(batch), 0
	if f.expected == Any {
		if err := f.findEnd(onItsWay); err != nil {
			return err
		}
	}
	for len(batch) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		res, err := f.c.Append(onItsWay, f.stream, f.expected, batch[:n]...)
		if err == nil {
			f.written(batch[:n], res)
			batch = batch[n:]
			n = len(batch)
			continue
		}
		wrong := (*WrongExpectedVersionError)(nil)
		if errors.Is(err, ErrOutcomeUnknown) {
			f.result.Unknown = int64(n)
			return err
		}
		if !errors.As(err, &wrong) || !f.expected.exact() {
			return err
		}
		// No event of the batch was written.
		switch there := wrong.Current - int64(f.expected); {
		case there > 0 && there < int64(n):
			n = int(there) // events after the expected version; they may be from an earlier run of this source
		case f.shared && there != 0 && rebases < maxRebases:
			f.expected, n = ExpectedVersion(wrong.Current), len(batch)
			rebases++
		default:
			return err
		}
	}
	return nil
}

// findEnd replaces Any by the number of the stream's last event. It asks with a write that the server must refuse,
// since the refusal has the number, and only the right to write is needed. This also works for a soft-deleted stream,
// in which the server would not recognise a repetition with NoStream.
func (f *sourceAppend) findEnd(ctx context.Context) error {
	op := &appendOp{stream: f.stream, expected: neverReached, requireLeader: f.c.requireLeader(ctx)}
	err := f.c.do(ctx, op, reading)
	if wrong := (*WrongExpectedVersionError)(nil); errors.As(err, &wrong) {
		f.expected = ExpectedVersion(wrong.Current)
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: it took a write that expects version %v", ErrServer, neverReached)
	}
	return &OperationError{Operation: "append", Stream: f.stream, Err: err}
}

// neverReached is an event number that no stream reaches.
const neverReached ExpectedVersion = 1 << 62

// written notes that the stream has these events.
func (f *sourceAppend) written(events []EventData, res AppendResult) {
	f.expected = ExpectedVersion(res.LastEventNumber)
	if f.result.Events == 0 {
		f.result.FirstEventNumber = res.FirstEventNumber
	}
	f.result.Events += int64(len(events))
	f.result.LastEventNumber, f.result.Position = res.LastEventNumber, res.Position

	f.mu.Lock()
	f.held -= len(events)
	for i := range events {
		f.bytes -= AppendEventSize(&events[i])
	}
	f.mu.Unlock()
	signal(f.room)
	if f.opts.Progress != nil {
		f.opts.Progress(f.result)
	}
}

// fail also ends the source. The end of ctx does not count as a failed append.
func (f *sourceAppend) fail(ctx context.Context, err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	signal(f.room)
	if ctx.Err() == nil && f.opts.Failed != nil {
		f.opts.Failed(err)
	}
}
