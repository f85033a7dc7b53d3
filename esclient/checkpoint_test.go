package esclient_test

import (
	"encoding"
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// storable has the methods of all types that a program stores between two runs.
type storable interface {
	encoding.TextMarshaler
	json.Marshaler
}

// reader is a pointer to a storable.
type reader interface {
	encoding.TextUnmarshaler
	json.Unmarshaler
}

func TestCheckpointsStartsAndPositionsRoundTrip(t *testing.T) {
	t.Parallel()
	const most = int64(math.MaxInt64)
	at := esclient.Position{Commit: 1024, Prepare: 1000}
	for _, tt := range []struct {
		v    storable
		text string
	}{
		{esclient.Checkpoint{}, "none"},
		{esclient.CheckpointAtNumber(-1), "-1"},
		{esclient.CheckpointAtNumber(0), "0"},
		{esclient.CheckpointAtNumber(most), "9223372036854775807"},
		{esclient.CheckpointAtPosition(at), "C:1024/P:1000"},
		{esclient.CheckpointAtPosition(esclient.StartPosition), "C:0/P:0"},
		{esclient.Start{}, "default"},
		{esclient.FromStart(), "start"},
		{esclient.FromEnd(), "end"},
		{esclient.FromNumber(0), "from:0"},
		{esclient.AfterNumber(5), "after:5"},
		{esclient.AfterNumber(-1), "after:-1"},
		{esclient.AfterNumber(most), "after:9223372036854775807"},
		{esclient.FromPosition(at), "from:C:1024/P:1000"},
		{esclient.AfterPosition(at), "after:C:1024/P:1000"},
		{esclient.StartPosition, "C:0/P:0"},
		{esclient.EndPosition, "C:-1/P:-1"},
		{esclient.Position{Commit: most, Prepare: most}, "C:9223372036854775807/P:9223372036854775807"},
	} {
		text, err := tt.v.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, tt.text, string(text))
		assert.Equal(t, tt.v, readBack(t, tt.v, func(r reader) error { return r.UnmarshalText(text) }))

		doc, err := json.Marshal(map[string]any{"v": tt.v})
		require.NoError(t, err)
		assert.JSONEq(t, `{"v":"`+tt.text+`"}`, string(doc))
		assert.Equal(t, tt.v, readBack(t, tt.v, func(r reader) error {
			return json.Unmarshal(doc, &struct{ V reader }{r})
		}))
	}
}

// readBack reads into a new value of the type of v, which held something else before.
func readBack(t *testing.T, v storable, read func(reader) error) storable {
	t.Helper()
	switch v.(type) {
	case esclient.Checkpoint:
		c := esclient.CheckpointAtNumber(77)
		require.NoError(t, read(&c))
		return c
	case esclient.Start:
		s := esclient.FromNumber(77)
		require.NoError(t, read(&s))
		return s
	}
	p := esclient.Position{Commit: 77}
	require.NoError(t, read(&p))
	return p
}

func TestInvalidCheckpointsHaveNoText(t *testing.T) {
	t.Parallel()
	for _, v := range []storable{
		esclient.CheckpointAtNumber(-2), esclient.CheckpointAtPosition(esclient.UnknownPosition),
		esclient.CheckpointAtPosition(esclient.Position{Prepare: -1}),
		esclient.FromNumber(-1), esclient.AfterNumber(-2), esclient.FromPosition(esclient.UnknownPosition),
		esclient.AfterPosition(esclient.Position{Commit: -5}),
		esclient.Position{Commit: -1}, esclient.Position{Commit: -2, Prepare: -2},
	} {
		_, err := v.MarshalText()
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument, "%v", v)
		_, err = json.Marshal(v)
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument, "%v", v)
	}
}

var malformed = []string{
	"", " ", "5 ", "+5", "05", "-0", "-01", "-2", "5x", "0x5", "5_0", "1e3", "9223372036854775808", "None",
	"C:1", "C:1/P:", "C:1/P:01", "C:+1/P:1", "C:1/P:1/", "C:-1/P:1", "C:1/P:9223372036854775808", "P:1/C:1",
	"from:", "from:-1", "after:-2", "after:C:-1/P:-1", "start ", "from:5from:5", "nil", "null", "{}", "\xff",
}

func TestTextThatIsNotOursIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range malformed {
		checkpoint, start := esclient.CheckpointAtNumber(7), esclient.FromNumber(7)
		position := esclient.Position{Commit: 7, Prepare: 7}
		for _, r := range []reader{&checkpoint, &start, &position} {
			assert.ErrorIs(t, r.UnmarshalText([]byte(text)), esclient.ErrInvalidArgument, "%T of %q", r, text)
			quoted, err := json.Marshal(text)
			require.NoError(t, err)
			assert.Error(t, r.UnmarshalJSON(quoted), "%T of %s", r, quoted)
		}
		assert.Equal(t, esclient.CheckpointAtNumber(7), checkpoint)
		assert.Equal(t, esclient.FromNumber(7), start)
		assert.Equal(t, esclient.Position{Commit: 7, Prepare: 7}, position)
	}
	for _, r := range []reader{new(esclient.Start), new(esclient.Position)} {
		assert.ErrorIs(t, r.UnmarshalText([]byte("-1")), esclient.ErrInvalidArgument, "%T", r)
	}
	for _, data := range []string{"null", "5", "{}", `["5"]`, "", `"5`, `"5" "6"`, "true"} {
		for _, r := range []reader{new(esclient.Checkpoint), new(esclient.Start), new(esclient.Position)} {
			assert.ErrorIs(t, r.UnmarshalJSON([]byte(data)), esclient.ErrInvalidArgument, "%T of %s", r, data)
		}
	}
}

// FuzzCheckpointText checks that each text that can be parsed is written in the same way again, and that nothing
// panics.
func FuzzCheckpointText(f *testing.F) {
	for _, text := range malformed {
		f.Add(text)
	}
	for _, text := range []string{"none", "5", "C:1024/P:1000", "C:-1/P:-1", "end", "from:5", "after:C:1/P:0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again := func(r reader, v func() storable) {
			if r.UnmarshalText([]byte(text)) != nil {
				return
			}
			written, err := v().MarshalText()
			require.NoError(t, err)
			require.Equal(t, text, string(written))
			doc, err := v().MarshalJSON()
			require.NoError(t, err)
			require.NoError(t, r.UnmarshalJSON(doc))
			written, err = v().MarshalText()
			require.NoError(t, err)
			require.Equal(t, text, string(written))
		}
		var c esclient.Checkpoint
		again(&c, func() storable { return c })
		var s esclient.Start
		again(&s, func() storable { return s })
		var p esclient.Position
		again(&p, func() storable { return p })
		_ = c.UnmarshalJSON([]byte(text))
		_ = s.UnmarshalJSON([]byte(text))
		_ = p.UnmarshalJSON([]byte(text))
	})
}

func TestCheckpointsCompareWithinAKind(t *testing.T) {
	t.Parallel()
	none, five, six := esclient.Checkpoint{}, esclient.CheckpointAtNumber(5), esclient.CheckpointAtNumber(6)
	early := esclient.CheckpointAtPosition(esclient.Position{Commit: 9, Prepare: 3})
	late := esclient.CheckpointAtPosition(esclient.Position{Commit: 9, Prepare: 4})
	for i, order := range [][]esclient.Checkpoint{{none, five, six}, {none, early, late}} {
		for a := range order {
			for b := range order {
				got, err := order[a].Compare(order[b])
				require.NoError(t, err)
				assert.Equal(t, sign(a-b), got, "%d: %v and %v", i, order[a], order[b])
			}
		}
	}
	_, err := five.Compare(early)
	assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
	_, err = early.Compare(five)
	assert.ErrorIs(t, err, esclient.ErrInvalidArgument)

	assert.True(t, none.IsZero())
	assert.False(t, esclient.CheckpointAtNumber(0).IsZero())
	assert.False(t, esclient.CheckpointAtPosition(esclient.StartPosition).IsZero(), "not the same as nothing")
	assert.Equal(t, esclient.FromStart(), none.Start())
	assert.Equal(t, esclient.AfterNumber(5), five.Start())
	n, ok := five.Number()
	assert.True(t, ok)
	assert.Equal(t, int64(5), n)
	_, ok = five.Position()
	assert.False(t, ok)
	p, ok := late.Position()
	assert.True(t, ok)
	assert.Equal(t, esclient.AfterPosition(p), late.Start())
	_, ok = late.Number()
	assert.False(t, ok)
}

func sign(n int) int { return min(max(n, -1), 1) }

// isAfter reports whether a checkpoint is after another, or also at it.
func isAfter(t testing.TB, c, d esclient.Checkpoint, orAt bool) bool {
	t.Helper()
	order, err := c.Compare(d)
	require.NoError(t, err)
	return order > 0 || orAt && order == 0
}

