package eventlog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// The visible events among ten, one a minute, for each metadata.
func TestMetadataHides(t *testing.T) {
	all := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for metadata, want := range map[string][]int64{
		`{}`:                              all,
		`{"$maxCount":3}`:                 {7, 8, 9},
		`{"$maxCount":30}`:                all,
		`{"$maxCount":0}`:                 all,
		`{"$maxCount":-1}`:                all,
		`{"$tb":4}`:                       {4, 5, 6, 7, 8, 9},
		`{"$tb":-4}`:                      all,
		`{"$tb":10}`:                      nil,
		`{"$tb":8,"$maxCount":5}`:         {8, 9},
		`{"$tb":2,"$maxCount":5}`:         {5, 6, 7, 8, 9},
		`{"$maxAge":150}`:                 {7, 8, 9},
		`{"$maxAge":150,"$maxCount":2}`:   {8, 9},
		`{"$maxAge":1}`:                   {9},
		`{"$maxAge":9223372036854775807}`: all,
		`{"$maxCount":3,"own":{"a":[]}}`:  {7, 8, 9},
		`{"$maxCount":null}`:              all,
		`{"$maxCount":null,"$tb":4}`:      all,
		`{"$maxCount":"3"}`:               all,
		`{"$maxCount":3,"$acl":5}`:        all,
		`{"$maxCount":3`:                  all,
		`[3]`:                             all,
		`null`:                            all,
	} {
		t.Run(metadata, func(t *testing.T) {
			b := newBench(t, eventlog.Facts{})
			for i := range 10 {
				if i > 0 {
					b.now = b.now.Add(time.Minute)
				}
				b.write("s", b.fresh(1)...)
			}
			b.set("s", metadata)
			assert.Equal(t, want, b.numbers("s"))
			var backward []int64
			for _, r := range b.Read(eventlog.System, "s", -1, 100, false).Records {
				backward = append([]int64{r.Number}, backward...)
			}
			assert.Equal(t, want, backward)
			first, last, visible := b.Stream("s").Extent(b.now)
			assert.EqualValues(t, 9, last)
			assert.Equal(t, len(want), visible)
			if len(want) > 0 {
				assert.Equal(t, want[0], first)
			} else {
				assert.EqualValues(t, -1, first)
			}
		})
	}
}

// Only the last metadata count, and only if they are said to be JSON.
func TestMetadataOfOtherFormsAreIgnored(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.write("s", b.fresh(5)...)
	b.set("s", `{"$maxCount":1}`)
	assert.Equal(t, []int64{4}, b.numbers("s"))
	b.set("s", `{"$maxCount":2}`)
	assert.Equal(t, []int64{3, 4}, b.numbers("s"))
	e := b.fresh(1)
	e[0].Type, e[0].Data = eventlog.MetadataType, []byte(`{"$maxCount":1}`)
	b.write("$$s", e...)
	assert.Equal(t, []int64{0, 1, 2, 3, 4}, b.numbers("s"))
	assert.Equal(t, []int64{2}, b.numbers("$$s"), "a metadata stream shows its last event")
}

// A page whose events are all too old has the position to read on from.
func TestPagesOfOldEvents(t *testing.T) {
	for _, seeks := range []bool{false, true} {
		b := newBench(t, eventlog.Facts{SeeksByAge: seeks})
		b.write("s", b.fresh(50)...)
		b.now = b.now.Add(time.Hour)
		b.write("s", b.fresh(1)...)
		b.set("s", `{"$maxAge":60}`)
		page := b.Read(eventlog.System, "s", 0, 10, true)
		assert.Empty(t, page.Records)
		assert.False(t, page.End)
		want := int64(10)
		if seeks {
			want = 50
		}
		assert.Equal(t, want, page.Next)
	}
}

