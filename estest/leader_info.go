package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// LeaderInfo is the address of the leader in a reply NotLeader. If an address is empty, the reply has neither the
// address nor its port.
type LeaderInfo struct {
	Address       string // of TCP without TLS: a name or an IP address
	Port          int
	SecureAddress string // of TCP with TLS
	SecurePort    int
	HTTPAddress   string
	HTTPPort      int
}

// LeaderInfo returns the addresses that other nodes would send in a reply NotLeader if this server was their leader.
func (s *Server) LeaderInfo() LeaderInfo {
	return s.core.persona.leaderInfo(s.Addr(), s.HTTPAddr(), s.cfg.tls)
}

// leaderInfo fills in the secure address or the plain one, or both.
func (p *persona) leaderInfo(tcpAddr, httpAddr string, secure bool) (info LeaderInfo) {
	host, port := splitAddr(tcpAddr)
	if secure {
		info.SecureAddress, info.SecurePort = host, port
	} else {
		info.Port = port
	}
	if !secure || p.leaderAddressIsPlain {
		info.Address = host // without a port if the leader has only a secure one
	}
	if httpAddr != "" {
		info.HTTPAddress, info.HTTPPort = splitAddr(httpAddr)
	}
	return info
}

// wire is the message that says so.
func (i *LeaderInfo) wire() *esproto.NotHandled_LeaderInfo {
	m := &esproto.NotHandled_LeaderInfo{}
	for _, e := range []struct {
		address   string
		port      int
		toAddress **string
		toPort    **int32
	}{
		{i.Address, i.Port, &m.ExternalTcpAddress, &m.ExternalTcpPort},
		{i.SecureAddress, i.SecurePort, &m.ExternalSecureTcpAddress, &m.ExternalSecureTcpPort},
		{i.HTTPAddress, i.HTTPPort, &m.HttpAddress, &m.HttpPort},
	} {
		if e.address != "" {
			*e.toAddress, *e.toPort = proto.String(e.address), proto.Int32(int32(e.port))
		}
	}
	return m
}
