package esprom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// Defaults of GroupsConfig.
const (
	DefaultMaxGroups      = 100
	DefaultGroupsTimeout  = 5 * time.Second
	DefaultGroupsCacheFor = 10 * time.Second
)

// GroupName names a persistent subscription group.
type GroupName struct{ Stream, Group string }

// GroupsConfig is the configuration of Groups. Its zero value is valid.
type GroupsConfig struct {
	// Groups are the groups to ask for. With none of them, all groups of the server are asked for, up to MaxGroups.
	Groups []GroupName
	// MaxGroups is how many groups get series; eventstore_groups_left_out counts the others. 0 means DefaultMaxGroups.
	// It does not bound Groups.
	MaxGroups int
	// Timeout is how long a scrape may wait for the server. 0 means DefaultGroupsTimeout. It should be less than the
	// scrape_timeout of Prometheus.
	Timeout time.Duration
	// CacheFor is how long an answer of the server is used for further scrapes, such as those of a second Prometheus. 0
	// means DefaultGroupsCacheFor. A failure is kept as long.
	CacheFor time.Duration
}

func (c *GroupsConfig) setDefaults() error {
	switch {
	case c.MaxGroups < 0:
		return fmt.Errorf("%w: GroupsConfig.MaxGroups, %d, is negative", ErrInvalidConfig, c.MaxGroups)
	case c.Timeout < 0:
		return fmt.Errorf("%w: GroupsConfig.Timeout, %v, is negative", ErrInvalidConfig, c.Timeout)
	case c.CacheFor < 0:
		return fmt.Errorf("%w: GroupsConfig.CacheFor, %v, is negative", ErrInvalidConfig, c.CacheFor)
	}
	seen := make(map[GroupName]bool)
	for _, g := range c.Groups {
		if g.Stream == "" || g.Group == "" {
			return fmt.Errorf("%w: GroupsConfig.Groups has a group without a stream or a name: %+v",
				ErrInvalidConfig, g)
		}
		if seen[g] {
			return fmt.Errorf("%w: GroupsConfig.Groups has %+v twice", ErrInvalidConfig, g)
		}
		seen[g] = true
	}
	if c.MaxGroups == 0 {
		c.MaxGroups = DefaultMaxGroups
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultGroupsTimeout
	}
	if c.CacheFor == 0 {
		c.CacheFor = DefaultGroupsCacheFor
	}
	return nil
}

// Groups is a prometheus.Collector of the progress of persistent subscription groups. It asks the server over HTTP. A
// scrape waits for the server, at most GroupsConfig.Timeout. If the server does not answer, eventstore_groups_up is 0
// and the groups have no series. All methods may be called by any number of goroutines at once.
type Groups struct {
	admin *esadmin.Client
	cfg   GroupsConfig

	subscribers, inFlight, lag, parked, processed, up, took, leftOut *prometheus.Desc

	mu    sync.Mutex // held while the server is asked, so that scrapes at the same time share the answer
	asked time.Time
	last  groupsAnswer
}

// groupsAnswer is an answer of the server.
type groupsAnswer struct {
	groups  []esadmin.GroupInfo
	leftOut int
	took    time.Duration
	err     error
}

// NewGroups makes a collector. It fails with ErrInvalidConfig. The user of the admin, or of its esclient.Client, must
// be logged in, because servers refuse others.
func NewGroups(admin *esadmin.Client, cfg GroupsConfig) (*Groups, error) {
	if admin == nil {
		return nil, fmt.Errorf("%w: the esadmin.Client is missing", ErrInvalidConfig)
	}
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	of := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("eventstore_group_"+name, help, []string{"stream", "group"}, nil)
	}
	all := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("eventstore_groups_"+name, help, nil, nil)
	}
	return &Groups{
		admin: admin, cfg: cfg,
		subscribers: of("subscribers", "Subscribers of a group."),
		inFlight:    of("in_flight", "Events that a group has pushed and that are not settled."),
		lag:         of("lag_events", "Events of the stream behind the checkpoint that the server has written."),
		parked:      of("parked", "Events that are parked."),
		processed:   of("processed_total", "Events that a group has pushed since the server runs it."),
		up:          all("up", "Whether the server told of the groups."),
		took:        all("collect_seconds", "How long the server took to tell of the groups."),
		leftOut:     all("left_out", "Groups that have no series, beyond the limit."),
	}, nil
}

