// Package groups has the persistent subscription groups of an embedded EventStore.
//
// A Set has the groups of a server. A Group reads its stream from an eventlog.Log, observes new events, and delivers
// events to Consumers. It knows nothing of connections and frames. A strategy chooses the consumer of an event. Events
// that wait are in the buffers of the group (buffer.go). A group writes its checkpoints and parked events, and the Set
// the configuration of all groups, to the log. The Facts of a server's version say how.
//
// The lock of the log guards a Set and its groups. A Set has no goroutine and no timer: its owner calls Tick once a
// second.
package groups
