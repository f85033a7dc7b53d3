// Package discovery tells a client of EventStore's TCP protocol which node to dial next.
//
// There are three sources of nodes: Static goes round a list of addresses, DNS looks them up by name (A, AAAA or SRV
// records), and Gossip asks the nodes of a cluster, over HTTP or HTTPS, who is there and who leads. All are a
// Discoverer, and an application may bring its own.
//
// A call of Next is one attempt over everything that is known. It ends with a Target or with an *Error that has a
// reason for each candidate, and it ends soon: pauses between attempts, and when to give up, are the caller's
// business. A Discoverer itself never gives up; whatever an attempt came to, the next one starts afresh.
//
// The caller reports with Report what became of each Target. That closes a gap that gossip leaves open: a node that
// calls itself alive, and yet refuses TCP connections, is held off for a time that grows with every failure, so it is
// not dialed over and over, and other nodes get their turn.
package discovery
