package esclient

import (
	"context"
	"encoding/json"
)

// SystemSettings are the access rights of streams whose metadata does not say. The zero value stands for the server's
// own defaults: everyone may do everything to streams of users, and the administrators to those of the system, whose
// names begin with "$". Rights that are nil keep these defaults, one by one.
type SystemSettings struct {
	UserStreams   StreamACL
	SystemStreams StreamACL
	// Custom has what else the settings say, by its keys, as JSON. It is kept as it is.
	Custom map[string]json.RawMessage
}

const (
	settingsStream = "$settings"
	settingsType   = "$settings"

	keyUserACL   = "$userStreamAcl"
	keySystemACL = "$systemStreamAcl"
)

// SystemSettings returns the server's settings and the version to expect when they are set; NoStream where they never
// were. Only administrators may read them, unless the server was told otherwise.
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

// SetSystemSettings replaces the server's settings, which takes effect at once and for all streams. It is an append to
// the stream "$settings": see Append for the errors. LastEventNumber of the result is the version to expect next time.
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

// MarshalJSON encodes the settings as the server wants them. It refuses what cannot be, as an *ArgumentError.
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

// UnmarshalJSON decodes settings. What s held before is forgotten.
func (s *SystemSettings) UnmarshalJSON(data []byte) error {
	f := fieldsOf(data)
	*s = SystemSettings{UserStreams: f.acl(keyUserACL), SystemStreams: f.acl(keySystemACL)}
	s.Custom = f.rest()
	return f.err
}
