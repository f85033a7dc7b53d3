package estest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const (
	eventsType = "application/vnd.eventstore.events+json"
	textType   = "text/plain; charset=utf-8"
)

// anyPersona runs a test once for each version.
func anyPersona(t *testing.T, test func(t *testing.T, s *estest.Server, persona estest.Persona)) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) { test(t, estest.Run(t, estest.WithPersona(persona)), persona) })
	}
}

// eventsBody returns the body of an append of events of a type with JSON data.
func eventsBody(typ string, data ...string) string {
	events := make([]string, len(data))
	for i, d := range data {
		events[i] = `{"eventId":"` + uuid.NewString() + `","eventType":"` + typ + `","data":` + d + `}`
	}
	return "[" + strings.Join(events, ",") + "]"
}

func TestEventsAreAppendedOverHTTP(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		url, as := s.HTTPURL()+"/streams/orders%2520%25251", http.Header{"Content-Type": {eventsType}}
		id := uuid.New()
		body := `[{"eventId":"` + id.String() + `","eventType":"placed","data":{"n":1},"metadata":{"by":"me"}},
			{"eventId":"` + uuid.NewString() + `","eventType":"note","data":"plain text"}]`
		res, answer := requestFor(t, "POST", url, body, as)
		require.Equal(t, http.StatusCreated, res.StatusCode, "%s", answer)
		assert.Empty(t, answer)
		assert.Equal(t, textType, res.Header.Get("Content-Type"))
		assert.Equal(t, s.HTTPURL()+"/streams/orders%20%251/0", res.Header.Get("Location"))

		page := connect(t, s).read(admin, "orders %1", 0, 10, false).GetEvents()
		require.Len(t, page, 2)
		first, second := page[0].GetEvent(), page[1].GetEvent()
		guid := esproto.NewGUID(id)
		assert.Equal(t, guid[:], first.GetEventId())
		assert.Equal(t, "placed", first.GetEventType())
		assert.Equal(t, "{\n  \"n\": 1\n}", string(first.GetData()), "servers indent the data of a list")
		assert.Equal(t, "{\n  \"by\": \"me\"\n}", string(first.GetMetadata()))
		assert.EqualValues(t, 1, first.GetDataContentType())
		assert.Equal(t, "plain text", string(second.GetData()))
		assert.Zero(t, second.GetDataContentType())

		res, _ = requestFor(t, "POST", url, body, as)
		assert.Equal(t, http.StatusCreated, res.StatusCode, "the same events again")
		assert.Equal(t, s.HTTPURL()+"/streams/orders%20%251/0", res.Header.Get("Location"))
		assert.Len(t, connect(t, s).read(admin, "orders %1", 0, 10, false).GetEvents(), 2)
	})
}

func TestASingleEventIsAppendedOverHTTP(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		url := s.HTTPURL() + "/streams/s"
		header := func(typ, id string) http.Header {
			h := http.Header{"Content-Type": {"application/json; charset=UTF-8"}}
			if typ != "" {
				h.Set("ES-EventType", typ)
			}
			if id != "" {
				h.Set("ES-EventId", id)
			}
			return h
		}
		res, _ := requestFor(t, "POST", url, `{"n": 1}`, header("placed", uuid.NewString()))
		require.Equal(t, http.StatusCreated, res.StatusCode)

		res, _ = requestFor(t, "POST", url, `{"n": 2}`, header("placed", ""))
		require.Equal(t, http.StatusTemporaryRedirect, res.StatusCode)
		location := res.Header.Get("Location")
		require.Contains(t, location, url+"/incoming/")
		for range 2 { // the path has the id, so that the request may be repeated
			res, _ = requestFor(t, "POST", location, `{"n": 2}`, header("placed", ""))
			require.Equal(t, http.StatusCreated, res.StatusCode)
			assert.Equal(t, url+"/1", res.Header.Get("Location"))
		}
		raw := header("blob", uuid.NewString())
		raw.Set("Content-Type", "application/octet-stream")
		res, _ = requestFor(t, "POST", url, "\x00\xff", raw)
		require.Equal(t, http.StatusCreated, res.StatusCode)

		for _, path := range []string{"/streams/a%252541", "/streams/a%252541/"} { // it is a%41
			for range 3 {
				res, _ = requestFor(t, "POST", s.HTTPURL()+path, `{"n": 1}`, header("placed", ""))
				if res.StatusCode != http.StatusTemporaryRedirect {
					break
				}
				path = strings.TrimPrefix(res.Header.Get("Location"), s.HTTPURL())
			}
			assert.Equal(t, http.StatusCreated, res.StatusCode)
		}
		assert.Len(t, connect(t, s).read(admin, "a%41", 0, 10, false).GetEvents(), 2)

		var data []string
		for _, e := range connect(t, s).read(admin, "s", 0, 10, false).GetEvents() {
			data = append(data, string(e.GetEvent().GetData()))
		}
		assert.Equal(t, []string{`{"n": 1}`, `{"n": 2}`, "\x00\xff"}, data, "as they were sent")

		res, body := requestFor(t, "POST", url, "{}", header("", uuid.NewString()))
		assert.Equal(t, http.StatusBadRequest, res.StatusCode)
		assert.Contains(t, string(body), "ES-EventType")
		res, _ = requestFor(t, "POST", url, "{}", header("placed", "no id"))
		assert.Equal(t, http.StatusBadRequest, res.StatusCode)
	})
}

