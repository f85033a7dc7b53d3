package estest_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func prefixes(context esproto.Filter_FilterContext, data ...string) *esproto.Filter {
	return &esproto.Filter{Context: &context, Type: esproto.Filter_Prefix.Enum(), Data: data}
}

func regex(context esproto.Filter_FilterContext, data string) *esproto.Filter {
	return &esproto.Filter{Context: &context, Type: esproto.Filter_Regex.Enum(), Data: []string{data}}
}

func readFiltered(
	p *peer, cmd esproto.Command, from [2]int64, count, window int32, f *esproto.Filter,
) *esproto.FilteredReadAllEventsCompleted {
	p.t.Helper()
	var r esproto.FilteredReadAllEventsCompleted
	p.ask(cmd, nil, &esproto.FilteredReadAllEvents{
		CommitPosition: &from[0], PreparePosition: &from[1], MaxCount: &count, MaxSearchWindow: &window, Filter: f,
		ResolveLinkTos: proto.Bool(false), RequireLeader: proto.Bool(false),
	}, &r)
	return &r
}

func dataOf(events []*esproto.ResolvedEvent) (data []string) {
	for _, e := range events {
		data = append(data, string(e.GetEvent().GetData()))
	}
	return data
}

func TestFilteredReads(t *testing.T) {
	p := connectAs(t, run2310(t), admin)
	first := p.mustAppend(nil, "order-1", newEvent("placed", "o1")).GetCommitPosition()
	p.mustAppend(nil, "order-1", newEvent("paid", "o2"))
	p.mustAppend(nil, "customer-1", newEvent("placed", "c1"))
	p.mustAppend(nil, "$system", newEvent("placed", "s1"))
	p.mustAppend(nil, "order-2", newEvent("paid", "o3"))

	start, end := [2]int64{first, first}, [2]int64{-1, -1} // there were events of the server's own before
	for name, c := range map[string]struct {
		filter *esproto.Filter
		want   []string
	}{
		"a prefix of the stream":     {prefixes(esproto.Filter_StreamId, "order-"), []string{"o1", "o2", "o3"}},
		"one of several prefixes":    {prefixes(esproto.Filter_StreamId, "customer-", "$sys"), []string{"c1", "s1"}},
		"a prefix of the type":       {prefixes(esproto.Filter_EventType, "pa"), []string{"o2", "o3"}},
		"an expression, no system":   {regex(esproto.Filter_StreamId, `^[^\$].*`), []string{"o1", "o2", "c1", "o3"}},
		"an expression for the type": {regex(esproto.Filter_EventType, "^placed$"), []string{"o1", "c1", "s1"}},
		"nothing to test":            {prefixes(esproto.Filter_StreamId), []string{"o1", "o2", "c1", "s1", "o3"}},
		"no filter":                  {nil, []string{"o1", "o2", "c1", "s1", "o3"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := readFiltered(p, esproto.CmdFilteredReadAllEventsForward, start, 10, 100, c.filter)
			assert.Equal(t, c.want, dataOf(r.GetEvents()))
			assert.True(t, r.GetIsEndOfStream())

			backward := esproto.CmdFilteredReadAllEventsBackward
			back := dataOf(readFiltered(p, backward, end, int32(len(c.want)), 100, c.filter).GetEvents())
			slices.Reverse(back)
			assert.Equal(t, c.want, back[max(0, len(back)-len(c.want)):])
		})
	}

	t.Run("the window ends a page without events", func(t *testing.T) {
		r := readFiltered(p, esproto.CmdFilteredReadAllEventsForward, start, 10, 2,
			prefixes(esproto.Filter_StreamId, "customer"))
		assert.Empty(t, r.GetEvents())
		assert.False(t, r.GetIsEndOfStream())
		r = readFiltered(p, esproto.CmdFilteredReadAllEventsForward,
			[2]int64{r.GetNextCommitPosition(), r.GetNextPreparePosition()}, 10, 2,
			prefixes(esproto.Filter_StreamId, "customer"))
		assert.Equal(t, []string{"c1"}, dataOf(r.GetEvents()))
	})
	t.Run("without a window as much is looked at as is asked for", func(t *testing.T) {
		r := readFiltered(p, esproto.CmdFilteredReadAllEventsForward, start, 3, 0,
			prefixes(esproto.Filter_EventType, "pa"))
		assert.Equal(t, []string{"o2"}, dataOf(r.GetEvents()))
		assert.False(t, r.GetIsEndOfStream())
	})
	t.Run("what makes no sense", func(t *testing.T) {
		bad := regex(esproto.Filter_StreamId, "(")
		p.refused(esproto.CmdFilteredReadAllEventsForward, nil, &esproto.FilteredReadAllEvents{Filter: bad})
		bad = prefixes(7, "x")
		p.refused(esproto.CmdFilteredSubscribeToStream, nil, &esproto.FilteredSubscribeToStream{Filter: bad})
		bad = &esproto.Filter{Type: esproto.Filter_FilterType(9).Enum(), Data: []string{"x"}}
		p.refused(esproto.CmdFilteredReadAllEventsBackward, nil, &esproto.FilteredReadAllEvents{Filter: bad})
		r := readFiltered(p, esproto.CmdFilteredReadAllEventsForward, start, 4097, 0, nil)
		assert.Equal(t, esproto.FilteredReadAllEventsCompleted_Error, r.GetResult())
	})
	t.Run("a denied read is answered by the reply to another", func(t *testing.T) {
		for cmd, want := range map[esproto.Command]esproto.Command{
			esproto.CmdFilteredReadAllEventsForward:  esproto.CmdReadAllEventsForwardCompleted,
			esproto.CmdFilteredReadAllEventsBackward: esproto.CmdReadAllEventsBackwardCompleted,
		} {
			r := p.answer(p.send(cmd, ops, &esproto.FilteredReadAllEvents{}))
			assert.Equal(t, want, r.cmd)
			var m esproto.ReadAllEventsCompleted
			r.into(t, &m)
			assert.Equal(t, esproto.ReadAllEventsCompleted_AccessDenied, m.GetResult())
			assert.EqualValues(t, -1, m.GetNextCommitPosition())
		}
	})
}

