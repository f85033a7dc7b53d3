// Package wiretest lets a test play a server, frame by frame, for what no real server does on demand. A Listener takes
// the connections of a client; a Peer is the server's end of one. It is for tests only, and knows nothing but the wire
// format.
package wiretest
