package estest

import (
	"errors"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// farewellTime is how long a server that stops leaves its connections open behind the word that subscriptions have
// ended: what clients send meanwhile is lost, or refused as NotReady. Real servers take longer.
const farewellTime = 50 * time.Millisecond

var errClosed = errors.New("estest: the server is closed")

// Close ends the server at once, as a crash does, and everything that it has started. What it held is gone. Closing it
// again does nothing.
func (s *Server) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.shutdown(false)
}

// Stop ends the server as its operator does, and a container runtime with SIGTERM: it takes no connections any more,
// drops all subscriptions, with the reason Unsubscribed, and only then, 50 ms later, cuts the connections. Acks that
// come in between are lost, so acked events may come again from the next process; all other requests are refused as
// NotReady. Otherwise it is as Close.
func (s *Server) Stop() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.shutdown(true)
}

// Restart is the end of the server's process by Stop and the start of another on the same ports and data. Streams are
// kept, also groups, which go on behind their checkpoints. Lost are the connections, what was in flight, and the memory
// of event ids on which idempotency with the versions Any and StreamExists rests. A server that was closed is not
// restarted.
func (s *Server) Restart() error { return s.again(true) }

// Crash is Restart where the process is killed: the connections are cut without a word about their subscriptions, and
// acks count until then.
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

// shutdown ends what listen has started.
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
	s.core.mu.Lock()
	s.missed = nil
	s.core.closed = true
	s.awake()
	s.core.projected.raise()
	s.core.mu.Unlock()
	s.tcp.Close()
	var err error
	if s.http != nil {
		err = s.web.Close()
	}
	s.DropConnections()
	close(s.halt)
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

// WithStartUp has the server begin as real ones do, each time that it is started or restarted. While it is starting, it
// takes connections and answers heartbeats, but Authenticate gets no answer, operations are refused as NotReady, and
// HTTP answers 503. Then, while an empty database has no users yet, right credentials are refused as Unauthorized, over
// HTTP as well; from 20.6 on such a refusal holds on its connection until another Authenticate succeeds there. Real
// servers take some seconds for the first, and with an empty database 0.2 to 0.6 s for the second. The default is none
// of both. A node of a cluster begins so to its clients only: it follows and is elected all the same.
func WithStartUp(starting, emptyDatabase time.Duration) Option {
	return func(c *config) { c.starting, c.emptyDatabase = starting, emptyDatabase }
}

// processBegins notes that a process starts.
func (c *core) processBegins(cfg *config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping, c.closed, c.priority = false, false, 0
	c.readyAt = c.now().Add(cfg.starting)
	c.usersAt = c.readyAt.Add(cfg.emptyDatabase)
}

// starting reports whether the process does not serve anybody yet.
func (c *core) starting() bool { return c.now().Before(c.readyAt) }

func (c *core) isStarting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starting()
}

// withoutUsers reports whether nobody can log in yet.
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
