package esclient

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// object writes a JSON object in the order of the calls. It copies encoded values byte for byte.
type object struct{ b []byte }

func (o *object) put(key string, value []byte) {
	separator := byte(',')
	if len(o.b) == 0 {
		separator = '{'
	}
	o.b = append(o.b, separator)
	o.b = append(o.b, text(key)...)
	o.b = append(o.b, ':')
	o.b = append(o.b, value...)
}

// number writes a number, unless it is 0.
func (o *object) number(key string, n int64) {
	if n != 0 {
		o.put(key, strconv.AppendInt(nil, n, 10))
	}
}

// acl writes the rights that are set: one role as a string, several as an array.
func (o *object) acl(argument, key string, a *StreamACL) error {
	var rights object
	for _, r := range a.rights() {
		roles := *r.roles
		if slices.Contains(roles, "") {
			return &ArgumentError{Argument: argument + "." + r.field, Reason: "a role is empty"}
		}
		switch {
		case roles == nil:
		case len(roles) == 1:
			rights.put(r.key, text(roles[0]))
		default:
			rights.put(r.key, list(roles))
		}
	}
	if rights.b != nil {
		o.put(key, rights.end())
	}
	return nil
}

// rest writes the custom fields, and ends the object.
func (o *object) rest(argument string, custom map[string]json.RawMessage, named ...string) ([]byte, error) {
	for _, key := range slices.Sorted(maps.Keys(custom)) {
		value := custom[key]
		switch {
		case slices.Contains(named, key):
			return nil, &ArgumentError{Argument: argument, Reason: key + " has a field of its own"}
		case !json.Valid(value):
			return nil, &ArgumentError{Argument: argument,
				Reason: fmt.Sprintf("the value of %q is not valid JSON", key)}
		}
		o.put(key, value)
	}
	return o.end(), nil
}

func (o *object) end() []byte {
	if len(o.b) == 0 {
		return []byte("{}")
	}
	return append(o.b, '}')
}

// text encodes a string without escaping <, > and &.
func text(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // any string can be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func list(roles []string) []byte {
	b := []byte{'['}
	for i, r := range roles {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, text(r)...)
	}
	return append(b, ']')
}

// fields are the fields of a JSON object. take removes a field. The first error is kept.
type fields struct {
	raw map[string]json.RawMessage
	err error
}

func fieldsOf(data []byte) *fields {
	f := &fields{}
	if err := json.Unmarshal(data, &f.raw); err != nil {
		f.err = fmt.Errorf("it is no JSON object: %w", err)
	}
	return f
}

// take decodes the field of a key into v. If there is none, v stays as it is.
func (f *fields) take(key string, v any) {
	raw, ok := f.raw[key]
	delete(f.raw, key)
	if !ok {
		return
	}
	if err := json.Unmarshal(raw, v); err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", key, err)
	}
}

// number reads a number. A number below least counts as absent.
func (f *fields) number(key string, least int64) int64 {
	var n int64
	if f.take(key, &n); n < least {
		return 0
	}
	return n
}

// seconds reads a time. A time that is too large for a Duration becomes the largest whole number of seconds, 292 years.
func (f *fields) seconds(key string) time.Duration {
	const most = math.MaxInt64 / int64(time.Second)
	return time.Duration(min(f.number(key, 1), most)) * time.Second
}

func (f *fields) acl(key string) (a StreamACL) {
	var raw map[string]json.RawMessage
	f.take(key, &raw)
	rights := &fields{raw: raw}
	for _, r := range a.rights() {
		var roles roleList
		rights.take(r.key, &roles)
		*r.roles = roles
	}
	if rights.err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", key, rights.err)
	}
	return a
}

// rest returns the fields that were not taken; nil if there are none.
func (f *fields) rest() map[string]json.RawMessage {
	if len(f.raw) == 0 {
		return nil
	}
	return f.raw
}

// roleList is a role or a list of roles.
type roleList []string

func (l *roleList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil && string(data) != "null" {
		*l = roleList{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}
