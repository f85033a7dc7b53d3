// Package estest is an EventStore in the process, for tests. It speaks EventStore's TCP protocol as real servers do,
// version by version. Over HTTP it serves what a TCP client needs, and appends to streams and reads them, in JSON:
// there are no deletes, no $all, no writes of metadata and no long polls. Everything is kept in memory.
//
// Run starts a server for a test, and RunCluster several that keep one log and elect a leader:
//
//	server := estest.Run(t) // closed when the test ends
//	client, err := esclient.Open(server.ConnectionString())
//
// Options choose the version to behave as, TLS, users, system projections and more. A test steers a server in these
// ways:
//
//   - Append, Read, Streams, Snapshot and Stats fill it and look at it without a connection.
//   - Intercept has it refuse, delay, lose or answer differently what clients ask for, once or for a while.
//   - DropConnections, CutAfterSent, CutAfterReceived, Pause, WithholdHeartbeats, Stop, Restart, Crash and
//     ForgetEventIDs are what happens to networks and servers.
//   - PauseProjections, ResumeProjections and WaitForProjections are for what projections write, which comes after the
//     reply to an append.
//   - WithClock has it do by a Clock whatever it does by time, so that a test of a timeout takes no time.
//   - In a Cluster nodes are stopped, killed and cut off, leaders elected, and gossip lies.
//
// The page at the server's HTTP address shows streams, events and persistent subscription groups, live. Command
// cmd/estest is the same server as a program.
package estest
