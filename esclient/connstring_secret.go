package esclient

import (
	"errors"
	"net/url"
	"strings"
)

// What stands in a connection string behind the beginning of a password may be a part of it, where whoever wrote it did
// not escape a special character. So errors about that part quote nothing of it.

// guarded sets one setting. Where rest, which begins with it, may hold a part of a password, its error quotes nothing.
func (p *connStringParser) guarded(name, value, rest string) error {
	p.secret = p.secret || strings.ContainsRune(rest, '@')
	err := p.setOnce(name, value)
	if err != nil && p.secret {
		err = discreet(err)
	}
	p.secret = p.credentialsSeen()
	return err
}

// credentialsSeen reports whether there was a setting that ends with a password, which what follows may belong to.
func (p *connStringParser) credentialsSeen() bool {
	for key := range p.seen {
		if namesSecret(key) {
			return true
		}
	}
	return false
}

// namesSecret reports whether a setting, known or not, is called as one that holds a password.
func namesSecret(key string) bool {
	return strings.Contains(key, "credential") || strings.Contains(key, "password") || strings.Contains(key, "user")
}

// queryHoldsSecrets reports whether a part of a password may be among the settings of a URI. Their order is not known.
func queryHoldsSecrets(values url.Values) bool {
	for name, all := range values {
		if namesSecret(settingKey(name)) || strings.ContainsRune(name+strings.Join(all, ""), '@') {
			return true
		}
	}
	return false
}

// discreet leaves out of a ConfigError what it quotes.
func discreet(err error) error {
	e := (*ConfigError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	return &ConfigError{Setting: e.Setting, Reason: e.Reason}
}

// unknownSetting is the error for a setting that does not exist. Its name is told if it cannot be a part of a password.
func (p *connStringParser) unknownSetting(name, value string) error {
	if p.secret || !isWord(name) || strings.ContainsRune(value, '@') {
		return &ConfigError{Setting: "connection string", Reason: "has an unknown setting, whose name may be a part " +
			"of a password: in tcp://user:password@host:1113, ; is written as %3B, & as %26 and @ as %40"}
	}
	return &ConfigError{Setting: name, Reason: "is an unknown setting"}
}

// isWord reports whether a name looks like that of a setting.
func isWord(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != ' ' && r != '_' && r != '-' && r != '.' &&
			(r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// withoutUser leaves a value out that may hold a password: whatever has an @.
func withoutUser(value string) string {
	if strings.ContainsRune(value, '@') {
		return ""
	}
	return value
}

// maskUser replaces what stands before an @, which does not belong into an endpoint, and may be a password.
func maskUser(endpoint string) string {
	if i := strings.LastIndexByte(endpoint, '@'); i >= 0 {
		return "xxxxx" + endpoint[i:]
	}
	return endpoint
}
