package estest

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// core is the state of a server and what changes it. One lock guards all of it: every operation is a few copies of
// memory, and a single lock makes the order of everything that happens plain. The nodes of a cluster share the lock.
type core struct {
	persona  *persona
	logger   *slog.Logger
	clock    clock
	now      func() time.Time // of the clock
	instance string           // the id of the process that gossip tells
	epoch    epoch            // the last one that the log has

	priority int  // in elections
	insecure bool // everybody may do everything, and there are no users

	projector *projector // nil without projections
	projected *signal    // raised when projections get on; the nodes of a cluster share it

	closed   bool      // there is no process
	stopping bool      // the process says farewell
	readyAt  time.Time // when the process serves clients
	usersAt  time.Time // when users can log in

	mu         *sync.Mutex
	streams    map[string]*stream
	log        []*record // in the order of their positions
	arena      arena     // that holds the records
	written    []*record // those of the last append: memory for the next
	end        int64     // where the next record goes
	began      int64     // where the log ended when the process began
	marks      []int64   // where the records begin that are not events with a place of their own, in order
	lastCommit int64     // position of the last record in the index; -1 without one
	lastEmpty  int64     // position of the last write of nothing, which no index has; -1 without one
	ids        idCache
	transact   map[int64]*transaction
	users      map[string]*user
	defaults   defaults
	conns      map[*conn]struct{}
	volatile   map[esproto.CorrelationID]*volatileSub
	byStream   map[string][]*volatileSub // the same by stream; "" is all streams
	groups     map[string]*group
	byGroup    map[string][]*group // the same by stream
	listed     []*group            // the same in the order of the configuration
	onAll      map[string]*allGroup
	replicate  func()      // called when the log has grown; nil outside of a cluster
	majority   func() bool // for hasMajority; nil outside of a cluster
}

func newCore(p *persona, logger *slog.Logger, cl clock) *core {
	return &core{
		persona: p, logger: logger, clock: cl, now: cl.Now, instance: uuid.NewString(), epoch: noEpoch,
		projected: new(signal), mu: new(sync.Mutex), streams: make(map[string]*stream),
		lastCommit: -1, lastEmpty: -1, end: firstPosition,
		transact: make(map[int64]*transaction), users: make(map[string]*user), conns: make(map[*conn]struct{}),
		volatile: make(map[esproto.CorrelationID]*volatileSub), byStream: make(map[string][]*volatileSub),
		groups: make(map[string]*group), byGroup: make(map[string][]*group), onAll: make(map[string]*allGroup),
	}
}

// begin gives a new core what another one had, if it is to.
func (c *core) begin(cfg *config) error {
	c.loadDefaults()
	if cfg.snapshot != nil {
		return c.restore(cfg.snapshot)
	}
	return nil
}

// hasMajority reports whether what is written stays: without a majority the next leader may not have it.
func (c *core) hasMajority() bool { return c.majority == nil || c.majority() }

// addUser adds a user, or gives one who is there the password, and the groups that he has not yet.
func (c *core) addUser(u user) {
	known := c.users[u.login]
	if known == nil {
		c.saveUser(&u, userCreated)
		return
	}
	groups := slices.Clone(known.groups)
	for _, g := range u.groups {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	u.fullName, u.groups = known.fullName, groups
	c.saveUser(&u, passwordChanged)
}

// newGUID makes an id for an event of the server's own.
func newGUID() esproto.GUID { return esproto.NewGUID(uuid.New()) }

// restart forgets what a process forgets when it ends, and makes what a new one has of its own.
func (c *core) restart() {
	c.instance = uuid.NewString()
	c.began = c.end
	c.ids.clear()
	c.loadDefaults()
	c.restartGroups()
	c.projector.forget()
}
