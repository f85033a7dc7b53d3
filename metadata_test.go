package eventstore

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Two event keys may begin alike. A marshaler removes the copies that the event lists, and nothing else.
func TestOnlyListedCopiesAreRemoved(t *testing.T) {
	for listed, want := range map[string]message.Metadata{
		"$correlationId":                 {"$causationId": "2", "$correlationIdChain": "3"},
		"$causationId":                   {"$correlationId": "1", "$correlationIdChain": "3"},
		"$correlationId$causationId":     {"$correlationIdChain": "3"},
		"$correlationIdChain":            {"$correlationId": "1", "$causationId": "2"},
		"$correlationIdChain$x":          {"$correlationId": "1", "$causationId": "2"},
		"$x$causationId":                 {"$correlationId": "1", "$correlationIdChain": "3"},
		"$":                              {"$correlationId": "1", "$causationId": "2", "$correlationIdChain": "3"},
		"":                               {"$correlationId": "1", "$causationId": "2", "$correlationIdChain": "3"},
		"own":                            {"$correlationId": "1", "$causationId": "2", "$correlationIdChain": "3"},
		"x$correlationIdChain$causation": {"$correlationId": "1", "$causationId": "2"},
	} {
		for form, extra := range map[string]string{"strings": "", "other JSON": `,"n":1`} {
			want := maps.Clone(want)
			want["own"] = "4"
			if extra != "" {
				want["n"] = "1"
			}
			msg, err := DefaultMarshaler{}.Unmarshal("topic", &esclient.Event{Metadata: []byte(
				`{"$correlationId":"1","$causationId":"2","$correlationIdChain":"3","own":"4","_watermill_mapped":"` +
					listed + `","_watermill_message_uuid":"u"` + extra + `}`)})
			require.NoError(t, err)
			assert.Equal(t, want, msg.Metadata, "%q, %s", listed, form)
		}
	}
}

// A mapping takes one line in the table, also if its keys contain others.
func TestMappingsWhoseKeysBeginAlike(t *testing.T) {
	mappings := metadataMappings{
		{"correlation_id", "$correlationId"}, {"chain", "$correlationIdChain"}, {"id", "$correlation"}, {"i", "$"},
	}
	for present := range 1 << len(mappings) {
		for own := range 1 << len(mappings) {
			want, copied := message.Metadata{}, 0
			for i, mapping := range mappings {
				has, owns := present>>i&1 == 1, own>>i&1 == 1
				if has {
					want[mapping.message] = mapping.message
				}
				if owns {
					want[mapping.event] = "own"
				}
				if has && !owns {
					copied++
				}
			}
			data := mappings.append([]byte{'{'}, want)
			got := maps.Clone(want)
			_, _, ok := scanStrings(got, string(append(data, '}')))
			require.True(t, ok)
			if copied > 0 {
				assert.Len(t, got, len(want)+copied+1, "the copies and their list")
			}
			removeMapped(got)
			require.Equal(t, want, got)
		}
	}
}

func TestEventsOfOthersGetEachMessageKey(t *testing.T) {
	for _, mapping := range defaultMappings {
		m := message.Metadata{mapping.event: "v"}
		defaultMappings.adopt(m)
		assert.Equal(t, message.Metadata{mapping.event: "v", mapping.message: "v"}, m)
		m[mapping.message] = "own"
		defaultMappings.adopt(m)
		assert.Equal(t, "own", m[mapping.message])
	}
}

func TestMappingsAreSound(t *testing.T) {
	seen := map[string]bool{UUIDKey: true, RawMetadataKey: true, EventTypeKey: true, mappedKey: true, binaryKey: true}
	for _, mapping := range defaultMappings {
		assert.Zero(t, strings.LastIndexByte(mapping.event, '$'), "%s begins with its only $", mapping.event)
		for _, key := range []string{mapping.message, mapping.event} {
			assert.False(t, seen[key], "%s occurs twice", key)
			seen[key] = true
		}
	}
}

// The page has the table of the code, row by row.
func TestThePageListsTheMetadata(t *testing.T) {
	rows := []string{"| Metadata of the message | Event |", "|---|---|", "| `" + EventTypeKey + "` | type |"}
	for _, mapping := range defaultMappings {
		rows = append(rows, "| `"+mapping.message+"` | metadata `"+mapping.event+"` |")
	}
	text, err := os.ReadFile("docs/messages.md")
	require.NoError(t, err)
	assert.Contains(t, string(text), "\n\n"+strings.Join(rows, "\n")+"\n\n", "docs/messages.md must have this table")
}

// scanUUID must read as encoding/json does, or leave it to that.
func TestMetadataOfJustAUUID(t *testing.T) {
	for _, id := range []string{
		"", "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "a b", `"`, `\`, "\x1f", "ä", "\x7f", `","a":"b`,
	} {
		data, err := marshalMetadata(message.NewMessage(id, nil), nil)
		require.NoError(t, err)
		m := message.Metadata{}
		got, ours := unmarshalMetadata(m, data)
		require.True(t, ours)
		require.Equal(t, id, got)
		require.Empty(t, m)
		if quick, ok := scanUUID(data); ok {
			require.Equal(t, id, quick)
		}
	}
	_, ok := scanUUID([]byte(uuidPrefix + `1","name":"a"}`))
	require.False(t, ok, "there is more than a UUID")
}