func TestAppendsThatHTTPRefuses(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		url := s.HTTPURL() + "/streams/s"
		post := func(body, expected string) httpAnswer {
			h := http.Header{"Content-Type": {eventsType}}
			if expected != "" {
				h.Set("ES-ExpectedVersion", expected)
			}
			res, _ := requestFor(t, "POST", url, body, h)
			return res
		}
		for _, body := range []string{
			"", "[]", "{}", "no JSON", `[{"eventType":"t","data":{}}]`, `[{"eventId":"x","eventType":"t","data":{}}]`,
			`[{"eventId":"` + uuid.NewString() + `","data":{}}]`,
		} {
			assert.Equal(t, http.StatusBadRequest, post(body, "").StatusCode, body)
		}
		assert.Equal(t, http.StatusCreated, post(eventsBody("t", `{}`), "-1").StatusCode)
		wrong := post(eventsBody("t", `{}`), "-1")
		assert.Equal(t, http.StatusBadRequest, wrong.StatusCode)
		assert.Equal(t, "0", wrong.Header.Get("ES-CurrentVersion"))
		for expected, status := range map[string]int{
			"-2": 201, "-4": 201, "7": 400, "-3": 400, "-5": 400, "one": 400,
		} {
			assert.Equal(t, status, post(eventsBody("t", `{}`), expected).StatusCode, expected)
		}
		res, _ := requestFor(t, "POST", url, "{}", http.Header{"Content-Type": {"image/png"}})
		assert.Equal(t, http.StatusUnsupportedMediaType, res.StatusCode)
		large := eventsBody("t", `"`+strings.Repeat("x", 5<<20)+`"`)
		assert.Equal(t, http.StatusRequestEntityTooLarge, post(large, "").StatusCode)
		connectAs(t, s, admin).delete("s", true)
		assert.Equal(t, http.StatusGone, post(eventsBody("t", `{}`), "").StatusCode)
	})
}

func TestWhoMayAppendAndReadOverHTTP(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, persona estest.Persona) {
		p := connect(t, s)
		meta := newEvent("$metadata", `{"$acl":{"$r":"ops","$w":"ops"}}`)
		meta.DataContentType = proto.Int32(1)
		p.mustAppend(admin, "$$closed", meta)
		anonymous := byPersona(401, 201, 401)[persona]
		for _, tc := range []struct {
			stream string
			as     *esproto.Credentials
			want   int
		}{
			{"open", admin, 201}, {"open", ops, 201}, {"open", wrong, 401}, {"open", nil, anonymous},
			{"closed", admin, 201}, {"closed", ops, 201}, {"closed", nil, 401}, {"$system", ops, 401},
			{"$system", admin, 201},
		} {
			res, _ := requestAs(t, tc.as, "POST", s.HTTPURL()+"/streams/"+tc.stream, eventsBody("t", `{}`),
				http.Header{"Content-Type": {eventsType}})
			assert.Equal(t, tc.want, res.StatusCode, "%s as %v", tc.stream, tc.as)
			if tc.want == 201 {
				tc.want = 200
			}
			for _, path := range []string{"", "/0", "/head", "/0/forward/5"} {
				res, _ = requestAs(t, tc.as, "GET", s.HTTPURL()+"/streams/"+tc.stream+path, "",
					http.Header{"Accept": {"application/json"}})
				assert.Equal(t, tc.want, res.StatusCode, "%s%s as %v", tc.stream, path, tc.as)
			}
		}
	})
}

