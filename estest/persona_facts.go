package estest

import (
	"net/http"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/groups"
)

// era is a release since which servers behave differently in some way.
type era int

const (
	era4  era = iota // 4.1
	era5             // 5.0
	era20            // 20.6 and 20.10
	era21            // 21.10
	era22            // 22.10
	era23            // 23.10
)

// versions has the release of each persona. Only personaOf asks for it: all other code asks for a fact.
var versions = map[Persona]struct {
	full string
	era  era
}{
	Persona414:  {"4.1.4.0", era4},
	Persona5011: {"5.0.11.0", era5},
	Persona2310: {"23.10.6.0", era23},
}

// logFacts are the facts that the log depends on.
type logFacts = eventlog.Facts

// groupFacts are the facts that the groups depend on.
type groupFacts = groups.Facts

// facts are the differences between versions. A bool says whether the server does something; the other facts are
// values that it writes. The functions below change the facts of each release, with those of the log and of the
// groups.
type facts struct {
	logFacts
	groupFacts

	// Words.
	leaderName   string // name of a leader
	followerName string // name of a follower

	// Connections.
	beatsWhenItIsSilent   bool // sends a heartbeat also when it has sent nothing else, and does not stop while it waits
	narrowsDeletedNumber  bool // fits the number of a deleted stream into 32 bits for clients that are not identified
	loginMayBeToken       bool // takes a login whose first letter is not ASCII for an invalid token
	emptyPasswordMayEnd   bool // takes credentials with an empty password and nothing behind them
	retriesFailedLogin    bool // checks credentials again that a connection failed with, for each request without any
	authenticatesLater    bool // refuses requests behind Authenticate until it has checked the credentials
	hasInsecureMode       bool // can run without TLS and users
	leaderAddressIsPlain  bool // always gives the plain address of the leader, with port 0 if there is none
	hasFilters            bool // has the commands that filter $all
	subscribingNeedsName  bool // fails without a reply if the request has no field for the stream
	scavengeRepliesTotals bool // answers a scavenge with time and space instead of an id
	scavengeRefusalIsLost bool // fails to answer if a scavenge is refused

	// Writes.
	onlyDataCounts        bool // holds only the data of an event against the limit of its size
	deleteMayExpectStream bool // takes StreamExists as the expected version of a delete
	deleteTellsVersion    bool // tells the version of the stream in the reply to a delete

	// Groups.
	joiningNeedsName bool // fails without a reply if the name of the stream is empty
	joiningNeedsUser bool // only authenticated users may join a group, even if every user may read the stream
	emptyAckIsTaken  bool // takes acks and naks of no events

	// Projections.
	duplicateNameText     string // text before the name of a projection that is taken
	restartsProjections   bool   // restarts the subsystem on request
	projectionLeaderQueue string // name of its queue in the statistics

	// HTTP in general.
	absentTextIsNull  bool   // writes null for a text that is missing; else leaves it out
	tellsMessageTypes bool   // tells the number and the name of the message that an answer was in the server
	pathIsReadAgain   bool   // unescapes the path and reads it as a URL again; else unescapes its parts twice
	leaderHeaders     string // headers by which pages of other origins may ask for the leader

	// HTTP: streams.
	streamsNeedUser        bool // refuses requests for a stream without credentials, with any rights on the stream
	describingNeedsRight   bool // only users who may read a stream may see its media types
	publicStreamsAreShared bool // caches may share a stream that everyone may read
	entryTellsRedacted     bool // shows whether an event is redacted

	// HTTP: groups.
	restartsGroups        bool // restarts the subsystem on request
	badGroupStatus        int  // status if the settings of a group are refused
	replayMayStop         bool // replays parked events up to a number
	groupTellsOutstanding bool // counts the messages that wait for an ack
	groupTellsPositions   bool // tells positions and how many events are parked
	clientTellsConnection bool // tells the name of a client's connection

	// HTTP: users.
	usersSeeThemselves bool // shows users to themselves; else to administrators only
	passwordIsOwn      bool // users may change only their own password; else any password whose current value they know

	// HTTP: the node.
	infoTellsFeatures       bool // tells its features; else how far it runs projections
	gossipHasOneEndpoint    bool // has one HTTP address; else an internal and an external one
	gossipTellsVersion      bool // tells the version of each node
	scavengeHasID           bool // gives a scavenge an id, stops it by that, and takes startFromChunk and threads
	scavengeTextHasID       bool // answers with the id as text; else with the name of a type
	scavengeHasThreshold    bool // takes threshold and throttlePercent
	scavengeCanBeSeen       bool // shows the scavenge that runs
	priorityCanBeSet        bool // changes the priority of a node in elections on request
	statsTellLoad           bool // tells the load of the machine; else the share of the processor
	statsTellTotalMemory    bool // tells how much memory the machine has
	statsTellFragments      bool // tells the fragmentation of the heap
	statsTellCaches         bool // has statistics of its caches
	statsHaveRedactionQueue bool // has a queue for redactions
}

// factsOf returns the facts of a release: the facts of 4.1 with the changes of each later release.
func factsOf(e era) facts {
	f := factsOf41
	for _, change := range changes[:e] {
		change(&f)
	}
	return f
}

