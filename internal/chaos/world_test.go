package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// world is the servers and clients of one round.
type world struct {
	t       testing.TB
	seed    uint64
	cluster *estest.Cluster // nil for a single server
	single  *estest.Server

	projections bool // they are running

	faults   *rand.Rand
	links    []*link
	clients  []*esclient.Client
	operator *esclient.Client
	manager  *esadmin.Client

	report  *report
	writers []*writer
	groups  []*group
	readers []*reader
	models  []*model

	resets    atomic.Int64 // restarts and changes of the leader: a server forgets event ids
	lastReset time.Time    // time of the last one; owned by the disturber
	stop      chan struct{}
	wg        sync.WaitGroup
}

// setting is the setting of a round.
type setting struct {
	persona estest.Persona
	nodes   int
	plain   bool // the clients are a user without any rights of an administrator

	projections bool
}

func (s setting) String() string {
	user := "admin"
	if s.plain {
		user = "plain"
	}
	if s.projections {
		user += ", projections"
	}
	return fmt.Sprintf("%v, %d nodes, %s", s.persona, s.nodes, user)
}

const (
	plainLogin    = "plain"
	plainPassword = "Secret1!"
)

func newWorld(t testing.TB, seed uint64, s setting) *world {
	w := &world{
		t: t, seed: seed, faults: rand.New(rand.NewPCG(seed, 1)), report: newReport(), stop: make(chan struct{}),
		projections: s.projections,
	}
	opts := []estest.Option{
		estest.WithPersona(s.persona), estest.WithUser(plainLogin, plainPassword),
		estest.WithElectionDelay(20 * time.Millisecond), estest.WithStepDownDelay(50 * time.Millisecond),
		estest.WithHeartbeat(200*time.Millisecond, 400*time.Millisecond),
	}
	if s.plain {
		opts = append(opts, estest.WithAsyncRights(5*time.Millisecond))
	}
	if s.nodes == 1 {
		opts = append(opts, estest.WithStartUp(20*time.Millisecond, 20*time.Millisecond))
	}
	if s.projections {
		opts = append(opts, estest.WithProjections())
	}
	var err error
	if s.nodes > 1 {
		w.cluster, err = estest.StartCluster(s.nodes, opts...)
	} else {
		w.single, err = estest.Start(opts...)
	}
	require.NoError(t, err)
	w.operator = w.open(nil, false)
	w.manager, err = esadmin.New(w.operator)
	require.NoError(t, err)
	return w
}

func (w *world) connectionString() string {
	if w.cluster != nil {
		return w.cluster.ConnectionString()
	}
	return w.single.ConnectionString()
}

// server returns the node with the newest log: the leader, if there is one.
func (w *world) server() *estest.Server {
	if w.cluster == nil {
		return w.single
	}
	if leader := w.cluster.Leader(); leader >= 0 {
		return w.cluster.Node(leader)
	}
	return w.cluster.Node(0)
}

// client opens a client with a link of its own.
func (w *world) client(s setting) *esclient.Client {
	l := newLink()
	w.links = append(w.links, l)
	return w.open(l, s.plain)
}

// open opens a client with a connection. A client that has none returns errors at once if the peer does not seem to be
// EventStore: if a server is slow to answer, or starts and has no users yet.
func (w *world) open(l *link, plain bool) *esclient.Client {
	c, err := esclient.New(w.config(l, plain))
	require.NoError(w.t, err)
	require.Eventually(w.t, func() bool { return c.Connect(w.t.Context()) == nil }, settleLimit, time.Millisecond)
	w.clients = append(w.clients, c)
	return c
}

// config returns the configuration of a client with short timeouts. l may be nil.
func (w *world) config(l *link, plain bool) esclient.Config {
	cfg, err := esclient.ParseConnectionString(w.connectionString())
	require.NoError(w.t, err)
	cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 100*time.Millisecond, 150*time.Millisecond
	cfg.OperationTimeout, cfg.ConnectTimeout = 300*time.Millisecond, 500*time.Millisecond
	cfg.ReconnectDelay, cfg.MaxReconnectDelay = 2*time.Millisecond, 30*time.Millisecond
	if w.single != nil {
		cfg.HTTPEndpoint = w.single.HTTPAddr()
	}
	if l != nil {
		cfg.Dial, cfg.Hooks = l.dial, append(cfg.Hooks, l)
	}
	if plain {
		cfg.Credentials = &esclient.Credentials{Login: plainLogin, Password: plainPassword}
	}
	return cfg
}

// run disturbs the world n times, heals it, and waits until all consumers have their messages.
func (w *world) run(n int, s setting) {
	w.start(s)
	w.disturb(n)
	w.heal()
	for _, p := range w.writers {
		p.stop()
	}
	w.appendFinal()
	w.settle()
	close(w.stop)
	w.wg.Wait()
	w.judge()
	w.close()
}

// settleLimit is how long consumers may take, after the faults, to get the missing messages.
const settleLimit = 30 * time.Second

// settle waits until no consumer misses a message.
func (w *world) settle() {
	log := w.readLog()
	var places [][]esclient.Checkpoint // of the messages of each read model
	for _, m := range w.models {
		places = append(places, m.places())
	}
	limit := time.Now().Add(settleLimit)
	for time.Now().Before(limit) {
		missing := 0
		for _, g := range w.groups {
			missing += len(g.missing(log[g.stream]))
		}
		for _, r := range w.readers {
			missing += len(r.missing(log))
		}
		for i, m := range w.models {
			lacks, stored := m.missing(places[i])
			if missing += lacks; !stored {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) close() {
	for _, g := range w.groups {
		g.close()
	}
	for _, r := range w.readers {
		r.close()
	}
	for _, p := range w.writers {
		p.close()
	}
	for _, c := range w.clients {
		require.NoError(w.t, c.Close())
	}
	for _, l := range w.links {
		l.close()
	}
	if w.cluster != nil {
		require.NoError(w.t, w.cluster.Close())
		return
	}
	require.NoError(w.t, w.single.Close())
}

// logged is an event in the log.
type logged struct {
	number  int64
	payload string
}

// streams are the streams that writers share. Writer "solo" also creates one for each message.
var streams = []string{"orders", "ledger", "visits", "import"}

// readLog returns the events of the shared streams.
func (w *world) readLog() map[string][]logged {
	log := make(map[string][]logged)
	for _, stream := range streams {
		events, err := w.server().Read(stream, 0, 0)
		if !errors.Is(err, estest.ErrNoStream) {
			require.NoError(w.t, err)
		}
		for _, e := range events {
			log[stream] = append(log[stream], logged{e.Number, string(e.Data)})
		}
	}
	return log
}

// addSolo adds the events of the streams that writer "solo" made.
func (w *world) addSolo(places map[string][]place) {
	for _, p := range w.writers {
		if p.name != "solo" {
			continue
		}
		for payload := range p.told {
			stream := soloStream(payload)
			events, err := w.server().Read(stream, 0, 0)
			if !errors.Is(err, estest.ErrNoStream) {
				require.NoError(w.t, err)
			}
			for _, e := range events {
				places[payload] = append(places[payload], place{stream, e.Number})
			}
		}
	}
}

// within returns a context for an operator's request.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func (w *world) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}
