// Package eventlog has what an embedded EventStore writes: streams of events in one log, with their metadata, rights,
// users and projections.
//
// A Log decides what becomes of an append, and what a read shows, by the Facts of a server's version. It knows neither
// connections nor groups: they ask the Log, and observe it. It has no lock. Its owner guards a Log, with its streams,
// users and Projector, by one lock, which is held in every call that does not say otherwise. A Record never changes
// once it is committed, so who has one needs no lock.
package eventlog
