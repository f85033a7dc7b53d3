// Package discovery tells a client of EventStore's TCP protocol which node to dial next.
//
// It has three sources of nodes. [Static] has a list of addresses. [DNS] looks them up by name (A, AAAA or SRV
// records). [Gossip] asks the nodes of a cluster, over HTTP or HTTPS, for its members and its leader. Each of them is a
// [Discoverer]. An application may supply its own.
//
// A call of Next is one attempt with all known nodes. It soon ends with a [Target], or with an [*Error] that has a
// reason for each candidate. The caller decides how long to pause between attempts and when to give up. A Discoverer
// never gives up: each attempt begins anew.
//
// The caller reports the result of dialing each Target. Gossip alone is not enough: a node may call itself alive and
// refuse TCP connections. Such a node is held off, longer after each failure, so that other nodes get their turn.
package discovery
