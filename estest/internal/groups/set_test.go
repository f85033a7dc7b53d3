package groups

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInvalidGroupsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		stream   string
		change   func(c *Settings)
		old, new Result
	}{
		"usual":            {"s", func(*Settings) {}, Success, Success},
		"no stream":        {"", func(*Settings) {}, Fail, Fail},
		"all streams":      {"$all", func(*Settings) {}, Fail, Fail},
		"unknown strategy": {"s", func(c *Settings) { c.Strategy = "Best" }, Fail, Fail},
		"newer strategy":   {"s", func(c *Settings) { c.Strategy = PinnedByCorrelation }, Fail, Success},
		"from the end":     {"s", func(c *Settings) { c.StartFrom = -1 }, Success, Success},
		"impossible start": {"s", func(c *Settings) { c.StartFrom = -2 }, Success, Fail},
		"page as large as the buffer": {
			"s", func(c *Settings) { c.ReadBatchSize = c.BufferSize }, Success, Fail,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := usual()
			test.change(&c)
			for want, f := range map[*Result]Facts{&test.old: oldFacts, &test.new: newFacts} {
				s := newSite(t, f)
				result, why := s.set.Create("admin", test.stream, "g", c)
				assert.Equal(t, *want, result, why)
				assert.Equal(t, *want == Success, why == "")
				assert.Equal(t, *want == Success, s.set.Find(test.stream, "g") != nil)
				assert.Equal(t, *want == Success, s.read(configStream) != nil, "only a success writes")
			}
		})
	}
}

// The version decides which of two problems is reported.
func TestAGroupThatExistsIsNotCreated(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		s.group(nil)
		result, why := s.set.Create("admin", "s", "g", usual())
		assert.Equal(t, Existence, result)
		assert.Equal(t, "Group 'g' already exists.", why)
		bad := usual()
		bad.Strategy = "Best"
		want := Existence
		if f.ChecksSettingsFirst {
			want = Fail
		}
		result, _ = s.set.Create("admin", "s", "g", bad)
		assert.Equal(t, want, result)
	})
}

func TestAGroupThatIsNotThereIsNotChanged(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		for stream, want := range map[string]Result{"s": Existence, "$all": Existence} {
			if stream == "$all" && f.ChangeChecksStream {
				want = Fail
			}
			result, _ := s.set.Update("admin", stream, "g", usual())
			assert.Equal(t, want, result, stream)
			result, _ = s.set.Delete("admin", stream, "g")
			assert.Equal(t, want, result, stream)
		}
	})
}

// entries returns the groups in the latest configuration, and the login of its writer.
func (s *site) entries() (names []string, by string) {
	s.t.Helper()
	recs := s.records(configStream)
	require.NotEmpty(s.t, recs)
	var config struct {
		UpdatedBy string
		Entries   []struct{ Stream, Group string }
	}
	require.NoError(s.t, json.Unmarshal(recs[len(recs)-1].Data(), &config))
	for _, e := range config.Entries {
		names = append(names, IDOf(e.Stream, e.Group))
	}
	return names, config.UpdatedBy
}

// A group that is updated begins behind its checkpoint, with other settings and without its clients.
func TestAGroupIsUpdated(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		order []string
	}{
		"goes to the end": {oldFacts, []string{"s::h", "s::g"}},
		"stays in place":  {newFacts, []string{"s::g", "s::h"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			g := s.group(func(c *Settings) { c.CheckpointMax = 1 })
			_, _ = s.set.Create("admin", "s", "h", usual())
			b := s.join(g, 2)
			s.write("s", 4)
			b.ack(0)
			require.Equal(t, "0 1 2", b.next())
			changed := usual()
			changed.MaxRetryCount = 77
			result, why := s.set.Update("ops", "s", "g", changed)
			require.Equal(t, Success, result, why)
			assert.Equal(t, 1, b.drops)
			b.ack(1) // it has no group any more
			again := s.set.Find("s", "g")
			assert.Equal(t, 77, again.Settings.MaxRetryCount)
			assert.Equal(t, "1 2 3", s.join(again, 10).next())
			names, by := s.entries()
			assert.Equal(t, test.order, names)
			assert.Equal(t, "ops", by)

			bad := changed
			bad.Strategy = "Best"
			result, _ = s.set.Update("ops", "s", "g", bad)
			assert.Equal(t, Fail, result)
			assert.Same(t, again, s.set.Find("s", "g"), "a refused change changes nothing")
		})
	}
}

