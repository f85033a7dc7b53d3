package estest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fill takes all slots of a client.
func fill(c *client) { c.taken = c.allowed }

func TestStrategiesSayWhyNobodyGetsAMessage(t *testing.T) {
	for _, name := range []string{roundRobinName, dispatchToSingleName, pinnedName, pinnedByCorrelName} {
		t.Run(name, func(t *testing.T) {
			s := newStrategy(name)
			clients := []*client{{allowed: 2}, {allowed: 2}}
			for _, c := range clients {
				s.join(c)
			}
			m := &message{event: &record{stream: &stream{name: "s"}}}
			first, _ := s.pick(m)
			require.Contains(t, clients, first)
			assert.Zero(t, first.taken, "to pick sends nothing")

			fill(first)
			second, why := s.pick(m)
			if name == pinnedName || name == pinnedByCorrelName {
				assert.Nil(t, second, "the stream belongs to the first client")
				assert.Equal(t, ownerIsFull, why)
			} else {
				require.NotNil(t, second)
				assert.NotSame(t, first, second)
			}

			fill(clients[0])
			fill(clients[1])
			nobody, why := s.pick(m)
			assert.Nil(t, nobody)
			assert.Equal(t, allAreFull, why)
		})
	}
}