// feed has the parts of a page that the tests check.
type feed struct {
	HeadOfStream bool
	ETag         string
	Links        []struct{ Relation, URI string }
	Entries      []struct {
		Title, Summary, Data, MetaData string
		EventNumber                    int64
		Content                        struct{ Data, Metadata json.RawMessage }
	}
}

func (f *feed) titles() (titles []string) {
	for _, e := range f.Entries {
		titles = append(titles, e.Title)
	}
	return titles
}

func (f *feed) link(relation string) string {
	for _, l := range f.Links {
		if l.Relation == relation {
			return l.URI
		}
	}
	return ""
}

func readFeed(t testing.TB, url string) (f feed) {
	t.Helper()
	res, body := requestFor(t, "GET", url, "", http.Header{"Accept": {"application/vnd.eventstore.atom+json"}})
	require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", url, body)
	require.NoError(t, json.Unmarshal(body, &f))
	return f
}

func TestStreamsAreReadOverHTTP(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		url := s.HTTPURL() + "/streams/s"
		p := connectAs(t, s, admin)
		p.appendAny("s", 25)

		head := readFeed(t, url)
		require.Len(t, head.Entries, 20)
		assert.True(t, head.HeadOfStream)
		assert.Equal(t, "24@s", head.Entries[0].Title)
		older := readFeed(t, head.link("next"))
		assert.Equal(t, []string{"4@s", "3@s", "2@s", "1@s", "0@s"}, older.titles())
		assert.Empty(t, older.link("next"))
		assert.Equal(t, []string{"2@s", "1@s", "0@s"}, titlesOf(t, url+"/0/forward/3"))
		assert.Equal(t, []string{"2@s", "1@s"}, titlesOf(t, url+"/2/2"))
		forward := readFeed(t, url+"/0/forward/20")
		assert.Equal(t, []string{"24@s", "23@s", "22@s", "21@s", "20@s"}, titlesOf(t, forward.link("previous")))
		assert.Empty(t, titlesOf(t, head.link("previous")), "there is nothing newer yet")

		h := http.Header{"Accept": {"application/vnd.eventstore.atom+json"}, "If-None-Match": {`"` + head.ETag + `"`}}
		res, _ := requestFor(t, "GET", url, "", h)
		assert.Equal(t, http.StatusNotModified, res.StatusCode)
		p.appendAny("s", 1)
		res, _ = requestFor(t, "GET", url, "", h)
		assert.Equal(t, http.StatusOK, res.StatusCode)

		for path, status := range map[string]int{
			"/streams/none": 404, "/streams/none/0": 404, "/streams/s/99": 404, "/streams/s/x": 400,
			"/streams/s/-1": 400, "/streams/s/0/forward/0": 400, "/streams/s/0/backward/x": 400,
			"/streams/s?format=xml": 406, "/streams/s/": 307,
		} {
			res, _ = requestFor(t, "GET", s.HTTPURL()+path, "", h)
			assert.Equal(t, status, res.StatusCode, path)
		}
		p.delete("s", true)
		res, _ = requestFor(t, "GET", url, "", h)
		assert.Equal(t, http.StatusGone, res.StatusCode)
	})
}

func titlesOf(t testing.TB, url string) []string {
	t.Helper()
	f := readFeed(t, url)
	return f.titles()
}

