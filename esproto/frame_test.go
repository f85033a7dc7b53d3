package esproto_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

var testID = esproto.CorrelationID{16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}

func TestFrameOnTheWire(t *testing.T) {
	t.Parallel()
	const id = "101112131415161718191a1b1c1d1e1f"

	ping := esproto.AppendFrame(nil, esproto.CmdPing, testID, []byte("hi"))
	assert.Equal(t, "14000000"+"03"+"00"+id+"6869", hex.EncodeToString(ping))

	empty := esproto.AppendFrame([]byte{0xFF}, esproto.CmdHeartbeatRequest, testID, nil)
	assert.Equal(t, "ff"+"12000000"+"01"+"00"+id, hex.EncodeToString(empty), "what was there stays")

	creds := &esproto.Credentials{Login: "ops", Password: "pw"}
	b := esproto.AppendHeader(ping, esproto.CmdWriteEvents, testID, creds)
	b = append(b, 0xAB)
	esproto.EndFrame(b, len(ping))
	assert.Equal(t, "1a000000"+"82"+"01"+id+"03"+"6f7073"+"02"+"7077"+"ab", hex.EncodeToString(b[len(ping):]))
}

func TestCorrelationID(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "101112131415161718191a1b1c1d1e1f", testID.String())
	assert.False(t, testID.IsZero())
	assert.True(t, esproto.CorrelationID{}.IsZero())
	assert.False(t, esproto.CorrelationID{15: 1}.IsZero())
}

func TestCredentialsValidate(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 127)
	for _, c := range []esproto.Credentials{
		{Login: "admin", Password: "changeit"},
		{Login: "a", Password: "b"},
		{Login: long, Password: long},
		{Login: "jürgen", Password: "ünïcode"},
		{Login: "a:b", Password: " "},
	} {
		assert.NoError(t, c.Validate(), "%v", c)
	}
	for want, c := range map[string]esproto.Credentials{
		"the login is empty":                        {Password: "secret"},
		`the password of "admin" is empty`:          {Login: "admin"},
		"the login has more than 127 bytes":         {Login: long + "a", Password: "secret"},
		`the password of "admin" has more than 127`: {Login: "admin", Password: "secret" + long},
		`"Ümit" must begin with an ASCII character`: {Login: "Ümit", Password: "secret"},
		`the login "a\xff" is not UTF-8`:            {Login: "a\xff", Password: "secret"},
		`the password of "admin" is not UTF-8`:      {Login: "admin", Password: "secret\xff"},
		`"\xff" must begin with an ASCII character`: {Login: "\xff", Password: "secret"},
	} {
		err := c.Validate()
		require.ErrorIs(t, err, esproto.ErrCredentials, want)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
}

// TestCredentialsAreNotPrinted goes the ways in which a password gets into a log by accident.
func TestCredentialsAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := esproto.Credentials{Login: "admin", Password: "secret"}
	config := struct {
		Plain   esproto.Credentials
		Pointer *esproto.Credentials
	}{c, &c}

	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		printed = append(printed, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, config))
	}
	inJSON, err := json.Marshal(config)
	require.NoError(t, err)
	assert.JSONEq(t, `{"Plain":"admin:***","Pointer":"admin:***"}`, string(inJSON))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("connect", "credentials", c, "config", config)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("connect", "credentials", &c, "config", config)
	assert.Contains(t, log.String(), "admin:***")

	for _, text := range append(printed, string(inJSON), log.String()) {
		assert.NotContains(t, text, "secret")
		assert.NotContains(t, text, hex.EncodeToString([]byte("secret")))
	}
}

