package estest_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// put is one write to a stream of the events with these numbers.
type put struct {
	events   []int
	expected int64
}

// puts parses the names of tests of the suites: "0em1" is event 0 with expected version -1, "0any" with any version,
// and "S_0em1_1em1_E" is one write of both.
func puts(t *testing.T, sequence string) (all []put) {
	t.Helper()
	together := false
	for token := range strings.SplitSeq(sequence, "_") {
		switch token {
		case "S", "E":
			if together = token == "S"; together {
				all = append(all, put{})
			}
			continue
		}
		number, version, ok := strings.Cut(token, "e")
		expected := esproto.ExpectAny
		if !ok {
			number, _, ok = strings.Cut(token, "any")
		} else if version == "m1" {
			expected = esproto.ExpectNoStream
		} else {
			v, err := strconv.ParseInt(version, 10, 64)
			require.NoError(t, err, token)
			expected = v
		}
		require.True(t, ok, token)
		n, err := strconv.Atoi(number)
		require.NoError(t, err, token)
		if !together {
			all = append(all, put{})
		}
		last := &all[len(all)-1]
		last.events, last.expected = append(last.events, n), expected
	}
	return all
}

// TestSequencesOfWrites plays appending_to_implicitly_created_stream of the servers' own tests and of the legacy .NET
// client 22.0, and the same by transactions.
func TestSequencesOfWrites(t *testing.T) {
	const six = "0em1_1e0_2e1_3e2_4e3_5e4_"
	wev := esproto.OperationResult_WrongExpectedVersion
	for sequence, want := range map[string]struct {
		result esproto.OperationResult // of the last write
		events int                     // afterwards
	}{
		six + "0em1":                            {events: 6},
		six + "0any":                            {events: 6},
		six + "0e5":                             {events: 7},
		six + "0e6":                             {wev, 6},
		six + "0e4":                             {wev, 6},
		"0em1_0e0":                              {events: 2},
		"0em1_0any":                             {events: 1},
		"0em1_0em1":                             {events: 1},
		"0em1_1e0_2e1_1any_1any":                {events: 3},
		"S_0em1_1em1_E_S_0em1_E":                {events: 2},
		"S_0em1_1em1_E_S_0any_E":                {events: 2},
		"S_0em1_1em1_E_S_1e0_E":                 {events: 2},
		"S_0em1_1em1_E_S_1any_E":                {events: 2},
		"S_0em1_1em1_E_S_0em1_1em1_2em1_E":      {wev, 2},
		"S_0any_0any_0any_E":                    {events: 3}, // append_to_stream: the same id several times
		"S_0any_0any_0any_E_S_0any_0any_E":      {events: 3},
		"S_0em1_0em1_0em1_E_S_0em1_0em1_0em1_E": {events: 3},
	} {
		for _, persona := range personas {
			for _, how := range []string{"append", "transaction"} {
				p := connect(t, estest.Run(t, estest.WithPersona(persona)))
				events := make(map[int]*esproto.NewEvent)
				var result esproto.OperationResult
				for _, w := range puts(t, sequence) {
					require.Equal(t, esproto.OperationResult_Success, result, "%s: %s: not the last", how, sequence)
					var batch []*esproto.NewEvent
					for _, n := range w.events {
						if events[n] == nil {
							events[n] = newEvent("t", strconv.Itoa(n))
						}
						batch = append(batch, events[n])
					}
					if how == "append" {
						result = p.append(admin, "s", w.expected, batch...).GetResult()
						continue
					}
					tx := p.begin(admin, "s", w.expected).GetTransactionId()
					p.mustWrite(tx, batch...)
					result = p.commitAs(admin, tx).GetResult()
				}
				assert.Equal(t, want.result, result, "%s, %s: %s", persona, how, sequence)
				page := p.read(admin, "s", 0, 100, false)
				assert.Len(t, page.GetEvents(), want.events, "%s, %s: %s", persona, how, sequence)
			}
		}
	}
}

