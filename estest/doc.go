// Package estest is an EventStore in the process, for tests. It speaks EventStore's TCP protocol as real servers do, version
// by version, and serves what a TCP client needs of HTTP; everything is kept in memory.
//
// Run starts a server for a test, and RunCluster several that keep one log and elect a leader:
//
//	server := estest.Run(t)
//	client, err := esclient.Open(server.ConnectionString())
//
// Tests can look into a server and write to it without a connection, let a Clock decide what time it is, intercept requests,
// cut connections, let the server hang or restart, and in a cluster kill nodes, cut them off and have gossip lie.
package estest