// TestACheckpointWaitsForDeliveredEvents checks that a program that saves the checkpoint never loses an event.
func TestACheckpointWaitsForDeliveredEvents(t *testing.T) {
	undertest.AdminOnly(t, "it subscribes to $all")
	c, ctx, stream := connect(t), testContext(t), name("s")
	positions := appendEach(t, c, stream, 0, 2)
	from := esclient.FromPosition(positions[0])
	s, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{Start: from})
	require.NoError(t, err)
	defer s.Stop()
	assert.True(t, s.Checkpoint().IsZero())
	next := of(stream, s.Next)
	for i := range positions {
		take(t, next, 1)
		at := esclient.CheckpointAtPosition(positions[i])
		if i > 0 {
			assert.True(t, isAfter(t, s.Checkpoint(), esclient.CheckpointAtPosition(positions[i-1]), true))
		}
		assert.False(t, isAfter(t, s.Checkpoint(), at, true), "the consumer has it just now")
		assert.Equal(t, at, s.Delivered())
	}
	nothingMore(t, next)
	assert.True(t, isAfter(t, s.Checkpoint(), esclient.CheckpointAtPosition(positions[2]), true))
}

func TestTheCheckpointOfAStreamIsANumber(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 2)
	s, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	defer s.Stop()
	assert.True(t, s.Checkpoint().IsZero())
	assert.True(t, s.Delivered().IsZero())
	previous := esclient.Checkpoint{}
	for n := range int64(3) {
		e, err := s.Next(ctx)
		require.NoError(t, err)
		assert.Equal(t, previous, s.Checkpoint(), "the consumer has event %d just now", n)
		previous = esclient.CheckpointAtNumber(n)
		assert.Equal(t, previous, s.Delivered())
		own, ok := e.CheckpointIn(stream)
		assert.True(t, ok)
		assert.Equal(t, previous, own)
		_, ok = e.CheckpointIn("another")
		assert.False(t, ok)
	}
	nothingMore(t, s.Next)
	assert.Equal(t, previous, s.Checkpoint())

	start := esclient.CheckpointAtNumber(1).Start()
	again, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{Start: start})
	require.NoError(t, err)
	defer again.Stop()
	assert.Equal(t, esclient.CheckpointAtNumber(1), again.Checkpoint(), "it begins there")
	assert.Equal(t, []string{"2"}, take(t, again.Next, 1))
}

func TestTheCheckpointOfALinkIsItsOwn(t *testing.T) {
	c, ctx, stream, links := connect(t), testContext(t), name("s"), name("links")
	appendNumbered(t, c, stream, 0, 9)
	_, err := c.Append(ctx, links, esclient.NoStream, esclient.EventData{Type: "$>", Data: []byte("7@" + stream)},
		esclient.EventData{Type: "$>", Data: []byte("3@" + stream)})
	require.NoError(t, err)
	s, err := c.SubscribeCatchUp(ctx, links, esclient.CatchUpOptions{ResolveLinks: true})
	require.NoError(t, err)
	defer s.Stop()
	for n := range int64(2) {
		e, err := s.Next(ctx)
		require.NoError(t, err)
		assert.Equal(t, stream, e.Stream)
		own, ok := e.CheckpointIn(links)
		assert.True(t, ok)
		assert.Equal(t, esclient.CheckpointAtNumber(n), own)
		assert.Equal(t, own, s.Delivered())
		_, ok = e.CheckpointIn(stream)
		assert.False(t, ok, "the target's number is no checkpoint of the links")
	}
}

// TestACheckpointMovesOverTruncatedEvents holds that a program which was away for long goes on behind the gap.
func TestACheckpointMovesOverTruncatedEvents(t *testing.T) {
	for _, persona := range personas {
		_, c := embedded(t, estest.WithPersona(persona))
		ctx, stream := testContext(t), name("s")
		appendNumbered(t, c, stream, 0, 9)
		before := int64(8)
		_, err := c.SetStreamMetadata(ctx, stream, esclient.Any, esclient.StreamMetadata{TruncateBefore: before})
		require.NoError(t, err)
		start := esclient.CheckpointAtNumber(2).Start()
		s, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{Start: start})
		require.NoError(t, err)
		assert.Equal(t, []string{"8", "9"}, take(t, s.Next, 2))
		nothingMore(t, s.Next)
		assert.Equal(t, esclient.CheckpointAtNumber(9), s.Checkpoint())
		s.Stop()
	}
}