func TestAnEventIsReadOverHTTP(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		url, p := s.HTTPURL()+"/streams/", connect(t, s)
		first := newEvent("placed", `{"n":0}`)
		first.DataContentType, first.Metadata = proto.Int32(1), []byte(`{"by":"me"}`)
		p.mustAppend(admin, "s", first, newEvent("note", "plain text"))
		p.mustAppend(admin, "links", newEvent("$>", "0@s"), newEvent("$>", "9@s"))
		get := func(path, accept string) string {
			res, body := requestFor(t, "GET", url+path, "", http.Header{"Accept": {accept}})
			require.Equal(t, http.StatusOK, res.StatusCode, path)
			mediaType, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
			assert.Equal(t, accept, mediaType)
			return string(body)
		}
		assert.JSONEq(t, `{"n":0}`, get("s/0", "application/json"))
		assert.Equal(t, `{"n":0}`, get("s/0", "application/octet-stream"))
		assert.JSONEq(t, `"plain text"`, get("s/head", "application/json"))
		assert.JSONEq(t, `{"n":0}`, get("links/0", "application/json"), "links are resolved")
		var event struct {
			EventStreamID, EventType, EventID string
			EventNumber                       int64
			Data, Metadata                    json.RawMessage
		}
		require.NoError(t, json.Unmarshal([]byte(get("s/0", "application/vnd.eventstore.event+json")), &event))
		assert.Equal(t, "s", event.EventStreamID)
		assert.Equal(t, "placed", event.EventType)
		assert.JSONEq(t, `{"n":0}`, string(event.Data))
		assert.JSONEq(t, `{"by":"me"}`, string(event.Metadata))
		entry := get("s/0", "application/vnd.eventstore.atom+json")
		assert.Contains(t, entry, `"title": "0@s"`)
		assert.Contains(t, entry, `"content"`)
		res, _ := requestFor(t, "GET", url+"links/1", "", http.Header{"Accept": {"application/json"}})
		assert.Equal(t, http.StatusNotFound, res.StatusCode, "a link that leads nowhere")
		res, body := requestFor(t, "GET", url+"links/1", "", http.Header{
			"Accept": {"application/octet-stream"}, "ES-ResolveLinkTos": {"False"},
		})
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "9@s", string(body))

		assert.JSONEq(t, `{}`, get("s/metadata", "application/json"), "none was set")
		meta := newEvent("$metadata", `{"$maxCount":7}`)
		meta.DataContentType = proto.Int32(1)
		p.mustAppend(admin, "$$s", meta)
		assert.JSONEq(t, `{"$maxCount":7}`, get("s/metadata", "application/json"))
		f := readFeed(t, url+"links?embed=body")
		require.Len(t, f.Entries, 2)
		assert.Equal(t, "0@s", f.Entries[1].Title)
		assert.Equal(t, "$>", f.Entries[1].Summary)
		assert.Equal(t, `{"n":0}`, f.Entries[1].Data)
		assert.Equal(t, `{"by":"me"}`, f.Entries[1].MetaData)
		f = readFeed(t, url+"s?embed=content")
		assert.JSONEq(t, `{"n":0}`, string(f.Entries[1].Content.Data))
		f = readFeed(t, url+"s?embed=tryharder")
		assert.Equal(t, []string{"plain text", "{\n  \"n\": 0\n}"}, []string{f.Entries[0].Data, f.Entries[1].Data})
		f = readFeed(t, url+"s")
		assert.Empty(t, f.Entries[1].Data, "nothing is embedded unasked")
	})
}

func TestAFollowerForwardsAppendsOverHTTP(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithPersona(estest.Persona5011))
	res, _ := requestFor(t, "POST", c.Node(1).HTTPURL()+"/streams/a%252541", eventsBody("t", `{"n":1}`),
		http.Header{"Content-Type": {eventsType}})
	require.Equal(t, http.StatusCreated, res.StatusCode)
	for i := range c.Size() {
		res, _ = requestFor(t, "GET", c.Node(i).HTTPURL()+"/streams/a%252541/0", "",
			http.Header{"Accept": {"application/json"}})
		assert.Equal(t, http.StatusOK, res.StatusCode, "node %d", i)
	}
	events, err := c.Node(0).Read("a%41", 0, 10)
	require.NoError(t, err)
	assert.Len(t, events, 1)
}

