// Package groups has the persistent subscription groups of an embedded EventStore.
//
// A Set has the groups of a server. A Group reads its stream in an eventlog.Log, hears as an observer of what is
// written, and delivers events to Consumers; it knows nothing of connections and frames. A strategy picks the consumer
// that gets an event. Events that wait are in the buffers of the group (buffer.go); checkpoints, parked events and the
// configuration of all groups are written to the log. The Facts of a server's version say how.
//
// The lock of the log guards a Set and all that it has. A Set has no goroutine and no timer: its owner gives it the
// time, and calls Tick once a second.
package groups