// mustWrite adds to a transaction.
func (p *peer) mustWrite(tx int64, events ...*esproto.NewEvent) {
	p.t.Helper()
	var r esproto.TransactionWriteCompleted
	p.ask(esproto.CmdTransactionWrite, admin, &esproto.TransactionWrite{
		TransactionId: &tx, Events: events, RequireLeader: proto.Bool(false)}, &r)
	require.Equal(p.t, esproto.OperationResult_Success, r.GetResult())
}

// TestRepetitionsOfOneIDHaveItsReply plays in_wtf_multiple_case_... and in_slightly_reasonable_... of append_to_stream:
// the same event, six times in one write, and the same write again. It checks the number in the second reply.
func TestRepetitionsOfOneIDHaveItsReply(t *testing.T) {
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona)))
		for expected, want := range map[int64]int64{esproto.ExpectAny: 0, esproto.ExpectNoStream: 5} {
			e, stream := newEvent("t", ""), fmt.Sprint("s", expected)
			six := []*esproto.NewEvent{e, e, e, e, e, e}
			assert.Equal(t, int64(5), p.append(admin, stream, expected, six...).GetLastEventNumber(), persona)
			assert.Equal(t, want, p.append(admin, stream, expected, six...).GetLastEventNumber(), persona)
		}
	}
}

// TestWhereAStreamMustExist plays should_..._with_stream_exists_exp_ver_... of append_to_stream.
func TestWhereAStreamMustExist(t *testing.T) {
	const ok, wrong, deleted = esproto.OperationResult_Success, esproto.OperationResult_WrongExpectedVersion,
		esproto.OperationResult_StreamDeleted
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess()))
		p.mustAppend(nil, "one", newEvent("t", ""))
		p.mustAppend(nil, "many", newEvent("t", ""), newEvent("t", ""), newEvent("t", ""))
		p.mustAppend(nil, "$$metadata", metadata(`{"$maxCount":10}`))
		for _, hard := range []bool{true, false} {
			stream := map[bool]string{true: "hard", false: "soft"}[hard]
			p.mustAppend(nil, stream, newEvent("t", ""))
			p.delete(stream, hard)
		}
		for stream, want := range map[string]esproto.OperationResult{
			"one": ok, "many": ok, "metadata": ok, "none": wrong, "hard": deleted, "soft": deleted,
		} {
			r := p.append(nil, stream, esproto.ExpectStreamExists, newEvent("t", ""))
			assert.Equal(t, want, r.GetResult(), "%s: %s", persona, stream)
		}
	}
}

// TestTransactionsKeepToTheirVersion plays transaction and when_committing_empty_transaction.
func TestTransactionsKeepToTheirVersion(t *testing.T) {
	const ok, wrong = esproto.OperationResult_Success, esproto.OperationResult_WrongExpectedVersion
	event := func() *esproto.NewEvent { return newEvent("t", "") }
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess()))
		streams := 0
		for what, tc := range map[string]struct {
			before    int // events in the stream
			expected  int64
			meanwhile func(stream string)
			events    int
			result    esproto.OperationResult
			last      int64 // number of the last event, if it succeeds
		}{
			"a new stream":             {expected: esproto.ExpectNoStream, events: 1},
			"any version":              {expected: esproto.ExpectAny, events: 1},
			"no such version":          {expected: 1, events: 1, result: wrong},
			"a version far away":       {expected: 100500, events: 1, result: wrong},
			"nothing to a new stream":  {expected: esproto.ExpectNoStream, last: -1},
			"nothing to an old stream": {before: 3, expected: 2, last: 2},
			"right first, then wrong": {expected: esproto.ExpectNoStream, events: 1, result: wrong,
				meanwhile: func(s string) { p.mustAppend(nil, s, event()) }},
			"wrong first, then right": {expected: 0, events: 1, last: 1,
				meanwhile: func(s string) { p.mustAppend(nil, s, event()) }},
			"any, while others write": {expected: esproto.ExpectAny, events: 2, last: 4,
				meanwhile: func(s string) { p.mustAppend(nil, s, event(), event(), event()) }},
			"deleted meanwhile": {expected: esproto.ExpectNoStream, events: 1,
				meanwhile: func(s string) { p.mustAppend(nil, s, event()); p.delete(s, true) },
				result:    esproto.OperationResult_StreamDeleted},
		} {
			streams++
			stream := fmt.Sprint("s", streams)
			for range tc.before {
				p.mustAppend(nil, stream, event())
			}
			tx := p.begin(nil, stream, tc.expected)
			require.Equal(t, ok, tx.GetResult(), "%s: %s: it begins whatever the version is", persona, what)
			for range tc.events {
				p.mustWrite(tx.GetTransactionId(), event())
			}
			if tc.meanwhile != nil {
				tc.meanwhile(stream)
			}
			r := p.commitAs(nil, tx.GetTransactionId())
			assert.Equal(t, tc.result, r.GetResult(), "%s: %s", persona, what)
			if tc.result == ok {
				assert.Equal(t, tc.last, r.GetLastEventNumber(), "%s: %s", persona, what)
			}
		}
	}
}

