package eventlog_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// projected returns a log with projections, its projector, and a function that runs all pending steps.
func projected(t *testing.T, f eventlog.Facts) (b *bench, p *eventlog.Projector, run func()) {
	b = newBench(t, f)
	b.Lead("instance", nil)
	p = eventlog.NewProjector(b.Log, func() bool { return true }, func() {})
	b.Observe(p.Observe)
	p.Start()
	return b, p, func() {
		t.Helper()
		for more := true; more; {
			more, _ = p.Step()
		}
		require.True(t, p.CaughtUp(b.End()))
	}
}

// data are those of the visible events of a stream.
func (b *bench) data(stream string) (list []string) {
	for _, r := range b.Read(eventlog.System, stream, 0, 1000, true).Records {
		list = append(list, string(r.Data()))
	}
	return list
}

func TestProjections(t *testing.T) {
	b, p, run := projected(t, eventlog.Facts{HasByCorrelation: true})
	var names []string
	for _, pr := range p.All() {
		assert.True(t, pr.IsStandard())
		assert.Same(t, pr, p.Find(pr.Name))
		names = append(names, pr.Name)
	}
	assert.Equal(t, []string{
		"$streams", "$stream_by_category", "$by_category", "$by_event_type", "$by_correlation_id",
	}, names)

	e := events(1, 2)
	e[1].Type, e[1].JSON, e[1].Metadata = "U", true, []byte(`{"$correlationId":"c"}`)
	b.write("order-1", e...)
	b.write("order-2-b", events(3)...)
	b.write("plain", events(4)...)
	b.write("$own-1", events(5)...)
	assert.False(t, p.CaughtUp(b.End()))
	assert.Len(t, p.Wake(), 1)
	run()
	for stream, want := range map[string][]string{
		"$ce-order": {"0@order-1", "1@order-1", "0@order-2-b"}, "$category-order": {"order-1", "order-2-b"},
		"$et-T": {"0@order-1", "0@order-2-b", "0@plain"}, "$et-U": {"1@order-1"}, "$bc-c": {"1@order-1"},
		"$streams": {"0@order-1", "0@order-2-b", "0@plain"}, "$ce-$own": nil,
	} {
		assert.Equal(t, want, b.data(stream), stream)
	}
	assert.True(t, b.Allowed(plain, eventlog.RightRead, "$ce-order"))
	event, link := b.Resolve(b.Stream("$ce-order").At(1))
	assert.Same(t, b.Stream("order-1").At(1), event)
	assert.NotNil(t, link)
}

// A projector that continues, in the same process or in another one, writes each link once.
func TestProjectionsGoOn(t *testing.T) {
	b, p, run := projected(t, eventlog.Facts{})
	b.write("order-1", events(1, 2)...)
	run()
	p.Stop()
	b.write("order-1", events(3)...)
	more, _ := p.Step()
	assert.False(t, more, "it does not run")
	assert.Len(t, b.data("$ce-order"), 2)

	other := eventlog.NewProjector(b.Log, func() bool { return true }, func() {})
	other.Start()
	for more := true; more; {
		more, _ = other.Step()
	}
	assert.Equal(t, []string{"0@order-1", "1@order-1", "2@order-1"}, b.data("$ce-order"))
	p.Start()
	run()
	assert.Equal(t, []string{"0@order-1", "1@order-1", "2@order-1"}, b.data("$ce-order"))
}

func TestProjectionsWait(t *testing.T) {
	ready := false
	b := newBench(t, eventlog.Facts{})
	p := eventlog.NewProjector(b.Log, func() bool { return ready }, func() {})
	p.Start()
	b.write("order-1", events(1)...)
	run := func() {
		for range b.Records().Len() {
			_, _ = p.Step()
		}
	}
	run()
	assert.Empty(t, b.data("$ce-order"), "the server does not allow writes")
	ready = true
	p.Hold(true)
	run()
	assert.Empty(t, b.data("$ce-order"), "it is held")
	p.Hold(false)
	run()
	assert.Equal(t, []string{"0@order-1"}, b.data("$ce-order"))
}

func TestCommandsOfProjections(t *testing.T) {
	b, p, run := projected(t, eventlog.Facts{})
	b.write("order-1", events(1)...)
	run()
	pr := p.Find("$by_category")
	require.True(t, pr.Disable())
	assert.True(t, pr.HasStopped())
	b.write("order-1", events(2)...)
	run()
	assert.Equal(t, []string{"0@order-1"}, b.data("$ce-order"))
	require.True(t, pr.Enable())
	run()
	assert.Equal(t, []string{"0@order-1", "1@order-1"}, b.data("$ce-order"))
	assert.Equal(t, "Running", pr.Run().Status)
	assert.InDelta(t, 100, pr.Run().Progress, 0)

	require.True(t, pr.Reset())
	run()
	assert.Equal(t, []string{"0@order-1", "1@order-1"}, b.data("$ce-order"))
	assert.Equal(t, []int64{2, 3}, b.numbers("$ce-order"), "they are written anew")

	own := p.Add("own", p.NewState("JS", "fromAll()"))
	require.NotNil(t, own)
	assert.Same(t, own, p.Find("own"))
	assert.False(t, own.IsStandard())
	require.True(t, own.Remove(true))
	assert.Nil(t, p.Find("own"))
}

// A projection faults if another writer has written to its stream.
func TestAProjectionFaults(t *testing.T) {
	b, p, run := projected(t, eventlog.Facts{})
	b.write("order-1", events(1)...)
	run()
	b.write("$ce-order", events(2)...)
	b.write("order-1", events(3)...)
	run()
	faulted := p.Find("$by_category").Run()
	assert.Equal(t, "Faulted (Enabled)", faulted.Status)
	assert.Contains(t, faulted.Reason, "$ce-order")
	assert.Equal(t, "Running", p.Find("$streams").Run().Status)
}
