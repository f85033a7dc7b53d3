package esclient_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestBuffersAreBoundedInBytes has consumers that take nothing while far more comes than their buffers may hold.
func TestBuffersAreBoundedInBytes(t *testing.T) {
	const (
		total = 100
		size  = 50 << 10
		limit = 500 << 10
	)
	for _, stream := range []string{"s", esclient.AllStream} {
		for _, large := range []bool{false, true} {
			for _, gaps := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, larger than the buffer: %v, gaps: %v", stream, large, gaps), func(t *testing.T) {
					bytes := limit
					if large {
						bytes = size / 10
					}
					srv, writer := embedded(t)
					c := open(t, srv.ConnectionString())
					s, err := c.SubscribeVolatile(testContext(t), stream,
						esclient.VolatileOptions{FillGaps: gaps, BufferBytes: bytes})
					require.NoError(t, err)
					defer s.Stop()
					asked := 0
					for _, cmd := range []esproto.Command{
						esproto.CmdReadStreamEventsForward, esproto.CmdReadAllEventsForward,
					} {
						srv.Intercept(cmd, estest.Choose(func(r estest.Request) estest.Action {
							var m esproto.ReadStreamEvents // those of $all have the number in the same field
							assert.NoError(t, proto.Unmarshal(r.Payload, &m))
							asked = max(asked, int(m.GetMaxCount()))
							return estest.Action{}
						}))
					}
					appendStuffed(t, writer, "s", total, size)
					_, err = c.Ping(testContext(t)) // its reply comes behind the pushes
					require.NoError(t, err)
					next := of("s", s.Next)
					got := 0
					for ; got < total; got++ {
						e, err := next(testContext(t))
						if err != nil {
							require.False(t, gaps, "%v", err)
							require.ErrorIs(t, err, esclient.ErrSlowConsumer)
							break
						}
						assert.Equal(t, fmt.Sprint(got), unstuffed(e.Data))
					}
					if gaps {
						assert.Equal(t, total, got)
						assert.LessOrEqual(t, asked, max(bytes/size, 1), "events of a page")
						return
					}
					assert.LessOrEqual(t, got*size, max(bytes, size))
					assert.Positive(t, got)
				})
			}
		}
	}
}

// TestAnEventLargerThanTheBufferIsDelivered consumes events one by one that are larger than the buffer may be.
func TestAnEventLargerThanTheBufferIsDelivered(t *testing.T) {
	_, c := embedded(t)
	s, err := c.SubscribeVolatile(testContext(t), "s", esclient.VolatileOptions{BufferBytes: 1})
	require.NoError(t, err)
	defer s.Stop()
	for n := range 5 {
		e := esclient.EventData{Type: "stuffed", Data: stuffed(n, 100_000)}
		_, err := c.Append(testContext(t), "s", esclient.Any, e)
		require.NoError(t, err)
		got, err := s.Next(testContext(t))
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(n), unstuffed(got.Data))
	}
}