func TestFilteredSubscription(t *testing.T) {
	p := connectAs(t, run2310(t), admin)
	subscribe := func(interval int32) esproto.CorrelationID {
		var c esproto.SubscriptionConfirmation
		return p.ask(esproto.CmdFilteredSubscribeToStream, nil, &esproto.FilteredSubscribeToStream{
			EventStreamId: proto.String(""), Filter: prefixes(esproto.Filter_StreamId, "a"),
			CheckpointInterval: &interval,
		}, &c).id
	}
	everyTwo, never := subscribe(2), subscribe(-1)
	other := connectAs(t, p.s, admin)
	var positions []int64
	for _, stream := range []string{"a", "b", "b", "a", "b"} {
		positions = append(positions, other.mustAppend(nil, stream, newEvent("t", stream)).GetCommitPosition())
	}
	last := other.mustAppend(nil, "a", newEvent("t", "end")).GetCommitPosition()

	got := make(map[esproto.CorrelationID][]any)
	for range 3 + 3 + 3 { // three events each, and a checkpoint after every second
		r, ok := p.next()
		require.True(t, ok)
		switch r.cmd {
		case esproto.CmdCheckpointReached:
			var c esproto.CheckpointReached
			r.into(t, &c)
			got[r.id] = append(got[r.id], c.GetCommitPosition())
		default:
			var e esproto.StreamEventAppeared
			r.into(t, &e)
			got[r.id] = append(got[r.id], string(e.GetEvent().GetEvent().GetData()))
		}
	}
	assert.Equal(t, []any{"a", positions[1], "a", positions[3], "end", last}, got[everyTwo])
	assert.Equal(t, []any{"a", "a", "end"}, got[never])
}

func TestOlderServersKnowNoFilters(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona414} {
		p := connectAs(t, estest.Run(t, estest.WithPersona(persona)), admin)
		for _, cmd := range []esproto.Command{
			esproto.CmdFilteredReadAllEventsForward, esproto.CmdFilteredReadAllEventsBackward,
			esproto.CmdFilteredSubscribeToStream,
		} {
			r := p.answer(p.send(cmd, nil, nil))
			assert.Equal(t, esproto.CmdBadRequest, r.cmd)
			assert.Contains(t, string(r.payload), fmt.Sprintf("command %d.", cmd), "as of a command without a name")
		}
	}
}
