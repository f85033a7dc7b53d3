package esclient

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/internal/authorities"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
)

func settingKey(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(name, " ", ""), "_", ""))
}

// set takes one setting. Each case returns, so unknown settings reach the code after the switch.
func (p *connStringParser) set(name, value string) error {
	c := &p.cfg
	switch settingKey(name) {
	case "connectto":
		query, err := p.connectTo(name, value)
		if err == nil && query != "" {
			err = &ConfigError{Setting: name, Reason: "settings must follow a semicolon here, not a ?"}
		}
		return err
	case "gossipseeds":
		return p.gossipSeeds(name, value)
	case "nodepreference", "gossiptimeout", "gossiptls", "gossipovertls",
		"clusterdns", "gossipport", "externalgossipport":
		return p.setGossip(name, value)
	case "defaultusercredentials":
		login, password, ok := strings.Cut(value, ":")
		if !ok {
			return &ConfigError{Setting: name, Reason: "is not user:password"}
		}
		return p.credentials(name, login, password)
	case "connectionname":
		c.ConnectionName = value
		return nil
	case "httpendpoint":
		return p.httpEndpoint(name, value)
	case "heartbeatinterval":
		return parseDuration(name, value, &c.HeartbeatInterval)
	case "heartbeattimeout":
		return parseDuration(name, value, &c.HeartbeatTimeout)
	case "operationtimeout":
		return parseDuration(name, value, &c.OperationTimeout)
	case "connecttimeout", "clientconnectiontimeout":
		return parseDuration(name, value, &c.ConnectTimeout)
	case "reconnectiondelay", "reconnectdelay":
		return parseDuration(name, value, &c.ReconnectDelay)
	case "maxreconnectiondelay", "maxreconnectdelay":
		return parseDuration(name, value, &c.MaxReconnectDelay)
	case "authretrytimeout":
		return parseDuration(name, value, &c.AuthRetryTimeout)
	case "nodecheckinterval":
		if value == "-1" {
			c.NodeCheckInterval = -1
			return nil
		}
		return parseDuration(name, value, &c.NodeCheckInterval)
	case "maxreconnections", "maxreconnects":
		err := parseInt(name, value, -1, &c.MaxReconnects)
		c.MaxReconnects = max(c.MaxReconnects, 0)
		return err
	case "maxretries":
		return parseInt(name, value, -1, &c.MaxRetries)
	case "maxframesize":
		return parseInt(name, value, 1, &c.MaxFrameSize)
	case "maxpendingbytes":
		return parseInt(name, value, 1, &c.MaxPendingBytes)
	case "catchuppagesize", "readbatchsize":
		return parseInt(name, value, 1, &c.CatchUpPageSize)
	case "subscriptionbuffersize", "maxlivequeuesize", "maxpushqueuesize":
		return parseInt(name, value, 1, &c.SubscriptionBufferSize)
	case "subscriptionbufferbytes":
		return parseInt(name, value, 1, &c.SubscriptionBufferBytes)
	case "persistentinflight", "persistentbuffersize":
		return parseInt(name, value, 1, &c.PersistentInFlight)
	case "requireleader", "requiremaster", "performonmasteronly":
		var require bool
		err := parseBool(name, value, &require)
		c.AllowFollower = err == nil && !require
		return err
	}
	if known, err := ignored(name, value); known {
		return err
	}
	return p.setTLS(name, value)
}

// ignored checks the settings of the reference client that have no use here.
func ignored(name, value string) (known bool, err error) {
	switch settingKey(name) {
	case "verboselogging", "failonnoserverresponse":
		return true, parseBool(name, value, new(bool))
	case "maxqueuesize", "maxconcurrentitems", "maxdiscoverattempts":
		return true, parseInt(name, value, -1, new(int))
	case "operationtimeoutcheckperiod", "queuetimeout":
		return true, parseDuration(name, value, new(time.Duration))
	case "compatibilitymode":
		return true, nil
	}
	return false, nil
}