// TestAppendsAfterATransactionOfNothing plays when_committing_empty_transaction.
func TestAppendsAfterATransactionOfNothing(t *testing.T) {
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess()))
		first := newEvent("t", "")
		for _, tc := range []struct {
			stream   string
			expected int64
			events   []*esproto.NewEvent
			result   esproto.OperationResult
			last     int64
			length   int
		}{
			{"exact", 2, []*esproto.NewEvent{newEvent("t", ""), newEvent("t", "")}, 0, 4, 5},
			{"any", esproto.ExpectAny, []*esproto.NewEvent{newEvent("t", ""), newEvent("t", "")}, 0, 4, 5},
			{"again", esproto.ExpectNoStream, []*esproto.NewEvent{first}, 0, 0, 3},
			{"other", esproto.ExpectNoStream, []*esproto.NewEvent{newEvent("t", "")},
				esproto.OperationResult_WrongExpectedVersion, -1, 3},
		} {
			p.mustAppend(nil, tc.stream, first, newEvent("t", ""), newEvent("t", ""))
			tx := p.begin(nil, tc.stream, 2).GetTransactionId()
			require.Equal(t, int64(2), p.commitAs(nil, tx).GetLastEventNumber(), persona)
			r := p.append(nil, tc.stream, tc.expected, tc.events...)
			assert.Equal(t, tc.result, r.GetResult(), "%s: %s", persona, tc.stream)
			if tc.result == esproto.OperationResult_Success {
				assert.Equal(t, tc.last, r.GetLastEventNumber(), "%s: %s", persona, tc.stream)
			}
			page := p.read(nil, tc.stream, 0, 100, false)
			require.Len(t, page.GetEvents(), tc.length, "%s: %s", persona, tc.stream)
			for i, e := range page.GetEvents() {
				assert.EqualValues(t, i, e.GetEvent().GetEventNumber(), "%s: %s", persona, tc.stream)
			}
		}
	}
}

