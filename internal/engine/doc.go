// Package engine moves frames: many requests in parallel over one TCP connection, and a new connection when that one is
// lost. It knows correlation ids, heartbeats, authentication and time limits. It does not know what an operation means.
//
// # Parts
//
// A [Conn] is one TCP connection. It has two goroutines, the reader and the writer. A [Receiver] takes the frames that
// carry one correlation id: the single reply to a call, or all frames of a subscription.
//
// A [Manager] owns the current Conn and one goroutine, which replaces the Conn when it dies, with a backoff.
//
// # One request, from Do to Wake
//
//  1. [Conn.Do] (call.go) makes a Receiver for the operation and calls Conn.start (send.go). [Conn.Begin] does the same
//     and does not wait.
//  2. Conn.start waits for room in the write buffer and takes the lock. It adds the Receiver to the table
//     (receiver_table.go), which assigns the number in the correlation id, and appends the frame to the write buffer.
//  3. The goroutine that has the turn to write swaps the buffers and writes the frame to the socket, outside the lock
//     (writer.go).
//  4. The reader goroutine (reader.go) reads bytes through its monitor (monitor.go) and cuts them into frames. For each
//     frame it looks up the Receiver, removes it if the reply is single, and calls [Receiver.Receive], which has the
//     operation decode the payload.
//  5. Before the reader waits for more bytes it calls [Receiver.Wake] of each Receiver that got frames (wake.go). Wake
//     ends Conn.Do, or [Pending.Wait], in the goroutine of the caller.
//
// A request can end in other ways. Its context ends: Conn.Do, Pending.Wait, or the watcher of a shared context
// (shared_context.go), removes the Receiver. Its time is up: the monitor fails it (timeout.go). The connection dies:
// Conn.die (conn.go) fails all Receivers that still wait. A call is removed from the table before it gets its reply or
// its error, so it gets exactly one.
//
// # Files
//
// The connection:
//   - conn.go: Conn, its fields, and how it ends
//   - receiver.go: the interfaces Request and Receiver, and Handle
//   - call.go: operations with a single reply
//   - repeat.go: calls that also take a late reply to an earlier attempt
//   - shared_context.go: one watcher for the calls that share a context
//   - unsubscribe.go: the end of subscriptions, and frames of subscriptions that have no Receiver
//   - errors.go: the errors that end calls, and the replies that any request may get
//
// Sending and receiving:
//   - send.go: registers Receivers and appends frames to the write buffer
//   - writer.go: the turn to write, and the writer goroutine
//   - reader.go: the reader goroutine; finds the Receiver of each frame
//   - wake.go: wakes the Receivers that got frames
//   - receiver_table.go: the Receivers by their numbers
//   - memory.go: memory for the parts of payloads that Receivers keep
//
// Time limits:
//   - monitor.go: the reads of the connection; at each tick it checks the peer and the time limits
//   - heartbeat.go: the frames of heartbeats
//   - progress.go: how far the sent bytes have got
//   - sendqueue_linux.go, sendqueue_other.go: how many bytes the kernel holds
//   - timeout.go: the operation timeout
//
// Connecting:
//   - manager.go: Manager, and its loop
//   - connect.go: one attempt to connect, and the meaning of its error
//   - handshake.go: authentication and identification
//   - node_check.go: checks the node while the connection lives
//   - backoff.go: the pauses between attempts
//   - transient.go: which errors will probably pass
//   - not_eventstore.go: peers that are no EventStore
package engine