func TestAGroupIsDeleted(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		g := s.group(func(c *Settings) { c.CheckpointMax = 1 })
		b := s.join(g, 10)
		s.write("s", 3)
		b.nak(nakPark, "", 1)
		b.ack(0)
		require.NotEmpty(t, s.read(checkpointOfG))
		require.NotEmpty(t, s.read(parkedOfG))
		result, why := s.set.Delete("admin", "s", "g")
		require.Equal(t, Success, result, why)
		assert.Equal(t, 1, b.drops)
		assert.Nil(t, s.set.Find("s", "g"))
		assert.Empty(t, s.read(checkpointOfG), "deleted with the group")
		assert.Empty(t, s.read(parkedOfG))
		names, _ := s.entries()
		assert.Empty(t, names)
		s.write("s", 1)
		assert.Equal(t, "0 1 2", b.next())

		anew := s.join(s.group(nil), 10)
		assert.Equal(t, "0 1 2 3", anew.next(), "a new group of that name begins anew")
		anew.nak(nakPark, "", 3)
		assert.Equal(t, []string{"3@s"}, s.read(parkedOfG), "the parked stream comes back")
	})
}

// The groups of a new process are those of the configuration.
func TestGroupsAreRestoredFromTheConfiguration(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		s.set.Restart()
		assert.Empty(t, s.set.All(), "there is no configuration yet")
		c := usual()
		c.ResolveLinks, c.RecordStatistics, c.StartFrom, c.MaxSubscribers = true, true, 7, 3
		for _, name := range []string{"b", "a"} {
			result, why := s.set.Create("admin", "s", name, c)
			require.Equal(t, Success, result, why)
		}
		require.True(t, s.set.CreateOnAll("admin", "audit"))
		require.False(t, s.set.CreateOnAll("admin", "audit"))
		s.set.Restart()
		all := s.set.All()
		require.Len(t, all, 2)
		assert.Equal(t, "s::a", all[0].ID())
		assert.Equal(t, c, all[0].Settings)
		assert.Same(t, all[1], s.set.ByID("s::b"))
		names, _ := s.entries()
		assert.Equal(t, []string{"s::b", "s::a", "$all::audit"}, names)
		assert.Equal(t, "C:0/P:0", s.set.FindOnAll("audit").Start())
		assert.Len(t, s.set.OnAll(), 1)

		s.log.SystemAppend(configStream, f.ConfigType, true, []byte("{"), nil)
		s.set.Restart()
		assert.Empty(t, s.set.All(), "what cannot be read names no groups")
	})
}

// A group on $all buffers as many events as it has room for.
func TestTheLagOfAGroupOnAll(t *testing.T) {
	s := newSite(t, newFacts)
	s.write("s", 3)
	require.True(t, s.set.CreateOnAll("admin", "audit"))
	g := s.set.FindOnAll("audit")
	s.write("t", 4)
	buffered, newest, last, live := g.Lag()
	assert.Equal(t, s.log.Records().Len(), buffered)
	assert.Equal(t, s.log.Records().Len()-3, newest, "its configuration and later events")
	assert.EqualValues(t, 3, last.Number)
	assert.True(t, live)
	s.write("t", 600)
	buffered, newest, _, live = g.Lag()
	assert.Equal(t, []int{500, 500}, []int{buffered, newest})
	assert.False(t, live)
}

func TestClientsAreDropped(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(nil)
	b := s.join(g, 10)
	s.set.DropClients()
	assert.Equal(t, 1, b.drops)
	s.write("s", 1)
	assert.Empty(t, b.next())
	assert.Same(t, g, s.set.Find("s", "g"))
	s.set.Clear()
	assert.Nil(t, s.set.Find("s", "g"))
	assert.Empty(t, s.set.All())
}