func TestASlashAtTheEndIsSentAway(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, persona estest.Persona) {
		for path, want := range map[string]string{
			"/streams/a%252541/": "/streams/a%252541", "/streams/a/?embed=body": "/streams/a?embed=body",
			"/streams/a%2F": byPersona("/streams/a", "/streams/a", "")[persona], // a name from 20.6 on
		} {
			res, _ := requestFor(t, "GET", s.HTTPURL()+path, "", nil)
			assert.Equal(t, want != "", res.StatusCode == http.StatusTemporaryRedirect, path)
			assert.Equal(t, want, res.Header.Get("Location"), path)
		}
	})
}

// Pages that are not written yet are not kept, however great their numbers.
func TestHowLongPagesAreKept(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		connectAs(t, s, admin).appendAny("s", 5)
		for path, kept := range map[string]bool{
			"0/forward/5": true, "2/forward/3": true, "4/backward/2": true, "0/forward/6": false, "4/forward/2": false,
			"5/forward/1": false, "5/backward/2": false, "head": false,
			"9223372036854775807/forward/20": false, "9223372036854775788/forward/20": false,
		} {
			res, _ := requestFor(t, "GET", s.HTTPURL()+"/streams/s/"+path, "",
				http.Header{"Accept": {"application/vnd.eventstore.atom+json"}})
			require.Equal(t, http.StatusOK, res.StatusCode, path)
			assert.Equal(t, kept, strings.HasPrefix(res.Header.Get("Cache-Control"), "max-age=31536000"), path)
		}
	})
}

func TestLinksOfPages(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		url := s.HTTPURL() + "/streams/s/"
		connectAs(t, s, admin).appendAny("s", 25)
		for path, want := range map[string][2]string{
			"24/backward/20":  {"4/backward/20", "25/forward/20"},
			"100/backward/20": {"80/backward/20", "25/forward/20"},
			"4/backward/5":    {"", "5/forward/5"},
			"5/forward/10":    {"4/backward/10", "15/forward/10"},
			"15/forward/10":   {"14/backward/10", "25/forward/10"},
			"16/forward/10":   {"15/backward/10", "25/forward/10"},
		} {
			f := readFeed(t, url+path)
			got := [2]string{strings.TrimPrefix(f.link("next"), url), strings.TrimPrefix(f.link("previous"), url)}
			assert.Equal(t, want, got, path)
		}
	})
}

// Servers do not choose in which form a stream is read.
func TestAStreamIsDescribedToWhoTakesAnything(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, _ estest.Persona) {
		connect(t, s).mustAppend(admin, "s", newEvent("t", "{}"))
		for accept, status := range map[string]int{
			"": 406, "*/*": 406, "application/vnd.eventstore.streamdesc+json": 200,
		} {
			res, body := requestFor(t, "GET", s.HTTPURL()+"/streams/s", "", http.Header{"Accept": {accept}})
			assert.Equal(t, status, res.StatusCode, accept)
			var description struct {
				Links map[string]struct{ Href string } `json:"_links"`
			}
			require.NoError(t, json.Unmarshal(body, &description), "%s", body)
			assert.Equal(t, "/streams/s", description.Links["stream"].Href)
		}
		for _, accept := range []string{"", "*/*", "application/*"} {
			res, body := requestFor(t, "GET", s.HTTPURL()+"/streams/s/0/forward/5", "", http.Header{"Accept": {accept}})
			assert.Equal(t, http.StatusOK, res.StatusCode, accept)
			assert.Equal(t, atomType, res.Header.Get("Content-Type"), accept)
			assert.Contains(t, string(body), `"title": "0@s"`)
		}
		res, _ := requestFor(t, "GET", s.HTTPURL()+"/streams/s/0/forward/5", "",
			http.Header{"Accept": {"application/vnd.eventstore.streamdesc+json"}})
		assert.Equal(t, http.StatusNotAcceptable, res.StatusCode, "only streams are described")
	})
}
