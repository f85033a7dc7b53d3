package groups

// Facts are the differences between versions that concern groups. A bool says whether the server does something; the
// other facts are values that it writes.
type Facts struct {
	HasPinnedByCorrelation bool   // has the strategy PinnedByCorrelation
	ChecksGroupStart       bool   // refuses a start below -1
	ChecksGroupBuffers     bool   // refuses a page that is not smaller than the buffer
	ChecksSettingsFirst    bool   // checks the settings of a new group before it looks whether there is such a group
	ChangeChecksStream     bool   // checks the name of the stream when a group is changed or deleted
	ChangedGroupStays      bool   // leaves a changed group at its place in the list; else puts it last
	AckFreesAllSlots       bool   // frees the slots of an event at all clients that have it; else at the one that acks
	CountsDeliveries       bool   // measures progress by how many events were delivered; else by their numbers
	RetriesByOriginal      bool   // sorts retries by the number of the link; else of the event that it leads to
	ReplayedComeLast       bool   // puts replayed events behind all other retries
	ZeroTimeoutIsOver      bool   // takes a message timeout of 0 for over at once; else for none
	LeavingAddsRetry       bool   // events of a client that leaves get one retry more; else their count becomes one
	HardDeleteEndsGroup    bool   // drops the clients of a group if it finds the stream hard-deleted
	CheckpointIsText       bool   // writes the number of a checkpoint as a text
	ConfigHasPosition      bool   // writes the start of a group into the configuration also as a position
	ConfigType             string // type of the events that hold the configuration of the groups
	OnAllText              string // why it makes no group on $all for a client over TCP
}