func TestDeletes(t *testing.T) {
	for _, hard := range []bool{false, true} {
		for state, table := range map[string]map[int64]esproto.OperationResult{
			"new": {anyVersion: success, noStream: success, 0: wrongVersion},
			"two events": {
				anyVersion: success, noStream: wrongVersion, 0: wrongVersion, 1: success, 2: wrongVersion,
			},
			"metadata only": {anyVersion: success, noStream: success, 0: wrongVersion},
			"hard-deleted":  {anyVersion: gone, noStream: gone, 1: gone},
		} {
			for expected, want := range table {
				t.Run(fmt.Sprintf("%s, %d, hard %t", state, expected, hard), func(t *testing.T) {
					b := newBench(t, eventlog.Facts{})
					states[state](b)
					o := b.Delete(eventlog.System, "s", expected, hard)
					require.Equal(t, want, o.Result)
					if want != success {
						return
					}
					assert.Equal(t, hard, b.HardDeleted("s"))
					assert.Equal(t, hard, b.HardDeleted("$$s"), "its metadata go with it")
					assert.Equal(t, !hard, b.Stream("s").SoftDeleted())
					assert.Empty(t, b.numbers("s"))
					assert.Equal(t, b.LastCommit(), o.Commit)
				})
			}
		}
	}
}

func TestADeleteOfAStreamThatNeverExisted(t *testing.T) {
	b := newBench(t, eventlog.Facts{DeleteNeedsStream: true})
	assert.Equal(t, wrongVersion, b.Delete(eventlog.System, "s", anyVersion, false).Result)
	assert.Equal(t, success, b.Delete(eventlog.System, "s", anyVersion, true).Result, "a tombstone needs none")
	b.set("known", "{}")
	assert.Equal(t, success, b.Delete(eventlog.System, "known", anyVersion, false).Result)
}

func TestATombstone(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.write("s", events(1, 2)...)
	b.remove("s", true)
	last := b.Records().At(b.Records().Len() - 1)
	assert.Equal(t, deleted, last.Number)
	assert.Equal(t, "$streamDeleted", last.Type)
	assert.Equal(t, deleted, b.LastNumber("s"))
	assert.Equal(t, deleted, b.LastNumber("$$s"))
	assert.Equal(t, gone, b.Append(eventlog.System, "$$s", anyVersion, events(3)).Result)
	assert.Equal(t, esproto.ReadStreamEventsCompleted_StreamDeleted, b.Read(eventlog.System, "s", 0, 1, true).Result)
	result, _, _ := b.ReadEvent(eventlog.System, "s", 0, false)
	assert.Equal(t, esproto.ReadEventCompleted_StreamDeleted, result)
}

// A write to a soft-deleted stream, or to its metadata, shows later events, and keeps all other metadata.
func TestARecreatedStream(t *testing.T) {
	for name, revive := range map[string]func(b *bench){
		"events":      func(b *bench) { b.write("s", events(3, 4)...) },
		"no stream":   func(b *bench) { b.Append(eventlog.System, "s", noStream, events(3, 4)) },
		"transaction": func(b *bench) { b.CommitTransaction(eventlog.System, b.transact("s", 1, events(3, 4))) },
		"metadata":    func(b *bench) { b.set("s", `{"own":1}`); b.write("s", events(3, 4)...) },
		"nothing":     func(b *bench) { b.write("s"); b.write("s", events(3, 4)...) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, eventlog.Facts{})
			b.write("s", events(1, 2)...)
			b.remove("s", false)
			assert.Equal(t, esproto.ReadStreamEventsCompleted_NoStream, b.Read(eventlog.System, "s", 0, 1, true).Result)
			revive(b)
			assert.Equal(t, []int64{2, 3}, b.numbers("s"))
			meta := b.Stream("$$s")
			data := string(meta.At(meta.Last()).Data())
			assert.Contains(t, data, `"$tb":2`)
			assert.Equal(t, name == "metadata", strings.Contains(data, `"own":1`))
		})
	}
}

func TestReadEvent(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.write("s", events(1, 2, 3)...)
	b.set("s", `{"$tb":1}`)
	for number, want := range map[int64]int64{0: -1, 1: 1, 2: 2, 3: -1, -1: 2} {
		result, event, link := b.ReadEvent(eventlog.System, "s", number, false)
		assert.Nil(t, link)
		if want < 0 {
			assert.Equal(t, esproto.ReadEventCompleted_NotFound, result, number)
			continue
		}
		require.Equal(t, esproto.ReadEventCompleted_Success, result, number)
		assert.Equal(t, want, event.Number)
	}
	result, _, _ := b.ReadEvent(eventlog.System, "absent", 0, false)
	assert.Equal(t, esproto.ReadEventCompleted_NoStream, result)
	result, event, _ := b.ReadEvent(eventlog.System, "$$s", -1, false)
	assert.Equal(t, esproto.ReadEventCompleted_Success, result)
	assert.Equal(t, eventlog.MetadataType, event.Type)
}
