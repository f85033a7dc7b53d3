// Package engine moves frames: many calls in parallel over one TCP connection at a time, and a new connection when that
// one is lost. It knows correlation ids, heartbeats, authentication and time limits, but not what an operation means.
//
// A Conn is one TCP connection with two goroutines. Callers append their frames to a shared buffer under the lock; the
// writer swaps the buffer and writes what has gathered in one call, outside the lock. The reader finds the Receiver
// of each frame by its correlation id and hands it the payload; it answers heartbeats by itself and never waits for a
// consumer. A Conn dies once, by die: every Receiver that still waits is failed there, and nowhere else.
//
// A Manager owns the current Conn and one goroutine that replaces it, with backoff, until it is closed.
package engine
