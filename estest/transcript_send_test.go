package estest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// translation has our server's values for the names and numbers that the real server has chosen.
type translation struct {
	positions map[int64]int64
	tx        map[int64]int64
	ids       map[string]string
}

func newTranslation() translation {
	return translation{map[int64]int64{}, map[int64]int64{}, map[string]string{}}
}

// learn walks two messages that say the same.
func (tr *translation) learn(recorded, ours protoreflect.Message) {
	recorded.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !ours.Has(field) {
			return true
		}
		o := ours.Get(field)
		switch {
		case field.IsList() && field.Message() != nil:
			for i := range min(v.List().Len(), o.List().Len()) {
				tr.learn(v.List().Get(i).Message(), o.List().Get(i).Message())
			}
		case field.IsList():
		case field.Message() != nil:
			tr.learn(v.Message(), o.Message())
		case field.Name() == "transaction_id":
			tr.tx[v.Int()] = o.Int()
		case strings.HasSuffix(string(field.Name()), "_position") && v.Int() > 0:
			tr.positions[v.Int()] = o.Int()
		case field.Name() == "event_id":
			tr.ids[string(v.Bytes())] = string(o.Bytes())
		}
		return true
	})
}

// translate maps the recorded ids and positions of a request to those of our server. It returns whether it changed any.
func (tr *translation) translate(m protoreflect.Message) (changed bool) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Name() == "processed_event_ids":
			for i := range v.List().Len() {
				if id, ok := tr.ids[string(v.List().Get(i).Bytes())]; ok {
					v.List().Set(i, protoreflect.ValueOfBytes([]byte(id)))
					changed = true
				}
			}
		case field.Name() == "transaction_id":
			if id, ok := tr.tx[v.Int()]; ok {
				m.Set(field, protoreflect.ValueOfInt64(id))
				changed = true
			}
		case strings.HasSuffix(string(field.Name()), "_position"):
			if pos, ok := tr.position(v.Int()); ok {
				m.Set(field, protoreflect.ValueOfInt64(pos))
				changed = true
			}
		}
		return true
	})
	return changed
}

// position returns our server's value of a position: that of a record, or one inside of it.
func (tr *translation) position(recorded int64) (ours int64, ok bool) {
	const shortest = 30 // no record takes less of the log
	for inside := range min(recorded, shortest) {
		if pos, ok := tr.positions[recorded-inside]; ok {
			return pos + inside, true
		}
	}
	return 0, false
}

func dialServer(s *estest.Server) (net.Conn, error) { return net.Dial("tcp", s.Addr()) }

// commandOf finds a command by its name or hex code.
func commandOf(name string) esproto.Command {
	var code byte
	if n, _ := fmt.Sscanf(name, "0x%02x", &code); n == 1 {
		return esproto.Command(code)
	}
	for c := range 256 {
		if cmd := esproto.Command(c); cmd.Known() && cmd.String() == name {
			return cmd
		}
	}
	return 0
}

func commandName(c esproto.Command) string {
	if c.Known() {
		return c.String()
	}
	return fmt.Sprintf("0x%02x", byte(c))
}

// send sends a frame of the recorded client. A frame with credentials has the right password unless the server refused
// them.
func (p *player) send(f *entry) {
	p.unanswered++
	body, err := hex.DecodeString(strings.TrimSuffix(f.Raw, "..."))
	if err != nil {
		p.fail("%v", err)
		return
	}
	if f.Cmd == "RAW" {
		_, _ = p.lines[f.Conn].peer.nc.Write(body) // the server may end the connection at any byte
		return
	}
	if f.RawLen > 0 {
		if body = p.rebuild(f); body == nil {
			return
		}
	}
	if m := parse(f.Cmd, body); m != nil && p.ours.translate(m.ProtoReflect()) {
		if body, err = proto.Marshal(m); err != nil {
			p.fail("%v", err)
			return
		}
	}
	id, known := p.corrs[f.Corr]
	if !known && f.Corr != "zero" {
		id = newID()
		p.corrs[f.Corr], p.labels[id] = id, f.Corr
	}
	var as *esproto.Credentials
	if f.Auth != "" {
		as = &esproto.Credentials{Login: f.Auth, Password: "changeit"}
		if p.wasRefused(f) {
			as.Password = "wrong"
		}
	}
	b := append(esproto.AppendHeader(nil, commandOf(f.Cmd), id, as), body...)
	if f.Flags != nil {
		b[5] = byte(*f.Flags) // behind the length and the command
	}
	esproto.EndFrame(b, 0)
	_, _ = p.lines[f.Conn].peer.nc.Write(b) // as above
}

// wasRefused reports whether the next answer to a frame was that its credentials are wrong.
func (p *player) wasRefused(sent *entry) bool {
	answer := p.after(sent, func(f *entry) bool {
		return f.Dir == "recv" && f.Corr == sent.Corr && f.Conn == sent.Conn
	})
	return answer != nil && answer.Cmd == "NotAuthenticated"
}

