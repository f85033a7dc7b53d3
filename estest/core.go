package estest

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/groups"
)

// core joins the parts of a server: its log, its groups, its volatile subscriptions and its connections. One lock
// guards all of them. The nodes of a cluster share the lock.
type core struct {
	log      *eventlog.Log
	persona  *persona
	logger   *slog.Logger
	clock    clock
	now      func() time.Time // of the clock
	insecure bool             // every client may do everything, and there are no users
	instance string           // the id of the process that gossip tells
	priority int              // in elections

	node      *node               // its place in a cluster; nil without one
	projector *eventlog.Projector // nil without projections
	projected *signal             // raised when projections get on; the nodes of a cluster share it

	closed   bool      // there is no process
	stopping bool      // the process says farewell
	readyAt  time.Time // when the process serves clients
	serves   bool      // that time has come
	usersAt  time.Time // when users can log in

	mu       *sync.Mutex
	conns    map[*conn]struct{}
	volatile *volatileSet
	groups   *groups.Set
}

func newCore(p *persona, logger *slog.Logger, cl clock) *core {
	c := &core{
		log: eventlog.New(&p.logFacts, logger, cl.Now), persona: p, logger: logger, clock: cl, now: cl.Now,
		instance: uuid.NewString(), projected: new(signal), mu: new(sync.Mutex), conns: make(map[*conn]struct{}),
		volatile: newVolatileSet(),
	}
	c.groups = groups.NewSet(groups.Config{
		Log: c.log, Facts: &p.groupFacts, Logger: logger, Now: cl.Now, Majority: c.hasMajority,
	})
	c.log.Observe(func(made eventlog.Commit) { c.node.replicate(made) })
	c.log.Observe(c.volatile.observe)
	c.log.Observe(c.groups.Observe)
	c.log.Observe(func(made eventlog.Commit) { c.projector.Observe(made) })
	return c
}

// begin fills the log of a new core with a snapshot, if there is one.
func (c *core) begin(cfg *config) error {
	c.log.LoadDefaults()
	if cfg.snapshot == nil {
		return nil
	}
	if err := c.log.Restore(cfg.snapshot.saved()); err != nil {
		return fmt.Errorf("estest: the snapshot's %w", err)
	}
	c.restart()
	return nil
}

// leads makes the server the leader, of a cluster or alone. With cfg it adds the users of the options.
func (c *core) leads(cfg *config) {
	var builtin []*eventlog.User
	if !c.insecure {
		builtin = eventlog.BuiltinUsers()
	}
	c.log.Lead(c.instance, builtin)
	if cfg != nil {
		for _, u := range cfg.users {
			c.log.AddUser(*u)
		}
	}
	c.projector.Start()
}

// hasMajority reports whether a write is safe. Without a majority the next leader may not have it.
func (c *core) hasMajority() bool { return c.node == nil || c.node.quorum }

// mayProject reports whether projections may write at the moment.
func (c *core) mayProject() bool {
	return !c.stopping && !c.closed && !c.starting() && c.hasMajority()
}

// restart ends a process and begins a new one, with the same log.
func (c *core) restart() {
	c.instance = uuid.NewString()
	c.log.Restart()
	c.groups.Restart()
	c.projector.Forget()
}

// login returns the user with these credentials; nil if there is none.
func (c *core) login(login, password string) *eventlog.User {
	switch {
	case c.insecure:
		return insecureUser
	case c.withoutUsers():
		return nil
	}
	return c.log.Login(login, password)
}
