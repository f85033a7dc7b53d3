package estest

import (
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// eventLog is everything that a server has written: its streams, with their metadata, rights and users. It knows
// neither clients nor groups: who has to do something when the log grows observes it.
//
// The log has no lock. Its owner guards it by one lock, which is held in every call of a method that does not say
// otherwise. Every operation is a few copies of memory, and a single lock makes the order of everything that happens
// plain.
type eventLog struct {
	facts  *logFacts
	logger *slog.Logger
	now    func() time.Time
	epoch  epoch // the last one that the log has

	observers []func(commit)

	streams    map[string]*stream
	records    []*record // in the order of their positions
	arena      arena     // that holds the records
	written    []*record // those of the last append: memory for the next
	end        int64     // where the next record goes
	began      int64     // where the log ended when the process began
	marks      []int64   // where the records begin that are not events with a place of their own, in order
	lastCommit int64     // position of the last record in the index; -1 without one
	lastEmpty  int64     // position of the last write of nothing, which no index has; -1 without one
	ids        idCache
	transact   map[int64]*transaction
	users      map[string]*user
	defaults   defaults
}

func newEventLog(f *logFacts, logger *slog.Logger, now func() time.Time) *eventLog {
	return &eventLog{
		facts: f, logger: logger, now: now, epoch: noEpoch, streams: make(map[string]*stream),
		lastCommit: -1, lastEmpty: -1, end: firstPosition,
		transact: make(map[int64]*transaction), users: make(map[string]*user),
	}
}

// commit is what the log tells its observers whenever it has grown.
//
// The log calls the observers one after the other, in the order in which they were added: replication to the other
// nodes of a cluster, volatile subscriptions, groups, projections. It calls them in the goroutine that writes, with the
// owner's lock held, when readers see the records already and before the writer is answered. An observer may write to
// the log. All observers then hear of that write at once: those that come behind it in the order hear of it before they
// hear of the commit that it observed.
type commit struct {
	stream  *stream   // of the records; nil if there are none
	records []*record // in the order of their numbers; empty if the log has grown by what no reader sees
}

// observe has an observer called for each commit from now on. The observer may keep the records.
func (l *eventLog) observe(observer func(commit)) { l.observers = append(l.observers, observer) }

func (l *eventLog) tell(c commit) {
	for _, observer := range l.observers {
		observer(c)
	}
}

// End returns where the next record goes.
func (l *eventLog) End() int64 { return l.end }

// LastCommit returns the position of the last record that readers can come to, -1 without one.
func (l *eventLog) LastCommit() int64 { return l.lastCommit }

// Epoch returns the last epoch.
func (l *eventLog) Epoch() epoch { return l.epoch }

// Records returns all records in the order of their positions. They must not be changed.
func (l *eventLog) Records() []*record { return l.records }

// restart forgets what a process forgets when it ends.
func (l *eventLog) restart() {
	l.began = l.end
	l.forgetIDs()
	l.loadDefaults()
}

// forgetIDs empties the memory of event ids on which idempotency with the versions Any and StreamExists rests.
func (l *eventLog) forgetIDs() { l.ids.clear() }

// newGUID makes an id for an event of the server's own.
func newGUID() esproto.GUID { return esproto.NewGUID(uuid.New()) }