func (p *connStringParser) setGossip(name, value string) error {
	p.gossipSet = name
	switch settingKey(name) {
	case "gossiptimeout":
		return parseDuration(name, value, &p.gossipTimeout)
	case "gossiptls", "gossipovertls":
		p.gossipTLS = new(bool)
		return parseBool(name, value, p.gossipTLS)
	case "gossipport", "externalgossipport":
		return parsePort(name, value, &p.gossipPort)
	case "clusterdns":
		e, err := discovery.ParseEndpoint(value)
		if err != nil || e.Port != 0 {
			return &ConfigError{Setting: name, Value: withoutUser(value), Reason: "is not the name of a host", Err: err}
		}
		p.clusterDNS = e.Host
		return nil
	}
	var err error
	if p.prefer, err = discovery.ParsePreference(value); err != nil {
		return &ConfigError{
			Setting: name, Value: withoutUser(value), Reason: "is none of leader, follower, readonlyreplica and random",
		}
	}
	return nil
}

func (p *connStringParser) setTLS(name, value string) error {
	switch settingKey(name) {
	case "tls", "usesslconnection":
		return parseBool(name, value, &p.useTLS)
	case "tlsverify", "validateserver":
		p.tlsSet = name
		var verify bool
		err := parseBool(name, value, &verify)
		p.tlsConfig.InsecureSkipVerify = err == nil && !verify
		return err
	case "tlsservername", "targethost":
		p.tlsSet, p.tlsConfig.ServerName = name, value
		return nil
	case "tlscafile":
		p.caSet, p.cfg.TLSCAFile = name, value
		if _, err := authorities.Read(value); err != nil {
			return caFileError(name, value, err)
		}
		return nil
	}
	return p.unknownSetting(name, value)
}

func caFileError(setting, path string, err error) error {
	return &ConfigError{Setting: setting, Value: path, Reason: "cannot be used", Err: err}
}

func (p *connStringParser) gossipSeeds(name, value string) error {
	schemes := make(map[string]bool)
	for seed := range strings.SplitSeq(value, ",") {
		seed = strings.TrimSpace(seed)
		scheme, rest, ok := strings.Cut(seed, "://")
		if !ok {
			scheme, rest = "", seed
		}
		e, err := discovery.ParseEndpoint(rest)
		if err != nil || e.Port == 0 || ok && scheme != "http" && scheme != "https" {
			return &ConfigError{Setting: name, Value: withoutUser(seed), Reason: "is not host:port", Err: err}
		}
		schemes[scheme] = true
		p.seeds = append(p.seeds, e)
	}
	if len(schemes) > 1 {
		return &ConfigError{
			Setting: name, Reason: "mixes seeds with http://, with https:// and without a scheme: use one kind",
		}
	}
	p.seedsByTLS = schemes["https"]
	p.seedsByURL = !schemes[""]
	return nil
}

func (p *connStringParser) httpEndpoint(name, value string) error {
	scheme, _, err := httpapi.ParseEndpoint(value)
	if err != nil {
		return httpEndpointError(name, value, err)
	}
	p.cfg.HTTPEndpoint, p.https = value, scheme == "https"
	return nil
}

func httpEndpointError(setting, value string, err error) error {
	return &ConfigError{Setting: setting, Value: withoutUser(value), Reason: err.Error()}
}

func parseDuration(name, value string, d *time.Duration) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err == nil && n >= 0 && n < int64(1<<63-1)/int64(time.Millisecond) {
		*d = time.Duration(n) * time.Millisecond
		return nil
	}
	if v, err := time.ParseDuration(value); err == nil && v >= 0 {
		*d = v
		return nil
	}
	return &ConfigError{
		Setting: name, Value: withoutUser(value), Reason: "is not a number of milliseconds or a duration such as 2s",
	}
}

func parsePort(name, value string, n *int) error {
	if err := parseInt(name, value, 1, n); err != nil || *n > 1<<16-1 {
		return &ConfigError{Setting: name, Value: withoutUser(value), Reason: "is not a port from 1 to 65535"}
	}
	return nil
}

func parseInt(name, value string, least int, n *int) error {
	v, err := strconv.ParseInt(value, 10, 32)
	if err != nil || int(v) < least {
		return &ConfigError{
			Setting: name, Value: withoutUser(value), Reason: fmt.Sprintf("is not a whole number from %d on", least),
		}
	}
	*n = int(v)
	return nil
}

func parseBool(name, value string, b *bool) error {
	v, err := strconv.ParseBool(strings.ToLower(value))
	if err != nil {
		return &ConfigError{Setting: name, Value: withoutUser(value), Reason: "is neither true nor false"}
	}
	*b = v
	return nil
}