func TestSplitCredentials(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		in              string
		login, password string
		payload         string
		malformed       string // part of the error
	}{
		{name: "usual", in: "\x05admin\x08changeitPAYLOAD", login: "admin", password: "changeit", payload: "PAYLOAD"},
		{name: "no payload", in: "\x05admin\x01x", login: "admin", password: "x"},
		{name: "255 bytes", in: "\x01a\xff" + strings.Repeat("p", 255), login: "a", password: strings.Repeat("p", 255)},
		{name: "all empty", in: "\x00\x00", login: "", password: ""},
		{name: "empty password, empty payload", in: "\x05admin\x00", login: "admin"},
		{name: "a token from 20.6 on", in: "\x00\x80" + strings.Repeat("t", 128), password: strings.Repeat("t", 128)},
		{name: "not UTF-8", in: "\x01\xff\x01\xfe!", login: "\xff", password: "\xfe", payload: "!"},
		{name: "nothing", in: "", malformed: "login"},
		{name: "login cut", in: "\xc8abc", malformed: "login"},
		{name: "login alone", in: "\x03abc", malformed: "password"},
		{name: "password cut", in: "\x03abc\x02x", malformed: "password"},
		{name: "the last byte is missing", in: "\x03abc\xff" + strings.Repeat("p", 254), malformed: "password"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, payload, err := esproto.SplitCredentials([]byte(tt.in))
			if tt.malformed != "" {
				require.ErrorIs(t, err, esproto.ErrMalformed)
				require.ErrorContains(t, err, "the "+tt.malformed+" does not fit")
				require.Empty(t, c)
				require.Nil(t, payload)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, esproto.Credentials{Login: tt.login, Password: tt.password}, c)
			assert.Equal(t, tt.payload, string(payload))
		})
	}
}

func TestSplitCredentialsCopiesTheStrings(t *testing.T) {
	t.Parallel()
	b := []byte("\x05admin\x06secret!")
	c, _, err := esproto.SplitCredentials(b)
	require.NoError(t, err)
	clear(b)
	assert.Equal(t, esproto.Credentials{Login: "admin", Password: "secret"}, c)
}

// TestRecordedFramesThatServersRefuse reads the bytes for which real servers cut the connection.
func TestRecordedFramesThatServersRefuse(t *testing.T) {
	t.Parallel()
	refused := 0
	for _, f := range recorded(t) {
		if f.Cmd != "RAW" {
			continue
		}
		b, _ := f.payload(t)
		r := esproto.NewFrameReader(strings.NewReader(string(b)), 64, 0)
		h, _, err := r.Next()
		if err != nil {
			require.ErrorIs(t, err, esproto.ErrFrame, f.where)
			refused++
			continue
		}
		require.Equal(t, esproto.FlagAuthenticated, h.Flags, f.where)
		rest, err := r.Take()
		require.NoError(t, err, f.where)
		_, _, err = esproto.SplitCredentials(rest)
		require.ErrorIs(t, err, esproto.ErrMalformed, f.where)
		refused++
	}
	assert.Equal(t, 4*4, refused)
}

// FuzzSplitCredentials holds SplitCredentials against a description of the bytes, and AppendHeader against it.
func FuzzSplitCredentials(f *testing.F) {
	f.Add([]byte("\x05admin\x08changeitPAYLOAD"))
	f.Add([]byte("\xc8abc"))
	f.Add([]byte("\x00\x00"))
	f.Add([]byte("\x00\x80token"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		part := func(at int) (end int, ok bool) {
			if at >= len(b) {
				return 0, false
			}
			end = at + 1 + int(b[at])
			return end, end <= len(b)
		}
		login, loginFits := part(0)
		password, fits := part(login)
		c, payload, err := esproto.SplitCredentials(b)
		if !loginFits || !fits {
			require.ErrorIs(t, err, esproto.ErrMalformed)
			require.Empty(t, c)
			return
		}
		require.NoError(t, err)
		require.Equal(t, string(b[1:login]), c.Login)
		require.Equal(t, string(b[login+1:password]), c.Password)
		require.Equal(t, string(b[password:]), string(payload))

		frame := esproto.AppendHeader(nil, esproto.CmdPing, testID, &c)
		frame = append(frame, payload...)
		esproto.EndFrame(frame, 0)
		require.Equal(t, hex.EncodeToString(b), hex.EncodeToString(frame[esproto.LengthSize+esproto.HeaderSize:]))
	})
}
