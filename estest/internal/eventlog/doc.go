// Package eventlog is the log of an embedded EventStore: streams of events, with their metadata, rights, users and
// projections.
//
// A Log decides about appends and reads by the Facts of a server's version. It knows neither connections nor groups:
// they ask the Log, and observe it. It has no lock. Its owner guards the Log, its streams, its users and its Projector
// by one lock, and holds that in every call. A Record never changes after its commit, so a reader needs no lock.
package eventlog
