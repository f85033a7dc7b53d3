// Package wiretest lets a test play a server frame by frame, for behaviour that no real server shows on demand. A
// Listener takes the connections of a client. A Peer is the server's end of one connection. Only tests use this
// package. It knows the wire format and nothing else.
package wiretest
