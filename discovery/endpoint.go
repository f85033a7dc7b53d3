package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Endpoint is a host and a port. The zero value is no endpoint. Endpoints may be compared with ==.
type Endpoint struct {
	// Host is a DNS name or an IP address. An IPv6 address has no brackets; it may have a zone, as in fe80::1%eth0.
	Host string
	// Port is from 1 to 65535. 0 means the default port, which depends on the use of the Endpoint.
	Port int
}

// ParseEndpoint reads host, host:port, [ipv6] or [ipv6]:port. Without a port, Port is 0. The error is an
// [*EndpointError].
func ParseEndpoint(s string) (Endpoint, error) {
	var host, port string
	var hasPort bool
	switch {
	case strings.ContainsRune(s, '@'):
		// The text before an @ may be a password, so the error does not show it.
		return Endpoint{}, &EndpointError{Reason: "contains an @; credentials do not belong here"}
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return Endpoint{}, &EndpointError{Value: s, Reason: "has a [ without a ]"}
		}
		host = s[1:end]
		if addr, err := netip.ParseAddr(host); err != nil || !addr.Is6() {
			return Endpoint{}, &EndpointError{Value: s, Reason: "has something other than an IPv6 address in brackets"}
		}
		rest := s[end+1:]
		if port, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return Endpoint{}, &EndpointError{Value: s, Reason: "goes on after the ] with something other than a port"}
		}
	case strings.Count(s, ":") > 1:
		return Endpoint{}, &EndpointError{Value: s, Reason: "has several colons; IPv6 needs brackets, as in [::1]:1113"}
	default:
		host, port, hasPort = strings.Cut(s, ":")
	}
	e := Endpoint{Host: host}
	if hasPort {
		n, ok := parsePort(port)
		if !ok {
			return Endpoint{}, &EndpointError{Value: s, Reason: "has a port that is not a number from 1 to 65535"}
		}
		e.Port = n
	}
	if reason := e.wrong(); reason != "" {
		return Endpoint{}, &EndpointError{Value: s, Reason: reason}
	}
	return e, nil
}

// parsePort takes digits only; strconv would also take a sign.
func parsePort(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n > 0
}

// String returns host:port, with brackets around an IPv6 address, or the host alone if the port is 0. ParseEndpoint
// reads it back.
func (e Endpoint) String() string {
	if e.Port != 0 {
		return net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	}
	if strings.ContainsRune(e.Host, ':') {
		return "[" + e.Host + "]"
	}
	return e.Host
}

// WithDefaultPort returns e, with the given port if e has none.
func (e Endpoint) WithDefaultPort(port int) Endpoint {
	if e.Port == 0 {
		e.Port = port
	}
	return e
}

// Validate returns an [*EndpointError] if e is invalid. A port of 0 is valid.
func (e Endpoint) Validate() error {
	reason := e.wrong()
	switch {
	case reason == "":
		return nil
	case strings.ContainsRune(e.Host, '@'):
		return &EndpointError{Reason: "contains an @; credentials do not belong here"}
	}
	return &EndpointError{Value: e.String(), Reason: reason}
}

// addr returns the host as an IP address, if it is one.
func (e Endpoint) addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(e.Host)
	return a, err == nil
}

func (e Endpoint) wrong() string {
	switch {
	case e.Host == "":
		return "has no host"
	case e.Port < 0 || e.Port > 1<<16-1:
		return "has a port that is not between 1 and 65535"
	case len(e.Host) > maxHostLength:
		return fmt.Sprintf("has a host of more than %d characters", maxHostLength)
	}
	// A name is used in URLs, certificate checks and messages, so other characters are refused.
	name := e.Host
	if addr, ok := e.addr(); ok {
		name = addr.Zone()
	} else if strings.Trim(name, "0123456789.") == "" {
		return "has a host that is neither a name nor an IPv4 address"
	}
	for _, c := range []byte(name) {
		if !isNameByte(c) {
			return "has a host with a character other than letters, digits, dots, hyphens and underscores" +
				" (IPv6 addresses are written in brackets, international names in their xn-- form)"
		}
	}
	return ""
}

// maxHostLength is the longest DNS name, with its final dot.
const maxHostLength = 254

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
}

// EndpointError is the error of [ParseEndpoint] and [Endpoint.Validate].
type EndpointError struct {
	Value  string // the given text; empty if it may contain a password
	Reason string // why it is invalid
}

// Error names the value and the reason.
func (e *EndpointError) Error() string {
	if e.Value == "" {
		return "discovery: the endpoint " + e.Reason
	}
	return fmt.Sprintf("discovery: the endpoint %q %s", e.Value, e.Reason)
}
