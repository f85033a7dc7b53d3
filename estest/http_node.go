package estest

import (
	"net/http"
	"strings"
	"time"
)

// httpHealth tells that the server is ready: it is as soon as it listens.
func httpHealth(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func (s *Server) httpInfo(w http.ResponseWriter, _ *http.Request) {
	p := s.core.persona
	s.core.mu.Lock()
	state := strings.ToLower(p.state(s.role()))
	s.core.mu.Unlock()
	if !p.infoTellsFeatures {
		mode := "None"
		if s.cfg.projections {
			mode = "System"
		}
		writeJSON(w, http.StatusOK, map[string]string{"esVersion": p.full, "state": state, "projectionsMode": mode})
		return
	}
	authentication := "internal"
	if s.cfg.insecure {
		authentication = "insecure"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"esVersion": p.full, "state": state,
		"features": map[string]bool{
			"projections": s.cfg.projections, "userManagement": !s.cfg.insecure, "atomPub": true,
		},
		"authentication": map[string]any{"type": authentication, "properties": nil},
	})
}

// role returns the role in the cluster; a single server is the leader.
func (s *Server) role() Role {
	if s.node == nil {
		return RoleLeader
	}
	return s.node.role
}

// gossip is the answer with all nodes of the cluster.
type gossip struct {
	Members    []any  `json:"members"` // of type memberMaster or memberLeader
	ServerIP   string `json:"serverIp"`
	ServerPort int    `json:"serverPort"`
}

// member has the fields of a node that servers of all versions send.
type member struct {
	InstanceID            string `json:"instanceId"`
	TimeStamp             string `json:"timeStamp"`
	State                 string `json:"state"`
	IsAlive               bool   `json:"isAlive"`
	InternalTCPIP         string `json:"internalTcpIp"`
	InternalTCPPort       int    `json:"internalTcpPort"`
	InternalSecureTCPPort int    `json:"internalSecureTcpPort"`
	ExternalTCPIP         string `json:"externalTcpIp"`
	ExternalTCPPort       int    `json:"externalTcpPort"`
	ExternalSecureTCPPort int    `json:"externalSecureTcpPort"`
	LastCommitPosition    int64  `json:"lastCommitPosition"`
	WriterCheckpoint      int64  `json:"writerCheckpoint"`
	ChaserCheckpoint      int64  `json:"chaserCheckpoint"`
	EpochPosition         int64  `json:"epochPosition"`
	EpochNumber           int    `json:"epochNumber"`
	EpochID               string `json:"epochId"`
	NodePriority          int    `json:"nodePriority"`
}

// memberMaster is a node up to 5.0.
type memberMaster struct {
	member
	InternalHTTPIP   string `json:"internalHttpIp"`
	InternalHTTPPort int    `json:"internalHttpPort"`
	ExternalHTTPIP   string `json:"externalHttpIp"`
	ExternalHTTPPort int    `json:"externalHttpPort"`
}

// memberLeader is a node from 20.6 on.
type memberLeader struct {
	member
	HTTPEndPointIP    string `json:"httpEndPointIp"`
	HTTPEndPointPort  int    `json:"httpEndPointPort"`
	IsReadOnlyReplica bool   `json:"isReadOnlyReplica"`
	ESVersion         string `json:"esVersion,omitempty"` // from 23.10 on
}

func (s *Server) httpGossip(w http.ResponseWriter, _ *http.Request) {
	s.core.mu.Lock()
	members := s.members()
	s.core.mu.Unlock()
	list := make([]any, len(members))
	for i := range members {
		list[i] = s.core.persona.member(&members[i], s.cfg.tls)
	}
	host, port := splitAddr(s.HTTPAddr())
	writeJSON(w, http.StatusOK, gossip{Members: list, ServerIP: host, ServerPort: port})
}

// members returns the nodes of the cluster, as far as the server knows them, or the single server itself.
func (s *Server) members() []Member {
	if s.node != nil {
		return s.node.members()
	}
	log, epoch := s.core.log, s.core.log.Epoch()
	return []Member{{
		Role: RoleLeader, Alive: true, TCPAddr: s.Addr(), HTTPAddr: s.HTTPAddr(), Time: s.core.now(),
		InstanceID: s.core.instance, LastCommit: log.LastCommit(), LogEnd: log.End(),
		EpochNumber: epoch.Number, EpochID: epoch.ID, EpochPosition: epoch.Position,
		Priority: s.core.priority,
	}}
}

// member returns a node of the gossip in the form of the server's version.
func (p *persona) member(m *Member, secure bool) any {
	tcpHost, tcpPort := splitAddr(m.TCPAddr)
	httpHost, httpPort := splitAddr(m.HTTPAddr)
	node := member{
		InstanceID: m.InstanceID, TimeStamp: m.Time.UTC().Format(time.RFC3339Nano), State: p.state(m.Role),
		IsAlive: m.Alive, InternalTCPIP: tcpHost, ExternalTCPIP: tcpHost, ExternalTCPPort: tcpPort,
		LastCommitPosition: m.LastCommit, WriterCheckpoint: m.LogEnd, ChaserCheckpoint: m.LogEnd,
		EpochPosition: m.EpochPosition, EpochNumber: m.EpochNumber, EpochID: m.EpochID, NodePriority: m.Priority,
	}
	if secure { // no node has both ports
		node.ExternalTCPPort, node.ExternalSecureTCPPort = 0, tcpPort
	}
	if !p.gossipHasOneEndpoint {
		return memberMaster{
			member: node, InternalHTTPIP: httpHost, InternalHTTPPort: httpPort, ExternalHTTPIP: httpHost,
			ExternalHTTPPort: httpPort,
		}
	}
	leader := memberLeader{member: node, HTTPEndPointIP: httpHost, HTTPEndPointPort: httpPort}
	if p.gossipTellsVersion {
		leader.ESVersion = p.full
	}
	return leader
}
