package esclient

import (
	"context"
	"encoding/json"
)

// SystemSettings are the access rights of streams without rights in their metadata. The zero value stands for the
// server's own defaults: everyone has all rights to user streams, and administrators have all rights to system streams,
// whose names begin with "$". Each right that is nil keeps its default.
type SystemSettings struct {
	UserStreams   StreamACL
	SystemStreams StreamACL
	// Custom has all other members of the settings, by their keys, as unchanged JSON.
	Custom map[string]json.RawMessage
}

const (
	settingsStream = "$settings"
	settingsType   = "$settings"

	keyUserACL   = "$userStreamAcl"
	keySystemACL = "$systemStreamAcl"
)

// SystemSettings returns the server's settings, and the version to expect in SetSystemSettings. The version is NoStream
// if they were never set. Only administrators may read them, unless the server's settings say otherwise.
func (c *Client) SystemSettings(ctx context.Context) (SystemSettings, ExpectedVersion, error) {
	const what = "read system settings"
	data, version, err := c.lastData(ctx, what, settingsStream, settingsStream)
	if err != nil || data == nil {
		return SystemSettings{}, version, err
	}
	var s SystemSettings
	if err := s.UnmarshalJSON(data); err != nil {
		return SystemSettings{}, version, &OperationError{Operation: what, Stream: settingsStream, Err: err}
	}
	return s, version, nil
}

// SetSystemSettings replaces the server's settings, for all streams and at once. It is an append to the stream
// "$settings": see [Client.Append] for the errors. LastEventNumber of the result is the version to expect next time.
func (c *Client) SetSystemSettings(
	ctx context.Context, expected ExpectedVersion, s SystemSettings,
) (AppendResult, error) {
	data, err := s.MarshalJSON()
	if err != nil {
		return AppendResult{}, err
	}
	return c.Append(ctx, settingsStream, expected,
		EventData{Type: settingsType, ContentType: ContentTypeJSON, Data: data})
}

// MarshalJSON encodes the settings for the server. It refuses invalid roles and Custom members with an *ArgumentError.
func (s SystemSettings) MarshalJSON() ([]byte, error) {
	var o object
	if err := o.acl("SystemSettings.UserStreams", keyUserACL, &s.UserStreams); err != nil {
		return nil, err
	}
	if err := o.acl("SystemSettings.SystemStreams", keySystemACL, &s.SystemStreams); err != nil {
		return nil, err
	}
	return o.rest("SystemSettings.Custom", s.Custom, keyUserACL, keySystemACL)
}

// UnmarshalJSON decodes settings. It replaces all fields of s.
func (s *SystemSettings) UnmarshalJSON(data []byte) error {
	f := fieldsOf(data)
	*s = SystemSettings{UserStreams: f.acl(keyUserACL), SystemStreams: f.acl(keySystemACL)}
	s.Custom = f.rest()
	return f.err
}