// rebuild makes a WriteEvents again of which only the beginning and the fields were kept, of long data only its hash.
func (p *player) rebuild(f *entry) []byte {
	var w struct {
		Stream   string `json:"event_stream_id"`
		Expected int64  `json:"expected_version"`
		Events   []struct {
			ID   string `json:"event_id"`
			Type string `json:"event_type"`
			Data string `json:"data"`
		} `json:"events"`
	}
	if err := json.Unmarshal(f.Fields, &w); err != nil || f.Cmd != "WriteEvents" {
		p.fail("a %s cannot be made anew: %v", f.Cmd, err)
		return nil
	}
	b := esproto.AppendWriteEvents(nil, w.Stream, w.Expected)
	for _, e := range w.Events {
		id, err := hex.DecodeString(e.ID)
		if err != nil {
			p.fail("%v", err)
			return nil
		}
		data := []byte(e.Data)
		var size int
		if n, _ := fmt.Sscanf(e.Data, "(%d bytes, fnv ", &size); n == 1 {
			data = bytes.Repeat([]byte("0123456789"), size/10)
			if hashed(data) != e.Data {
				p.fail("the data differs: %s, recorded is %s", hashed(data), e.Data)
			}
		}
		b = esproto.AppendNewEvent(b, esproto.GUID(id), e.Type, 0, data, nil)
	}
	b = esproto.EndWriteEvents(b, false)
	if len(b) != f.RawLen {
		p.fail("the message has %d bytes, recorded are %d", len(b), f.RawLen)
	}
	return b
}

// hashed is how the recordings write long data.
func hashed(data []byte) string {
	h := fnv.New64a()
	h.Write(data)
	return fmt.Sprintf("(%d bytes, fnv %s)", len(data),
		hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h.Sum64())))
}

// likeTruncated returns our server's answer if it can be the real one's, of which only the beginning, the length and a
// hash were kept. Else it returns nothing.
func (p *player) likeTruncated(f *entry, got []byte) []byte {
	var m esproto.ReadEventCompleted
	if f.RawLen != len(got) || proto.Unmarshal(got, &m) != nil {
		return nil
	}
	if !strings.Contains(string(f.Fields), hashed(m.GetEvent().GetEvent().GetData())) {
		return nil
	}
	return got
}

func (p *player) sendHTTP(f *entry) spoken {
	var q struct{ Method, Path, Body string }
	if err := json.Unmarshal(f.Fields, &q); err != nil {
		p.fail("%v", err)
		return spoken{}
	}
	req, err := http.NewRequest(q.Method, p.srv.HTTPURL()+q.Path, strings.NewReader(q.Body))
	if err != nil {
		p.fail("%v", err)
		return spoken{}
	}
	req.Close = true
	if q.Body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if f.Auth != "" {
		req.SetBasicAuth(f.Auth, "changeit")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.fail("%v", err)
		return spoken{}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.fail("%v", err)
	}
	contentType, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	said := map[string]any{"status": res.StatusCode}
	if !p.shapeCounts(f) {
		b, _ := json.Marshal(said)
		return spoken{cmd: "HTTP", body: b}
	}
	said["content_type"] = contentType
	var v any
	if json.Unmarshal(body, &v) == nil {
		shape := map[string]bool{}
		shapeOf("", v, shape)
		paths := make([]string, 0, len(shape))
		for path := range shape {
			paths = append(paths, path)
		}
		sort.Strings(paths)
		said["shape"] = paths
	}
	b, _ := json.Marshal(said)
	return spoken{cmd: "HTTP", body: b}
}

// shapeCounts reports whether more than the status of the answer to an HTTP request was recorded.
func (p *player) shapeCounts(sent *entry) bool {
	answer := p.after(sent, func(f *entry) bool { return f.Dir == "recv" && f.Cmd == "HTTP" })
	return answer != nil && strings.Contains(string(answer.Fields), `"content_type"`)
}

// after returns the first frame behind another that satisfies is.
func (p *player) after(sent *entry, is func(f *entry) bool) *entry {
	found := false
	for i := range p.sc.Steps {
		for k := range p.sc.Steps[i].Frames {
			f := &p.sc.Steps[i].Frames[k]
			if f == sent {
				found = true
			} else if found && is(f) {
				return f
			}
		}
	}
	return nil
}

// shapeOf gathers the paths of a JSON value with their types.
func shapeOf(path string, v any, shape map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			shape[path+": object"] = true
		}
		for key, inner := range v {
			shapeOf(strings.TrimPrefix(path+"."+key, "."), inner, shape)
		}
	case []any:
		if len(v) == 0 {
			shape[path+"[]: empty"] = true
		}
		for _, inner := range v {
			shapeOf(path+"[]", inner, shape)
		}
	case string:
		shape[path+": string"] = true
	case float64:
		shape[path+": number"] = true
	case bool:
		shape[path+": bool"] = true
	case nil:
		shape[path+": null"] = true
	}
}
