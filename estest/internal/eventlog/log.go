package eventlog

import (
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Log holds everything that a server has written: streams with their metadata, rights and users. Every operation
// copies little memory, so one lock is enough, and it makes the order of all operations plain.
type Log struct {
	facts  *Facts
	logger *slog.Logger
	now    func() time.Time
	epoch  Epoch // the last one that the log has

	observers []func(Commit)

	streams    map[string]*Stream
	latest     *Stream           // the last one that was looked up: one request looks several times
	types      map[string]string // the types of events, each under itself
	latestType string            // the last one that was looked up

	records    RecordList // in the order of their positions
	arena      arena      // that holds the records
	written    []*Record  // those of the last append: memory for the next
	end        int64      // position of the next record
	began      int64      // end of the log when the process began
	marks      []int64    // start positions of records that are not events with a position of their own, in order
	lastCommit int64      // position of the last record in the index; -1 without one
	lastEmpty  int64      // position of the last write of nothing, which no index has; -1 without one
	ids        idCache
	transact   map[int64]*transaction
	users      map[string]*User
	defaults   defaults
}

// New returns an empty log. f are the facts of the server's version; now tells the time.
func New(f *Facts, logger *slog.Logger, now func() time.Time) *Log {
	return &Log{
		facts: f, logger: logger, now: now, epoch: noEpoch,
		streams: make(map[string]*Stream), types: make(map[string]string),
		lastCommit: -1, lastEmpty: -1, end: firstPosition,
		transact: make(map[int64]*transaction), users: make(map[string]*User),
	}
}

// Commit tells the observers of a log that it has grown.
//
// The log calls its observers one after the other, in the order of Observe: replication to the other nodes of a
// cluster, volatile subscriptions, groups, projections. It calls them in the goroutine that writes, with the owner's
// lock held. Readers see the records already; the writer has no answer yet. An observer may write to the log. All
// observers hear of that write at once, so a later observer hears of it before it hears of its cause.
type Commit struct {
	Stream  *Stream   // of the records; nil if there are none
	Records []*Record // in the order of their numbers; empty if the new records are no events
}

// Observe adds an observer. The log calls it for each commit from now on. The observer may keep the records.
func (l *Log) Observe(observer func(Commit)) { l.observers = append(l.observers, observer) }

func (l *Log) tell(c Commit) {
	for _, observer := range l.observers {
		observer(c)
	}
}

// End returns the position of the next record.
func (l *Log) End() int64 { return l.end }

// LastCommit returns the position of the last commit that readers can see, -1 without one.
func (l *Log) LastCommit() int64 { return l.lastCommit }

// Epoch returns the last epoch.
func (l *Log) Epoch() Epoch { return l.epoch }

// Records returns all records in the order of their positions.
func (l *Log) Records() *RecordList { return &l.records }

// Restart forgets everything that does not outlive a process.
func (l *Log) Restart() {
	l.began = l.end
	l.ForgetIDs()
	l.LoadDefaults()
}

// ForgetIDs empties the memory of event ids on which idempotency with the versions Any and StreamExists rests.
func (l *Log) ForgetIDs() { l.ids.clear() }

// NewGUID makes an id for an event of the server's own.
func NewGUID() esproto.GUID { return esproto.NewGUID(uuid.New()) }

// commit shows records to readers and tells the observers. The records must be of one stream, and their numbers must
// follow its last one.
func (l *Log) commit(recs []*Record) {
	before := l.records.Len()
	for _, r := range recs {
		s := r.Stream
		if r.Number == esproto.DeletedStream {
			s.tombstone = r
		} else {
			s.events.add(r)
		}
		l.records.add(r)
		l.ids.add(r)
		l.lastCommit = r.Commit
		switch {
		case isMetastream(s.Name):
			l.setMetadata(s.Name[2:], r)
		case s.Name == settingsStream:
			l.defaults = parseDefaults(r.Data())
		}
	}
	l.tell(Commit{Stream: recs[0].Stream, Records: l.records.tail(before)})
}

// SystemAppend writes an event of the server itself. It checks nothing.
func (l *Log) SystemAppend(name, typ string, json bool, data, metadata []byte) *Record {
	s := l.streamFor(name)
	e := Event{ID: NewGUID(), Type: typ, JSON: json, Data: data, Metadata: metadata}
	r := l.newRecord(s, s.Last()+1, &e, l.ticks())
	l.commit([]*Record{r})
	return r
}

// SystemWrite is SystemAppend, and brings a soft-deleted stream back.
func (l *Log) SystemWrite(name, typ string, json bool, data, metadata []byte) *Record {
	s := l.Stream(name)
	soft := s != nil && s.SoftDeleted()
	r := l.SystemAppend(name, typ, json, data, metadata)
	if soft {
		l.showFrom(r.Stream, r.Number)
	}
	return r
}
