package esclient

import (
	"errors"
	"net/url"
	"strings"
)

// A password in a connection string may have a special character that is not escaped. Then the text after it looks like
// settings, but is a part of the password. So errors about that text do not quote it.

// guarded sets one setting. rest begins with the setting. If rest may have a part of a password, the error quotes
// nothing.
func (p *connStringParser) guarded(name, value, rest string) error {
	p.secret = p.secret || strings.ContainsRune(rest, '@')
	err := p.setOnce(name, value)
	if err != nil && p.secret {
		err = discreet(err)
	}
	p.secret = p.credentialsSeen()
	return err
}

// credentialsSeen reports whether any setting so far ends with a password, which the next text may belong to.
func (p *connStringParser) credentialsSeen() bool {
	for key := range p.seen {
		if namesSecret(key) {
			return true
		}
	}
	return false
}

// namesSecret reports whether the name of a setting, known or not, suggests a password.
func namesSecret(key string) bool {
	return strings.Contains(key, "credential") || strings.Contains(key, "password") || strings.Contains(key, "user")
}

// queryHoldsSecrets reports whether the settings of a URI may have a part of a password. Their order is unknown.
func queryHoldsSecrets(values url.Values) bool {
	for name, all := range values {
		if namesSecret(settingKey(name)) || strings.ContainsRune(name+strings.Join(all, ""), '@') {
			return true
		}
	}
	return false
}

// discreet removes the quoted value from a ConfigError.
func discreet(err error) error {
	e := (*ConfigError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	return &ConfigError{Setting: e.Setting, Reason: e.Reason}
}

// unknownSetting returns the error for an unknown setting. It shows the name if that cannot be a part of a password.
func (p *connStringParser) unknownSetting(name, value string) error {
	if p.secret || !isWord(name) || strings.ContainsRune(value, '@') {
		return &ConfigError{Setting: "connection string", Reason: "has an unknown setting, whose name may be a part " +
			"of a password: in tcp://user:password@host:1113, ; is written as %3B, & as %26 and @ as %40"}
	}
	return &ConfigError{Setting: name, Reason: "is an unknown setting"}
}

// isWord reports whether a name can be that of a setting.
func isWord(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != ' ' && r != '_' && r != '-' && r != '.' &&
			(r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// withoutUser returns a value, or "" if it has an @ and so may have a password.
func withoutUser(value string) string {
	if strings.ContainsRune(value, '@') {
		return ""
	}
	return value
}

// maskUser replaces the text before an @. An endpoint has no such text, and it may be a password.
func maskUser(endpoint string) string {
	if i := strings.LastIndexByte(endpoint, '@'); i >= 0 {
		return "xxxxx" + endpoint[i:]
	}
	return endpoint
}
