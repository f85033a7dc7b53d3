package eventlog

import (
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Log is everything that a server has written: its streams, with their metadata, rights and users. Every operation is a
// few copies of memory, and one lock of the owner makes the order of everything that happens plain.
type Log struct {
	facts  *Facts
	logger *slog.Logger
	now    func() time.Time
	epoch  Epoch // the last one that the log has

	observers []func(Commit)

	streams    map[string]*Stream
	records    []*Record // in the order of their positions
	arena      arena     // that holds the records
	written    []*Record // those of the last append: memory for the next
	end        int64     // where the next record goes
	began      int64     // where the log ended when the process began
	marks      []int64   // where the records begin that are not events with a place of their own, in order
	lastCommit int64     // position of the last record in the index; -1 without one
	lastEmpty  int64     // position of the last write of nothing, which no index has; -1 without one
	ids        idCache
	transact   map[int64]*transaction
	users      map[string]*User
	defaults   defaults
}

// New returns an empty log that goes by the facts of a version and tells the time by now.
func New(f *Facts, logger *slog.Logger, now func() time.Time) *Log {
	return &Log{
		facts: f, logger: logger, now: now, epoch: noEpoch, streams: make(map[string]*Stream),
		lastCommit: -1, lastEmpty: -1, end: firstPosition,
		transact: make(map[int64]*transaction), users: make(map[string]*User),
	}
}

// Commit is what the log tells its observers whenever it has grown.
//
// The log calls the observers one after the other, in the order in which they were added: replication to the other
// nodes of a cluster, volatile subscriptions, groups, projections. It calls them in the goroutine that writes, with the
// owner's lock held, when readers see the records already and before the writer is answered. An observer may write to
// the log. All observers then hear of that write at once: those that come behind it in the order hear of it before they
// hear of the commit that it observed.
type Commit struct {
	Stream  *Stream   // of the records; nil if there are none
	Records []*Record // in the order of their numbers; empty if the log has grown by what no reader sees
}

// Observe has an observer called for each commit from now on. The observer may keep the records.
func (l *Log) Observe(observer func(Commit)) { l.observers = append(l.observers, observer) }

func (l *Log) tell(c Commit) {
	for _, observer := range l.observers {
		observer(c)
	}
}

// End returns where the next record goes.
func (l *Log) End() int64 { return l.end }

// LastCommit returns the position of the last record that readers can come to, -1 without one.
func (l *Log) LastCommit() int64 { return l.lastCommit }

// Epoch returns the last epoch.
func (l *Log) Epoch() Epoch { return l.epoch }

// Records returns all records in the order of their positions. They must not be changed.
func (l *Log) Records() []*Record { return l.records }

// Restart forgets what a process forgets when it ends.
func (l *Log) Restart() {
	l.began = l.end
	l.ForgetIDs()
	l.LoadDefaults()
}

// ForgetIDs empties the memory of event ids on which idempotency with the versions Any and StreamExists rests.
func (l *Log) ForgetIDs() { l.ids.clear() }

// NewGUID makes an id for an event of the server's own.
func NewGUID() esproto.GUID { return esproto.NewGUID(uuid.New()) }
