package estest

import (
	"errors"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// farewellTime is how long a server that stops keeps its connections open after the drop of all subscriptions. Requests
// in between are lost, or refused as NotReady. Real servers take longer.
const farewellTime = 50 * time.Millisecond

var errClosed = errors.New("estest: the server is closed")

// Close ends the server at once, as a crash does, and releases all resources. Its data are gone. A second call does
// nothing.
func (s *Server) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.shutdown(false)
}

// Stop ends the server gracefully, as its operator does, and as a container runtime does with SIGTERM: the server
// accepts no more connections, drops all subscriptions with the reason Unsubscribed, and cuts the connections 50 ms
// later. Acks in between are lost, so the next process may send acked events again. Other requests in between are
// refused as NotReady. Otherwise Stop is [Server.Close].
func (s *Server) Stop() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.shutdown(true)
}

// Restart is [Server.Stop] and a new process with the same ports and data. Streams and groups stay; groups go on from
// their checkpoints. Connections and events in flight are lost, and so is the cache of event ids on which idempotency
// with the versions Any and StreamExists rests. Restart returns an error after [Server.Close].
func (s *Server) Restart() error { return s.again(true) }

// Crash is [Server.Restart] after a kill of the process: the server cuts the connections without dropping their
// subscriptions, and acks count until then.
func (s *Server) Crash() error { return s.again(false) }

func (s *Server) again(graceful bool) error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return errClosed
	}
	if err := s.shutdown(graceful); err != nil {
		return err
	}
	if s.node == nil {
		s.core.mu.Lock() // a node's core forgets when the node leaves
		s.core.restart()
		s.core.leads(nil)
		s.core.mu.Unlock()
	}
	return s.listen()
}

// shutdown closes everything that listen has started.
func (s *Server) shutdown(graceful bool) error {
	s.mu.Lock()
	if s.down {
		s.mu.Unlock()
		return nil
	}
	s.down = true
	s.mu.Unlock()
	if graceful {
		s.bidFarewell()
	}
	s.node.leaves()
	s.alarms.stop()
	s.tcp.Close()
	var err error
	if s.http != nil {
		err = s.web.Close()
	}
	s.core.mu.Lock()
	s.missed = nil
	s.core.closed = true
	s.core.projected.raise()
	s.core.mu.Unlock()
	s.DropConnections()
	close(s.halt)
	s.core.mu.Lock()
	s.awake() // after the connections: a process that was killed in a hang confirms nothing
	s.core.mu.Unlock()
	s.wg.Wait()
	return err
}

// bidFarewell tells clients that their subscriptions have ended, and leaves them a moment.
func (s *Server) bidFarewell() {
	s.tcp.Close()
	s.core.mu.Lock()
	s.core.stopping = true
	s.awake()
	s.core.volatile.dropAll()
	s.core.groups.DropClients()
	s.core.mu.Unlock()
	time.Sleep(farewellTime)
}

// WithStartUp gives every start and restart the two phases of a real server:
//
//   - While it starts, the server accepts connections and answers heartbeats. Authenticate gets no answer, operations
//     are refused as NotReady, and HTTP answers 503. Real servers take some seconds.
//   - While an empty database has no users yet, right credentials are refused as Unauthorized, over HTTP as well. From
//     20.6 on the refusal holds for the connection until another Authenticate succeeds there. Real servers take 0.2 to
//     0.6 s.
//
// By default both take no time. In a cluster the phases concern only clients of a node: the node follows and is elected
// meanwhile.
func WithStartUp(starting, emptyDatabase time.Duration) Option {
	return func(c *config) { c.starting, c.emptyDatabase = starting, emptyDatabase }
}

// processBegins notes that a process starts.
func (c *core) processBegins(cfg *config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping, c.closed, c.serves, c.priority = false, false, false, 0
	c.readyAt = c.now().Add(cfg.starting)
	c.usersAt = c.readyAt.Add(cfg.emptyDatabase)
}

// starting reports whether the process serves no client yet.
func (c *core) starting() bool {
	if !c.serves { // then it serves until it ends: most requests do not read the clock
		c.serves = !c.now().Before(c.readyAt)
	}
	return !c.serves
}

// withoutUsers reports whether the server has no users yet, so that no login can succeed.
func (c *core) withoutUsers() bool { return c.now().Before(c.usersAt) }

// unready deals with an operation of a process that is starting or stopping, unless it is served even then. cmd is nil
// if the server does not know the command.
func (c *conn) unready(cmd *command, f *frame) bool {
	if !c.core.stopping && !c.core.starting() {
		return false
	}
	switch {
	case cmd == nil || cmd.unready == refused:
		c.notHandled(f.id, esproto.NotHandled_NotReady, nil)
	case cmd.unready == answered:
		return false
	}
	return true
}
