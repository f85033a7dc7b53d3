package eventlog

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// Facts are the differences between versions that the log depends on. A bool says whether the server does something.
// The other facts are values that the server writes.
type Facts struct {
	// The form of records.
	Style esproto.Style // whether fields that are zero are left out

	// Rights.
	DeniedText                string // text of a refusal for lack of rights
	RefusedReadHasText        bool   // says in words why a read is refused
	DeniesAnonymous           bool   // gives clients that do not authenticate no right on any stream
	EmptyNameIsAll            bool   // checks rights on a stream without a name as those on $all
	NestedMetadataIsSystem    bool   // takes metadata of metadata for a system stream; else no user has a right on it
	GroupsNeedOperator        bool   // operators may change groups; else users who may write to the stream of settings
	ReadRightIsFirst          bool   // checks the right to read before all else of a request
	ChecksRightsOnLinkTarget  bool   // refuses a link if its target must not be read
	TransactionWriteIsChecked bool   // checks rights at each write of a transaction; else at its start and commit only

	// Writes.
	KnownWriteHasPosition bool // tells the position of a write that it has already
	DeleteNeedsStream     bool // refuses to soft-delete a stream that never was

	// Reads.
	DollarIsMetadata bool // takes a name that begins with $ for a metadata stream if the event is missing
	EmptyWritesCount bool // counts writes of no events in the last position that reads tell
	PageEndWraps     bool // the end of a page may wrap around at the greatest numbers
	SeeksByAge       bool // gives the position to read on if all events of a page are too old
	BadLinkIsEvent   bool // reads a link as an event if its data name none
	PushedLinkIsCut  bool // reads the stream in a link only up to a second @ when it pushes the event to a group
	HidesEpochs      bool // keeps $epoch-information out of $all
	HasGroupsOnAll   bool // has groups on $all, though not over TCP, and keeps their own streams out of $all

	// The events of a new leader.
	WritesEpochEvents     bool // writes an event to $epoch-information when it becomes the leader
	EpochTellsLeader      bool // the event names the leader of the epoch
	RewritesScavenges     bool // writes the metadata of $scavenges each time that it becomes the leader
	ScavengesAreProtected bool // gives only operators the right to read $scavenges
	ScavengesHaveEvent    bool // begins $scavenges with an event

	// Projections.
	HasByCorrelation     bool  // has the projection $by_correlation_id
	CorrelationSeesLinks bool  // shows links to $by_correlation_id
	HidesInvalidJSON     bool  // hides events from projections whose data are called JSON and are not
	ProjectionsSubsystem int64 // version of the subsystem that it writes into the state of a projection
}