// TestSoftDeletedStreamsComeBack plays soft_delete.
func TestSoftDeletedStreamsComeBack(t *testing.T) {
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess()))
		deleted := func(stream string) {
			p.mustAppend(nil, stream, newEvent("t", "0"), newEvent("t", "1"))
			p.delete(stream, false)
			page := p.read(nil, stream, 0, 100, false)
			require.Equal(t, esproto.ReadStreamEventsCompleted_NoStream, page.GetResult(), persona)
			require.Equal(t, int64(1), page.GetLastEventNumber(), persona)
		}
		for stream, expected := range map[string]int64{
			"any": esproto.ExpectAny, "none": esproto.ExpectNoStream, "exact": 1,
		} {
			deleted(stream)
			r := p.append(nil, stream, expected, newEvent("t", "2"), newEvent("t", "3"), newEvent("t", "4"))
			require.Equal(t, esproto.OperationResult_Success, r.GetResult(), "%s: %s", persona, stream)
			assert.Equal(t, int64(4), r.GetLastEventNumber(), "%s: %s", persona, stream)
			page := p.read(nil, stream, 0, 100, false)
			assert.Equal(t, []string{"2", "3", "4"}, data(page), "%s: %s", persona, stream)
		}
		r := p.append(nil, "none", esproto.ExpectNoStream, newEvent("t", ""))
		assert.Equal(t, esproto.OperationResult_WrongExpectedVersion, r.GetResult(), "%s: the first only", persona)
		assert.Equal(t, int64(6), p.append(nil, "any", esproto.ExpectAny,
			newEvent("t", "5"), newEvent("t", "6")).GetLastEventNumber(), persona)

		for stream, tc := range map[string]struct {
			metadata *esproto.NewEvent
			data     []string
		}{
			"json":     {metadata(`{"$maxCount":100,"key":17}`), nil},
			"not json": {newEvent("$metadata", strings.Repeat("\x00", 256)), []string{"0", "1"}},
		} {
			deleted(stream)
			r := p.append(nil, "$$"+stream, 0, tc.metadata)
			require.Equal(t, esproto.OperationResult_Success, r.GetResult(), "%s: %s", persona, stream)
			assert.Equal(t, int64(1), r.GetLastEventNumber(), "%s: %s", persona, stream)
			page := p.read(nil, stream, 0, 100, false)
			assert.Equal(t, esproto.ReadStreamEventsCompleted_Success, page.GetResult(), "%s: %s", persona, stream)
			assert.Equal(t, tc.data, data(page), "%s: %s", persona, stream)
		}
		last := data(p.readPage(esproto.CmdReadStreamEventsBackward, nil, "$$json", -1, 1, false))
		require.Len(t, last, 1)
		assert.JSONEq(t, `{"$tb":2,"$maxCount":100,"key":17}`, last[0], "%s: from where on it is back", persona)
		p.delete("json", true)
		assert.Equal(t, esproto.ReadStreamEventsCompleted_StreamDeleted, p.read(nil, "json", 0, 1, false).GetResult())
	}
}

// TestLinksToMissingEvents plays read_stream_events_with_unresolved_linkto and
// read_all_events_forward_with_linkto_to_deleted_event and ..._passed_max_count.
func TestLinksToMissingEvents(t *testing.T) {
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess()))
		p.mustAppend(nil, "target", newEvent("t", "0"), newEvent("t", "1"))
		p.mustAppend(nil, "links", newEvent("$>", "0@target"), newEvent("$>", "1@target"))
		resolved := func(what string, want ...bool) {
			t.Helper()
			page := p.read(nil, "links", 0, 10, true)
			require.Len(t, page.GetEvents(), len(want), "%s: %s", persona, what)
			for i, e := range page.GetEvents() {
				assert.NotNil(t, e.GetLink(), "%s: %s: %d", persona, what, i)
				assert.Equal(t, want[i], e.GetEvent() != nil, "%s: %s: %d", persona, what, i)
			}
		}
		resolved("both are there", true, true)
		p.mustAppend(nil, "$$target", metadata(`{"$maxCount":1}`))
		resolved("$maxCount has passed the first", false, true)
		p.delete("target", false)
		resolved("both are deleted", false, false)
		p.delete("target", true)
		resolved("the stream is deleted for good", false, false)
	}
}

// TestTheFirstEventOfAllIsNotAtTheStart: catch-up subscribers of all suites start behind 0/0 and ignore events at or
// before it.
func TestTheFirstEventOfAllIsNotAtTheStart(t *testing.T) {
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona)))
		p.mustAppend(admin, "s", newEvent("t", ""))
		page := readAllFrom(connectAs(t, p.s, admin), [2]int64{0, 0}, 1)
		require.Len(t, page.GetEvents(), 1, persona)
		assert.Positive(t, page.GetEvents()[0].GetCommitPosition(), persona)
	}
}