var factsOf41 = facts{
	leaderName: "Master", followerName: "Slave", narrowsDeletedNumber: true, retriesFailedLogin: true,
	leaderAddressIsPlain: true, subscribingNeedsName: true, scavengeRepliesTotals: true, joiningNeedsName: true,
	duplicateNameText: "Duplicate projection name: ", projectionLeaderQueue: "Projections Master",
	pathIsReadAgain: true, leaderHeaders: "ES-RequiresMaster", publicStreamsAreShared: true,
	badGroupStatus: http.StatusInternalServerError,
	logFacts: logFacts{
		DeniedText: "Access denied.", ChecksRightsOnLinkTarget: true, DollarIsMetadata: true, EmptyWritesCount: true,
		PageEndWraps: true, PushedLinkIsCut: true, RewritesScavenges: true, ScavengesHaveEvent: true,
		CorrelationSeesLinks: true,
	},
	groupFacts: groupFacts{ConfigType: "PersistentConfig1", OnAllText: "Bad stream name."},
}

// changes are those of each release behind 4.1, in the order of the eras.
var changes = [...]func(f *facts){
	(*facts).since50, (*facts).since206, (*facts).since2110, (*facts).since2210, (*facts).since2310,
}

func (f *facts) since50() {
	f.beatsWhenItIsSilent = true
	f.subscribingNeedsName = false
	f.scavengeRepliesTotals = false
	f.GroupsNeedOperator = true
	f.BadLinkIsEvent = true
	f.RewritesScavenges = false
	f.ScavengesAreProtected = true
	f.ScavengesHaveEvent = false
	f.AckFreesAllSlots = true
	f.HasByCorrelation = true
	f.streamsNeedUser = true
	f.groupTellsOutstanding = true
	f.scavengeHasID = true
}

func (f *facts) since206() {
	f.DeniedText = "Access Denied"
	f.leaderName, f.followerName = "Leader", "Follower"
	f.loginMayBeToken = true
	f.emptyPasswordMayEnd = true
	f.retriesFailedLogin = false
	f.authenticatesLater = true
	f.hasInsecureMode = true
	f.leaderAddressIsPlain = false
	f.hasFilters = true
	f.EmptyNameIsAll = true
	f.NestedMetadataIsSystem = true
	f.ReadRightIsFirst = true
	f.RefusedReadHasText = true
	f.ChecksRightsOnLinkTarget = false
	f.TransactionWriteIsChecked = true
	f.onlyDataCounts = true
	f.KnownWriteHasPosition = true
	f.DollarIsMetadata = false
	f.EmptyWritesCount = false
	f.SeeksByAge = true
	f.PushedLinkIsCut = false
	f.HidesEpochs = true
	f.WritesEpochEvents = true
	f.EpochTellsLeader = true
	f.HasPinnedByCorrelation = true
	f.joiningNeedsName = false
	f.joiningNeedsUser = true
	f.ZeroTimeoutIsOver = true
	f.LeavingAddsRetry = true
	f.projectionsOf206()
	f.httpOf206()
}

func (f *facts) projectionsOf206() {
	f.CorrelationSeesLinks = false
	f.HidesInvalidJSON = true
	f.ProjectionsSubsystem = 4
	f.duplicateNameText = "Duplicate projection names : "
	f.restartsProjections = true
	f.projectionLeaderQueue = "Projections Leader"
}

func (f *facts) httpOf206() {
	f.pathIsReadAgain = false
	f.leaderHeaders = "ES-RequireMaster, ES-RequireLeader"
	f.streamsNeedUser = false
	f.describingNeedsRight = true
	f.publicStreamsAreShared = false
	f.restartsGroups = true
	f.badGroupStatus = http.StatusBadRequest
	f.replayMayStop = true
	f.clientTellsConnection = true
	f.usersSeeThemselves = true
	f.passwordIsOwn = true
	f.infoTellsFeatures = true
	f.gossipHasOneEndpoint = true
	f.scavengeTextHasID = true
	f.priorityCanBeSet = true
	f.statsTellLoad = true
}

func (f *facts) since2110() {
	f.deleteMayExpectStream = true
	f.deleteTellsVersion = true
	f.DeleteNeedsStream = true
	f.HasGroupsOnAll = true
	f.OnAllText = "Persistent subscriptions to $all are not supported over TCP."
	f.ChecksGroupStart = true
	f.ChecksGroupBuffers = true
	f.ChangeChecksStream = true
	f.ChangedGroupStays = true
	f.CountsDeliveries = true
	f.RetriesByOriginal = true
	f.ReplayedComeLast = true
	f.HardDeleteEndsGroup = true
	f.CheckpointIsText = true
	f.ConfigHasPosition = true
	f.absentTextIsNull = true
	f.groupTellsPositions = true
	f.statsTellTotalMemory = true
	f.statsTellFragments = true
}

func (f *facts) since2210() {
	f.Style = esproto.OmitZeros
	f.narrowsDeletedNumber = false
	f.scavengeRefusalIsLost = true
	f.PageEndWraps = false
	f.ChecksSettingsFirst = true
	f.emptyAckIsTaken = true
	f.scavengeHasThreshold = true
}

func (f *facts) since2310() {
	f.DeniesAnonymous = true
	f.ConfigType = "$PersistentConfig"
	f.tellsMessageTypes = true
	f.entryTellsRedacted = true
	f.gossipTellsVersion = true
	f.scavengeCanBeSeen = true
	f.statsTellCaches = true
	f.statsHaveRedactionQueue = true
}