// Describe tells of all metrics, as prometheus.Collector demands.
func (g *Groups) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		g.subscribers, g.inFlight, g.lag, g.parked, g.processed, g.up, g.took, g.leftOut,
	} {
		to <- d
	}
}

// Err returns why the server did not tell of the groups, or nil. It asks the server nothing.
func (g *Groups) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last.err
}

// Collect asks the server, unless it did so within GroupsConfig.CacheFor, and returns all values, as
// prometheus.Collector demands.
func (g *Groups) Collect(to chan<- prometheus.Metric) {
	a := g.answer()
	up := 1.0
	if a.err != nil {
		up = 0
	}
	to <- prometheus.MustNewConstMetric(g.up, prometheus.GaugeValue, up)
	to <- prometheus.MustNewConstMetric(g.took, prometheus.GaugeValue, a.took.Seconds())
	if a.err != nil {
		return
	}
	to <- prometheus.MustNewConstMetric(g.leftOut, prometheus.GaugeValue, float64(a.leftOut))
	for i := range a.groups {
		g.collect(&a.groups[i], to)
	}
}

func (g *Groups) collect(info *esadmin.GroupInfo, to chan<- prometheus.Metric) {
	metric := func(d *prometheus.Desc, t prometheus.ValueType, v int64) {
		to <- prometheus.MustNewConstMetric(d, t, float64(v), valid(info.Stream), valid(info.Group))
	}
	metric(g.subscribers, prometheus.GaugeValue, int64(info.Subscribers))
	metric(g.inFlight, prometheus.GaugeValue, int64(info.InFlight))
	metric(g.processed, prometheus.CounterValue, info.TotalItemsProcessed)
	if info.Stream != esclient.AllStream {
		metric(g.lag, prometheus.GaugeValue, max(0, info.LastKnownEvent-info.LastCheckpoint))
	}
	if info.Parked >= 0 {
		metric(g.parked, prometheus.GaugeValue, info.Parked)
	}
}

func (g *Groups) answer() groupsAnswer {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.asked.IsZero() && time.Since(g.asked) < g.cfg.CacheFor {
		return g.last
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.Timeout)
	defer cancel()
	var a groupsAnswer
	a.groups, a.leftOut, a.err = g.ask(ctx)
	a.took = time.Since(start)
	g.asked, g.last = time.Now(), a
	return a
}

// ask asks for the groups of the configuration, or for all.
func (g *Groups) ask(ctx context.Context) (groups []esadmin.GroupInfo, leftOut int, err error) {
	names := g.cfg.Groups
	if len(names) == 0 {
		all, err := g.admin.Groups(ctx, "")
		if err != nil {
			return nil, 0, err
		}
		slices.SortFunc(all, func(a, b esadmin.GroupSummary) int { // so that it is always the same ones
			return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Group, b.Group))
		})
		leftOut = max(0, len(all)-g.cfg.MaxGroups)
		for _, s := range all[:len(all)-leftOut] {
			names = append(names, GroupName{s.Stream, s.Group})
		}
	}
	infos, err := g.askEach(ctx, names)
	return infos, leftOut, err
}

// atOnce is how many groups are asked for at the same time.
const atOnce = 4

// askEach asks for groups. Those that do not exist are left out.
func (g *Groups) askEach(ctx context.Context, names []GroupName) ([]esadmin.GroupInfo, error) {
	infos, errs := make([]esadmin.GroupInfo, len(names)), make([]error, len(names))
	next := make(chan int)
	var asking sync.WaitGroup
	for range min(atOnce, len(names)) {
		asking.Go(func() {
			for i := range next {
				infos[i], errs[i] = g.admin.Group(ctx, names[i].Stream, names[i].Group)
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	asking.Wait()
	var found []esadmin.GroupInfo
	for i, err := range errs {
		switch {
		case err == nil:
			found = append(found, infos[i])
		case !errors.Is(err, esclient.ErrGroupNotFound):
			return nil, err
		}
	}
	return found, nil
}
