package estest

import (
	"net/http"
	"time"
)

// httpHealth tells that the server is ready: it is as soon as it listens.
func httpHealth(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func (s *Server) httpInfo(w http.ResponseWriter, _ *http.Request) {
	p := s.core.persona
	if !p.since(era20) {
		writeJSON(w, http.StatusOK, map[string]string{"esVersion": p.full, "state": "master", "projectionsMode": "None"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"esVersion": p.full, "state": "leader",
		"features":       map[string]bool{"projections": false, "userManagement": true, "atomPub": false},
		"authentication": map[string]any{"type": "internal", "properties": map[string]string{}},
	})
}

// gossip is what a node tells of its cluster; here, of itself.
type gossip struct {
	Members    []any  `json:"members"` // of type memberMaster or memberLeader
	ServerIP   string `json:"serverIp"`
	ServerPort int    `json:"serverPort"`
}

// member is what servers of all versions tell of a node.
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
	tcpHost, tcpPort := splitAddr(s.Addr())
	httpHost, httpPort := splitAddr(s.HTTPAddr())
	s.core.mu.Lock()
	last, end := s.core.lastCommit, s.core.end
	s.core.mu.Unlock()
	m := member{
		InstanceID: s.core.instance, TimeStamp: s.core.now().UTC().Format(time.RFC3339Nano), State: "Master", IsAlive: true,
		InternalTCPIP: tcpHost, ExternalTCPIP: tcpHost, ExternalTCPPort: tcpPort,
		LastCommitPosition: last, WriterCheckpoint: end, ChaserCheckpoint: end, EpochID: s.core.epoch,
	}
	node := any(memberMaster{
		member: m, InternalHTTPIP: httpHost, InternalHTTPPort: httpPort, ExternalHTTPIP: httpHost, ExternalHTTPPort: httpPort,
	})
	if p := s.core.persona; p.since(era20) {
		m.State = "Leader"
		leader := memberLeader{member: m, HTTPEndPointIP: httpHost, HTTPEndPointPort: httpPort}
		if p.since(era23) {
			leader.ESVersion = p.full
		}
		node = leader
	}
	writeJSON(w, http.StatusOK, gossip{Members: []any{node}, ServerIP: httpHost, ServerPort: httpPort})
}
