// Package estest is an EventStore in the process, for tests. It speaks EventStore's TCP protocol like real servers,
// version by version. Over HTTP it serves the requests of a TCP client, and appends to streams and reads them, in JSON.
// Over HTTP it has no deletes, no $all, no writes of metadata and no long polls. It keeps everything in memory.
//
// [Run] starts a server for a test, and [RunCluster] several servers that share one log and elect a leader:
//
//	server := estest.Run(t) // closed when the test ends
//	client, err := esclient.Open(server.ConnectionString())
//
// Options choose the version, TLS, users, system projections and more. A test controls a server in these ways:
//
//   - Append, Read, Streams, Snapshot and Stats write and read without a connection.
//   - Intercept makes it refuse, delay, lose or change the answer to requests, once or for a while.
//   - DropConnections, CutAfterSent, CutAfterReceived, Pause, WithholdHeartbeats, Stop, Restart, Crash and
//     ForgetEventIDs imitate faults of networks and servers.
//   - PauseProjections, ResumeProjections and WaitForProjections control projections, which write after the reply to an
//     append.
//   - WithClock makes it use a Clock that the test advances, so that a test of a timeout takes no time.
//   - A Cluster can stop, kill and cut off nodes, elect leaders, and make gossip lie.
//
// The page at the server's HTTP address shows streams, events and persistent subscription groups, live. The command
// cmd/estest runs the same server as a program.
package estest
